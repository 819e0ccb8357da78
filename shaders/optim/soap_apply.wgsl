// Updates the matrices with SOAP's update, transformed back from the eigenbases: param = (1 - lr weight_decay) (param
// - step_size x). Does nothing at the first step.
//
// bindings  1: values [elements] read_write   2: table [rows] read   3: clock read   4: matrices [tensors] read   5: x read
// bytes     8 read, 4 written per element of a matrix
// twin      crates/nn/src/optim/methods/soap.rs
// source    Vyas et al.: SOAP, improving and stabilizing Shampoo using Adam (ICLR 2025)

@group(0) @binding(1) var<storage, read_write> values: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<vec4f>;
@group(0) @binding(3) var<storage, read> clock: Clock;
@group(0) @binding(4) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(5) var<storage, read> x: array<f32>;

fn take_block(block: u32, lane: u32) {
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    let now = time_of(matrix);
    if (matrix.is_matrix == 0u || now.clip_factor < 0.0 || now.step < 2u) { return; }
    let step_size = step_size_of(now);
    let kept = 1.0 - now.learning_rate * now.weight_decay;
    let elements = elements_of(matrix, block);
    for (var i = elements.x + lane; i < elements.y; i += 64u) {
        let place = matrix.offset + i;
        values[place] = kept * (values[place] - step_size * x[place]);
    }
}
