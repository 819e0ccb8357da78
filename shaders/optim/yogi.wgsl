// Yogi over the whole arena of parameters, in one launch.
//
//   g       = clip_factor grad                      (-g where maximize), + weight_decay param
//   moment1 = beta1 moment1 + (1 - beta1) g
//   moment2 = moment2 - (1 - beta2) sign(moment2 - g^2) g^2
//   param   = param - lr / correction1  moment1 / (sqrt(moment2) / sqrt(correction2) + eps)
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write   6: moment2 read_write
// bytes     16 read, 12 written per parameter
// twin      crates/nn/src/optim/methods/yogi.rs
// source    Zaheer et al.: Adaptive methods for nonconvex optimization (NeurIPS 2018); optax.yogi

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> moment2: array<vec4f>;

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment1[i];
    let v = moment2[i];
    let grad = gradient(i, value, step);
    let square = grad * grad;
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let new_v = v - params.timing.one_minus_beta2 * (sign_of(v - square) * square);
    let new_value = value - f.step_size * (new_m / (sqrt(new_v) * f.inverse_root + params.eps));
    values[i] = stored(value, new_value, step);
    moment1[i] = stored(m, new_m, step);
    moment2[i] = stored(v, new_v, step);
}
