// Divides each matrix to orthogonalize by its Frobenius norm: x = x / max(|x|, eps).
//
// bindings  1: matrices [tensors] read   2: partials [blocks] read   3: x [elements] read_write
// bytes     4 read, 4 written per parameter
// twin      crates/nn/src/optim/methods/muon.rs
//
// Each workgroup adds the partial sums of its matrix, at most 1,024, all in the same order.

struct Params {
    work: Work,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(2) var<storage, read> partials: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;

fn take_block(block: u32, lane: u32) {
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    if (matrix.is_matrix == 0u) { return; }
    var sum = 0.0;
    for (var i = lane; i < matrix.places.w; i += 64u) { sum += partials[matrix.first_block + i]; }
    let norm = max(sqrt(tree_sum(lane, sum)), params.eps);
    let elements = elements_of(matrix, block);
    for (var i = elements.x + lane; i < elements.y; i += 64u) {
        let place = matrix.places.x + i;
        x[place] = x[place] / norm;
    }
}
