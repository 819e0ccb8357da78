// The second moments of SOAP and the update, both in the eigenbases: x = x / (sqrt(moment2) + eps) with moment2 =
// beta2 moment2 + (1 - beta2) g^2. Does nothing at the first step.
//
// bindings  1: table [rows] read   2: clock read   3: matrices [tensors] read   4: gradients read, g in the eigenbases
//           5: moment2 read_write   6: x read_write, the first moment in the eigenbases
// bytes     12 read, 8 written per element of a matrix
// twin      crates/nn/src/optim/methods/soap.rs
// source    Vyas et al.: SOAP, improving and stabilizing Shampoo using Adam (ICLR 2025)

@group(0) @binding(1) var<storage, read> table: array<vec4f>;
@group(0) @binding(2) var<storage, read> clock: Clock;
@group(0) @binding(3) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(4) var<storage, read> gradients: array<f32>;
@group(0) @binding(5) var<storage, read_write> moment2: array<f32>;
@group(0) @binding(6) var<storage, read_write> x: array<f32>;

fn take_block(block: u32, lane: u32) {
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    let now = time_of(matrix);
    if (matrix.is_matrix == 0u || now.clip_factor < 0.0 || now.step < 2u) { return; }
    let elements = elements_of(matrix, block);
    for (var i = elements.x + lane; i < elements.y; i += 64u) {
        let place = matrix.offset + i;
        let grad = gradients[place];
        let v = params.beta2 * moment2[place] + params.one_minus_beta2 * (grad * grad);
        moment2[place] = v;
        x[place] = x[place] / (sqrt(v) + params.eps);
    }
}
