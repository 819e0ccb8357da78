// The gradients of the keys and values of attention.
//
// bindings  1: q [batches, heads, rows, width]   2: k [batches, key_heads, keys, width]   3: v as k   4: mask   read
//           5: g as q   6: state [batches, rows, heads, 3] read: maximum, sum, g · y
//           7: dk   8: dv [batches, keys, key_heads, width] read_write
// work      8 batches heads rows keys width operations, half of them if causal
// twin      crates/tensor/src/ops/attention/mod.rs
// source    Dao, FlashAttention-2 (2023)
//
// dv = Σ p g and dk = Σ scale p (g · v - g · y) q over the rows of all heads that share a head of keys. A workgroup takes
// eight keys and adds alone, so there are no atomics. The tiles of a head follow those of the one before. A launch goes
// through the tiles `first..end`; later ones add to dk and dv.

@group(0) @binding(6) var<storage, read> state: array<f32>;
@group(0) @binding(7) var<storage, read_write> dk: array<f32>;
@group(0) @binding(8) var<storage, read_write> dv: array<f32>;

var<workgroup> own_k: array<vec4f, 256>;
var<workgroup> own_v: array<vec4f, 256>;
var<workgroup> tile_q: array<vec4f, 128>;
var<workgroup> tile_g: array<vec4f, 128>;
var<workgroup> shares: array<f32, 64>;
var<workgroup> slopes: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (index >= block_count(params.keys, params.key_heads)) { return; }
    let block = block_at(index, params.keys, params.key_heads);
    let batch = block.batch;
    let key_head = block.head;
    let first_key = block.first;
    let own_key = lane / 8u;
    let column = lane % 8u;
    let key = first_key + own_key;
    let tile = tile_rows();
    let vectors = vector_count();
    for (var i = lane; i < 8u * vectors; i += 64u) {
        own_k[i] = k_vector(batch, key_head, first_key + i / vectors, i % vectors);
        own_v[i] = v_vector(batch, key_head, first_key + i / vectors, i % vectors);
    }
    let target_place = ((batch * params.keys + key) * params.key_heads + key_head) * params.width;
    var of_key = array<vec4f, 4>();
    var of_value = array<vec4f, 4>();
    if (params.first > 0u && key < params.keys) {
        for (var i = 0u; i < 4u; i++) {
            for (var j = 0u; j < 4u; j++) {
                let at = 4u * (column + 8u * i) + j;
                if (at < params.width) {
                    of_key[i][j] = dk[target_place + at];
                    of_value[i][j] = dv[target_place + at];
                }
            }
        }
    }
    let tiles_of_head = (params.rows + tile - 1u) / tile;
    let first_head = key_head * (params.heads / params.key_heads);
    for (var t = params.first; t < params.end; t++) {
        let head = first_head + t / tiles_of_head;
        let first_row = t % tiles_of_head * tile;
        if (params.is_causal != 0u && first_row + tile <= first_key) { continue; }
        for (var i = lane; i < tile * vectors; i += 64u) {
            tile_q[i] = q_vector(batch, head, first_row + i / vectors, i % vectors);
            tile_g[i] = g_vector(batch, head, first_row + i / vectors, i % vectors);
        }
        workgroupBarrier();
        if (column < tile) {
            var product = 0.0;
            var with_value = 0.0;
            for (var i = 0u; i < vectors; i++) {
                product = add_products(product, tile_q[column * vectors + i], own_k[own_key * vectors + i]);
                with_value = add_products(with_value, tile_g[column * vectors + i], own_v[own_key * vectors + i]);
            }
            let row = first_row + column;
            var part = 0.0;
            var own_product = 0.0;
            if (row < params.rows) {
                let at = 3u * row_place(batch, head, row);
                part = share(score(batch, head, row, key, product), state[at], state[at + 1u]);
                own_product = state[at + 2u];
            }
            shares[lane] = part;
            slopes[lane] = part * (with_value - own_product) * params.scale;
        }
        workgroupBarrier();
        for (var j = 0u; j < tile; j++) {
            let part = shares[own_key * 8u + j];
            let slope = slopes[own_key * 8u + j];
            for (var i = 0u; i < 4u; i++) {
                if (column + 8u * i < vectors) {
                    of_value[i] += part * tile_g[j * vectors + column + 8u * i];
                    of_key[i] += slope * tile_q[j * vectors + column + 8u * i];
                }
            }
        }
        workgroupBarrier();
    }
    if (key >= params.keys) { return; }
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            let at = 4u * (column + 8u * i) + j;
            if (at < params.width) {
                dk[target_place + at] = of_key[i][j];
                dv[target_place + at] = of_value[i][j];
            }
        }
    }
}
