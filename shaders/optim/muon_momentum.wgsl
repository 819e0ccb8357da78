// The momentum of Muon: advances the buffers of all matrices, and writes the matrices to orthogonalize and partial
// sums of their squares.
//
//   buffer = momentum buffer + (1 - momentum) g
//   x      = buffer, or with nesterov momentum buffer + (1 - momentum) g; where bias_correction is on, the first divided
//            by 1 - momentum^(t + 1) and the second by 1 - momentum^t
//
// bindings  1: grads [elements] read   2: table [rows] read   3: clock read   4: matrices [tensors] read
//           5: buffer [elements] read_write   6: x write, in the buffer's layout   7: partials [blocks] write
// bytes     8 read, 8 written per parameter
// twin      crates/nn/src/optim/methods/muon.rs
// source    Jordan et al.: Muon, an optimizer for hidden layers in neural networks (2024); torch.optim.Muon

struct Params {
    work: Work,
    step: MatrixStep,
    nesterov: u32,
    bias_correction: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grads: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<vec4f>;
@group(0) @binding(3) var<storage, read> clock: Clock;
@group(0) @binding(4) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(5) var<storage, read_write> buffer: array<f32>;
@group(0) @binding(6) var<storage, read_write> x: array<f32>;
@group(0) @binding(7) var<storage, read_write> partials: array<f32>;

fn take_block(block: u32, lane: u32) {
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    let now = time_of(matrix);
    if (matrix.is_matrix == 0u || now.clip_factor < 0.0) { return; }
    // The factors of the buffer and the gradient.
    var of_buffer = now.momentum;
    var of_grad = now.one_minus_momentum;
    if (params.bias_correction != 0u) {
        of_buffer /= next_correction(now.bias_correction1, now.one_minus_momentum);
        of_grad /= now.bias_correction1;
    }
    let elements = elements_of(matrix, block);
    var sum = 0.0;
    for (var i = elements.x + lane; i < elements.y; i += 64u) {
        let grad = grad_factor(now) * limited(grads[matrix.offset + i]);
        let place = matrix.places.x + i;
        let moment = now.momentum * buffer[place] + now.one_minus_momentum * grad;
        buffer[place] = moment;
        let value = select(moment, of_buffer * moment + of_grad * grad, params.nesterov != 0u);
        x[place] = value;
        sum += value * value;
    }
    sum = tree_sum(lane, sum);
    if (lane == 0u) { partials[block] = sum; }
}
