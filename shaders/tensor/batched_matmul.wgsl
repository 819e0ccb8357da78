// c = a b, or c += a b, for each product of a batch of strided matrices.
//
// bindings  1: a [batch, m, k] read   2: b [batch, k, n] read   3: c [batch, m, n] read_write, contiguous
// work      2 m n k operations per product
// twin      crates/tensor/src/matmul/batch.rs

struct Params {
    product: Product,
    batch: Batch,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (params.product.m + 63u) / 64u * ((params.product.n + 31u) / 32u);
    let workgroup = group_index(group, groups);
    let index = workgroup / tiles;
    if (index >= params.batch.count) { return; }
    let place = place_of(workgroup % tiles, lane);
    if (place.row >= params.product.m || place.column >= params.product.n) { return; }
    let offsets = offsets_of(index, params.batch);
    var block = product_block_at(place.row, place.column, offsets.x, offsets.y);
    let first = index * params.product.m * params.product.n;
    let columns = min(4u, params.product.n - place.column);
    for (var r = 0u; r < min(8u, params.product.m - place.row); r++) {
        let base = first + (place.row + r) * params.product.n + place.column;
        for (var e = 0u; e < columns; e++) {
            if (params.accumulate != 0u) {
                c[base + e] += block[r][e];
            } else {
                c[base + e] = block[r][e];
            }
        }
    }
}
