// The third stage of Adafactor: partial sums of the squares of the update, and the second moment of vectors.
//
//   v = row_var col_var / mean of row_var,  of vectors v = variance = variance + w (g^2 - variance)
//   u = g / sqrt(max(v, eps1^2)),           partial[block] = the sum of u^2 over a block
//
// bindings  1: grads [elements] read   2: matrices [tensors] read   3: row_var read   4: col_var read
//           5: variance read_write   6: sums read_write: see adafactor_factors.wgsl
// bytes     4 read per element of a matrix; 8 read, 4 written per element of a vector
// twin      crates/nn/src/optim/methods/adafactor.rs
// source    Shazeer, Stern: Adafactor (ICML 2018); torch.optim.Adafactor

@group(0) @binding(1) var<storage, read> grads: array<f32>;
@group(0) @binding(2) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(3) var<storage, read> row_var: array<f32>;
@group(0) @binding(4) var<storage, read> col_var: array<f32>;
@group(0) @binding(5) var<storage, read_write> variance: array<f32>;
@group(0) @binding(6) var<storage, read_write> sums: array<f32>;

fn take_block(block: u32, lane: u32) {
    let number = matrix_at(block, BY_BLOCK);
    let matrix = matrices[number];
    let facts = params.facts_start + 8u * number;
    let elements = elements_of(matrix, block);
    var sum = 0.0;
    if (sums[facts + 5u] == 0.0) {
        var at = walk_from(elements.x + lane, matrix);
        for (var i = elements.x + lane; i < elements.y; i += 64u) {
            let grad = sums[facts + 2u] * limited(grads[matrix.offset + i]);
            var v = 0.0;
            if (matrix.is_matrix != 0u) {
                v = row_var[matrix.places.x + at.row] * col_var[matrix.places.y + at.column] / sums[facts + 4u];
            } else {
                let old = variance[matrix.places.z + i];
                v = old + sums[facts + 3u] * (grad * grad - old);
                variance[matrix.places.z + i] = v;
            }
            let u = grad / sqrt(max(v, params.eps1_squared));
            sum += u * u;
            at = walk_on(at, matrix);
        }
    }
    sum = tree_sum(lane, sum);
    if (lane == 0u) { sums[block] = sum; }
}
