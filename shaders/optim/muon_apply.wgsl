// The end of a step of Muon: matrices follow the orthogonalized update, all other parameters AdamW.
//
//   matrices   param = (1 - lr weight_decay) param - lr scale x
//   others     param = (1 - lr' weight_decay) param, with lr' = lr rate, then as adam.wgsl with its own betas and eps
//
// with scale = sqrt(max(1, rows / columns)), or 0.2 sqrt(max(rows, columns)), or sqrt(max(1, columns / rows)).
//
// bindings  1: values [elements] read_write   2: grads [elements] read   3: table [rows] read   4: clock read
//           5: matrices [tensors] read   6: x read   7: moment1 read_write   8: moment2 read_write
// bytes     8 read, 4 written per element of a matrix; 16 read, 12 written per other parameter
// twin      crates/nn/src/optim/methods/muon.rs
// source    Jordan et al.: Muon (2024); torch.optim.Muon; Loshchilov, Hutter: Decoupled weight decay regularization

struct Params {
    work: Work,
    step: MatrixStep,
    scale: u32,
    adamw_rate: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
}

const ORIGINAL = 0u;
const MATCH_RMS_ADAMW = 1u;
const TRANSPOSED = 2u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<f32>;
@group(0) @binding(2) var<storage, read> grads: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<vec4f>;
@group(0) @binding(4) var<storage, read> clock: Clock;
@group(0) @binding(5) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(6) var<storage, read> x: array<f32>;
@group(0) @binding(7) var<storage, read_write> moment1: array<f32>;
@group(0) @binding(8) var<storage, read_write> moment2: array<f32>;

fn scale_of(matrix: Matrix) -> f32 {
    let rows = f32(matrix.rows);
    let columns = f32(matrix.columns);
    if (params.scale == ORIGINAL) { return sqrt(max(1.0, rows / columns)); }
    if (params.scale == MATCH_RMS_ADAMW) { return 0.2 * sqrt(max(rows, columns)); }
    return sqrt(max(1.0, columns / rows));
}

fn take_block(block: u32, lane: u32) {
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    let now = time_of(matrix);
    if (now.clip_factor < 0.0) { return; }
    let elements = elements_of(matrix, block);
    if (matrix.is_matrix != 0u) {
        let kept = 1.0 - now.learning_rate * now.weight_decay;
        let rate = now.learning_rate * scale_of(matrix);
        for (var i = elements.x + lane; i < elements.y; i += 64u) {
            let place = matrix.offset + i;
            values[place] = kept * values[place] - rate * x[matrix.places.x + i];
        }
        return;
    }
    let rate = now.learning_rate * params.adamw_rate;
    let kept = 1.0 - rate * now.weight_decay;
    // The first moment's bias correction is the clock's third: its first one belongs to the momentum.
    let step_size = rate / now.extra1;
    let inverse_root = 1.0 / sqrt(now.bias_correction2);
    for (var i = elements.x + lane; i < elements.y; i += 64u) {
        let place = matrix.offset + i;
        let place1 = matrix.places.y + i;
        let place2 = matrix.places.z + i;
        let grad = grad_factor(now) * limited(grads[place]);
        let m = params.beta1 * moment1[place1] + params.one_minus_beta1 * grad;
        let v = params.beta2 * moment2[place2] + params.one_minus_beta2 * (grad * grad);
        moment1[place1] = m;
        moment2[place2] = v;
        values[place] = kept * values[place] - step_size * (m / (sqrt(v) * inverse_root + params.eps));
    }
}
