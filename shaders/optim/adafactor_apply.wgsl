// The last stage of Adafactor: updates the parameters; the update is clipped by its root mean square.
//
//   param = (1 - lr weight_decay) param - alpha u / max(1, rms(u) / d)
//
// with u as in adafactor_squares.wgsl.
//
// bindings  1: values [elements] read_write   2: grads [elements] read   3: matrices [tensors] read   4: row_var read
//           5: col_var read   6: variance read   7: sums read: see adafactor_factors.wgsl
// bytes     8 read, 4 written per element of a matrix; 12 read, 4 written per element of a vector
// twin      crates/nn/src/optim/methods/adafactor.rs
// source    Shazeer, Stern: Adafactor (ICML 2018); torch.optim.Adafactor

@group(0) @binding(1) var<storage, read_write> values: array<f32>;
@group(0) @binding(2) var<storage, read> grads: array<f32>;
@group(0) @binding(3) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(4) var<storage, read> row_var: array<f32>;
@group(0) @binding(5) var<storage, read> col_var: array<f32>;
@group(0) @binding(6) var<storage, read> variance: array<f32>;
@group(0) @binding(7) var<storage, read> sums: array<f32>;

fn take_block(block: u32, lane: u32) {
    let number = matrix_at(block, BY_BLOCK);
    let matrix = matrices[number];
    let facts = params.facts_start + 8u * number;
    if (sums[facts + 5u] != 0.0) { return; }
    var sum = 0.0;
    for (var i = lane; i < matrix.places.w; i += 64u) { sum += sums[matrix.first_block + i]; }
    let rms = sqrt(tree_sum(lane, sum)) / (sqrt(f32(matrix.length)) * params.d);
    let step_size = sums[facts] / max(1.0, rms);
    let kept = sums[facts + 1u];
    let elements = elements_of(matrix, block);
    var at = walk_from(elements.x + lane, matrix);
    for (var i = elements.x + lane; i < elements.y; i += 64u) {
        let grad = sums[facts + 2u] * limited(grads[matrix.offset + i]);
        var v = 0.0;
        if (matrix.is_matrix != 0u) {
            v = row_var[matrix.places.x + at.row] * col_var[matrix.places.y + at.column] / sums[facts + 4u];
        } else {
            v = variance[matrix.places.z + i];
        }
        let u = grad / sqrt(max(v, params.eps1_squared));
        values[matrix.offset + i] = kept * values[matrix.offset + i] - step_size * u;
        at = walk_on(at, matrix);
    }
}
