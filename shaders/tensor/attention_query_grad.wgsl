// The gradient of the queries of attention, and g · y of each row, which the gradient of keys and values needs.
//
// bindings  1: q [batches, heads, rows, width]   2: k [batches, key_heads, keys, width]   3: v as k   4: mask   read
//           5: g as q   6: y [batches, rows, heads, width] read
//           7: state [batches, rows, heads, 3] read_write: maximum, sum, g · y
//           8: dq [batches, rows, heads, width] read_write
// work      6 batches heads rows keys width operations, half of them if causal
// twin      crates/tensor/src/ops/attention/mod.rs
// source    Dao, FlashAttention-2 (2023)
//
// dq = Σ scale p (g · v - g · y) k over the keys, with the share p of a key computed again from q and k. A workgroup takes
// eight rows of a head. A launch goes through the tiles `first..end`; later ones add to dq.

@group(0) @binding(6) var<storage, read> y: array<f32>;
@group(0) @binding(7) var<storage, read_write> state: array<f32>;
@group(0) @binding(8) var<storage, read_write> dq: array<f32>;

var<workgroup> own_q: array<vec4f, 256>;
var<workgroup> own_g: array<vec4f, 256>;
var<workgroup> tile_k: array<vec4f, 128>;
var<workgroup> tile_v: array<vec4f, 128>;
var<workgroup> slopes: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (index >= block_count(params.rows, params.heads)) { return; }
    let block = block_at(index, params.rows, params.heads);
    let batch = block.batch;
    let head = block.head;
    let first_row = block.first;
    let key_head = head / (params.heads / params.key_heads);
    let own_row = lane / 8u;
    let column = lane % 8u;
    let row = first_row + own_row;
    let tile = tile_rows();
    let vectors = vector_count();
    for (var i = lane; i < 8u * vectors; i += 64u) {
        own_q[i] = q_vector(batch, head, first_row + i / vectors, i % vectors);
        own_g[i] = g_vector(batch, head, first_row + i / vectors, i % vectors);
    }
    workgroupBarrier();
    let place_of_row = row_place(batch, head, row);
    var largest = 0.0;
    var sum = 1.0;
    var own_product = 0.0;
    var gradient = array<vec4f, 4>();
    if (row < params.rows) {
        largest = state[3u * place_of_row];
        sum = state[3u * place_of_row + 1u];
        for (var i = 0u; i < params.width; i++) {
            own_product += own_g[own_row * vectors + i / 4u][i % 4u] * y[place_of_row * params.width + i];
        }
        if (column == 0u) { state[3u * place_of_row + 2u] = own_product; }
        if (params.first > 0u) {
            for (var i = 0u; i < 4u; i++) {
                for (var j = 0u; j < 4u; j++) {
                    let at = 4u * (column + 8u * i) + j;
                    if (at < params.width) { gradient[i][j] = dq[place_of_row * params.width + at]; }
                }
            }
        }
    }
    var end = params.end;
    if (params.is_causal != 0u) { end = min(end, (first_row + 7u) / tile + 1u); }
    for (var t = params.first; t < end; t++) {
        let first_key = t * tile;
        for (var i = lane; i < tile * vectors; i += 64u) {
            tile_k[i] = k_vector(batch, key_head, first_key + i / vectors, i % vectors);
            tile_v[i] = v_vector(batch, key_head, first_key + i / vectors, i % vectors);
        }
        workgroupBarrier();
        if (column < tile) {
            var product = 0.0;
            var of_value = 0.0;
            for (var i = 0u; i < vectors; i++) {
                product = add_products(product, own_q[own_row * vectors + i], tile_k[column * vectors + i]);
                of_value = add_products(of_value, own_g[own_row * vectors + i], tile_v[column * vectors + i]);
            }
            let part = share(score(batch, head, row, first_key + column, product), largest, sum);
            slopes[lane] = part * (of_value - own_product) * params.scale;
        }
        workgroupBarrier();
        for (var j = 0u; j < tile; j++) {
            let slope = slopes[own_row * 8u + j];
            for (var i = 0u; i < 4u; i++) {
                if (column + 8u * i < vectors) { gradient[i] += slope * tile_k[j * vectors + column + 8u * i]; }
            }
        }
        workgroupBarrier();
    }
    if (row >= params.rows) { return; }
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            let at = 4u * (column + 8u * i) + j;
            if (at < params.width) { dq[place_of_row * params.width + at] = gradient[i][j]; }
        }
    }
}
