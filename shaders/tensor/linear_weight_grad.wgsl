// dW = dy^T x and dbias = the column sums of dy, or both added to the existing values: the gradients of a fully
// connected layer's parameters in one pass.
//
// bindings  1: a = dy^T [m, k] read   2: b = x [k, n] read   3: dW [m, n] read_write   4: dbias [m] read_write
// work      2 m n k operations
// twin      crates/tensor/src/matmul/linear.rs
//
// m is the number of outputs, n of inputs, k of samples. dW and dbias are contiguous. The lanes of the first column
// sum the rows of `a` again for the bias, in order of k.

struct Params {
    product: Product,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> weight_grad: array<f32>;
@group(0) @binding(4) var<storage, read_write> bias_grad: array<f32>;

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
            if (params.accumulate != 0u) {
                weight_grad[base + e] += block[r][e];
            } else {
                weight_grad[base + e] = block[r][e];
            }
        }
        if (place.column == 0u) {
            var sum = 0.0;
            var index = params.product.a_offset + (place.row + r) * params.product.a_row;
            for (var k = 0u; k < params.product.k; k++) {
                sum += a[index];
                index += params.product.a_column;
            }
            if (params.accumulate != 0u) {
                bias_grad[place.row + r] += sum;
            } else {
                bias_grad[place.row + r] = sum;
            }
        }
    }
}
