// The first stage of SOAP: first moments, the gradients of matrices after clipping, and the whole step of all other
// parameters, which is Adam's. The first step moves neither.
//
//   moment1 = beta1 moment1 + (1 - beta1) g
//   no matrix: moment2 = beta2 moment2 + (1 - beta2) g^2
//              param   = (1 - lr weight_decay) (param - step_size moment1 / (sqrt(moment2) + eps))
//
// bindings  1: values [elements] read_write   2: grads read   3: table [rows] read   4: clock read
//           5: matrices [tensors] read   6: moment1 read_write   7: moment2 read_write   8: gradients write
// bytes     8 read, 8 written per element of a matrix; 16 read, 12 written per other parameter
// twin      crates/nn/src/optim/methods/soap.rs
// source    Vyas et al.: SOAP, improving and stabilizing Shampoo using Adam (ICLR 2025)

@group(0) @binding(1) var<storage, read_write> values: array<f32>;
@group(0) @binding(2) var<storage, read> grads: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<vec4f>;
@group(0) @binding(4) var<storage, read> clock: Clock;
@group(0) @binding(5) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(6) var<storage, read_write> moment1: array<f32>;
@group(0) @binding(7) var<storage, read_write> moment2: array<f32>;
@group(0) @binding(8) var<storage, read_write> gradients: array<f32>;

fn take_block(block: u32, lane: u32) {
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    let now = time_of(matrix);
    if (now.clip_factor < 0.0) { return; }
    let factor = grad_factor(now);
    let moves = now.step > 1u;
    let step_size = step_size_of(now);
    let kept = 1.0 - now.learning_rate * now.weight_decay;
    let elements = elements_of(matrix, block);
    for (var i = elements.x + lane; i < elements.y; i += 64u) {
        let place = matrix.offset + i;
        let grad = factor * limited(grads[place]);
        if (matrix.is_matrix != 0u) { gradients[place] = grad; }
        if (!moves) { continue; }
        let m = now.momentum * moment1[place] + now.one_minus_momentum * grad;
        moment1[place] = m;
        if (matrix.is_matrix == 0u) {
            let v = params.beta2 * moment2[place] + params.one_minus_beta2 * (grad * grad);
            moment2[place] = v;
            values[place] = kept * (values[place] - step_size * (m / (sqrt(v) + params.eps)));
        }
    }
}
