// The factor of a Newton-Schulz iteration, of all matrices: p = a I + b A + c A A, over A A.
//
// bindings  1: matrices [tensors] read   2: gram [elements] read, A   3: square [elements] read_write, A A, then p
// bytes     8 read, 4 written per element of A
// twin      crates/nn/src/optim/methods/muon.rs
// source    Jordan et al.: Muon (2024)

struct Params {
    work: Work,
    a: f32,
    b: f32,
    c: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(2) var<storage, read> gram: array<f32>;
@group(0) @binding(3) var<storage, read_write> square: array<f32>;

fn take_block(block: u32, lane: u32) {
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    let elements = elements_of(matrix, block);
    for (var i = elements.x + lane; i < elements.y; i += 64u) {
        let place = matrix.offset + i;
        // The diagonal: i = row (columns + 1).
        let identity = select(0.0, params.a, i % (matrix.columns + 1u) == 0u);
        square[place] = identity + (params.b * gram[place] + params.c * square[place]);
    }
}
