// y = x W^T + bias, with an optional ReLU epilogue: a fully connected layer in one pass.
//
// bindings  1: a = x [m, k] read   2: b = W^T [k, n] read   3: bias [n] read   4: y [m, n] write, contiguous
// work      2 m n k operations
// twin      crates/tensor/src/matmul/linear.rs

struct Params {
    product: Product,
    relu: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = place_of(group_index(group, groups), lane);
    if (place.row >= params.product.m || place.column >= params.product.n) { return; }
    var block = product_block(place.row, place.column);
    let columns = min(4u, params.product.n - place.column);
    for (var r = 0u; r < min(8u, params.product.m - place.row); r++) {
        let base = (place.row + r) * params.product.n + place.column;
        for (var e = 0u; e < columns; e++) {
            let value = block[r][e] + bias[place.column + e];
            y[base + e] = select(value, 0.0, params.relu != 0u && value < 0.0);
        }
    }
}
