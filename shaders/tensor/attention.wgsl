// Attention: y = softmax(scale q kᵀ + mask) v for each head, without a matrix of scores.
//
// bindings  1: q [batches, heads, rows, width]   2: k [batches, key_heads, keys, width]   3: v as k   4: mask   read
//           5: y [batches, rows, heads, width]   6: state [batches, rows, heads, 3] read_write
// work      4 batches heads rows keys width operations, half of them if causal
// twin      crates/tensor/src/ops/attention/mod.rs
// source    Dao et al., FlashAttention (2022); Milakov and Gimelshein, Online normalizer calculation for softmax (2018)
//
// A workgroup takes eight rows of a head and keeps their largest score, the sum of exponentials and the weighted sum of
// values. When a tile has a larger score, both sums are scaled down. A launch goes through the tiles `first..end`; later
// ones continue from `state` and y. The third number of `state` is for the backward pass.

@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> state: array<f32>;

var<workgroup> own: array<vec4f, 256>;
var<workgroup> tile_k: array<vec4f, 128>;
var<workgroup> tile_v: array<vec4f, 128>;
var<workgroup> scores: array<f32, 64>;
var<workgroup> weights: array<f32, 64>;

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
        own[i] = q_vector(batch, head, first_row + i / vectors, i % vectors);
    }
    let place_of_row = row_place(batch, head, row);
    var largest = from_bits(NO_SCORE);
    var sum = 0.0;
    var values = array<vec4f, 4>();
    if (params.first > 0u && row < params.rows) {
        largest = state[3u * place_of_row];
        sum = state[3u * place_of_row + 1u];
        for (var i = 0u; i < 4u; i++) {
            for (var j = 0u; j < 4u; j++) {
                let at = 4u * (column + 8u * i) + j;
                if (at < params.width) { values[i][j] = y[place_of_row * params.width + at]; }
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
            for (var i = 0u; i < vectors; i++) {
                product = add_products(product, own[own_row * vectors + i], tile_k[column * vectors + i]);
            }
            scores[lane] = score(batch, head, row, first_key + column, product);
        }
        workgroupBarrier();
        let before = largest;
        for (var j = 0u; j < tile; j++) { largest = maximum(largest, scores[own_row * 8u + j]); }
        if (column < tile) { weights[lane] = weight(scores[lane], largest); }
        workgroupBarrier();
        let factor = weight(before, largest);
        sum *= factor;
        for (var i = 0u; i < 4u; i++) { values[i] *= factor; }
        for (var j = 0u; j < tile; j++) {
            let own_weight = weights[own_row * 8u + j];
            sum += own_weight;
            for (var i = 0u; i < 4u; i++) {
                if (column + 8u * i < vectors) { values[i] += own_weight * tile_v[j * vectors + column + 8u * i]; }
            }
        }
        workgroupBarrier();
    }
    if (row >= params.rows) { return; }
    if (column == 0u) {
        state[3u * place_of_row] = largest;
        state[3u * place_of_row + 1u] = sum;
    }
    // A row without a key has zeros.
    var divisor = 1.0;
    if (params.end == params.tiles && sum != 0.0) { divisor = sum; }
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            let at = 4u * (column + 8u * i) + j;
            if (at < params.width) { y[place_of_row * params.width + at] = values[i][j] / divisor; }
        }
    }
}
