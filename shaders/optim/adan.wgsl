// Adan over the whole arena of parameters, in one launch.
//
//   g       = clip_factor grad                      (-g where maximize)
//   d       = g - before                            (0 at the first step)
//   before  = g
//   param   = (1 - lr weight_decay) param
//   moment1 = beta1 moment1 + (1 - beta1) g
//   change  = beta2 change + (1 - beta2) d
//   moment2 = beta3 moment2 + (1 - beta3) (g + beta2 d)^2
//   param   = param - lr (moment1 / correction1 + beta2 change / correction2) / (sqrt(moment2) / sqrt(correction3) + eps)
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write   6: change read_write
//           7: moment2 read_write   8: before read_write
// bytes     24 read, 20 written per parameter
// twin      crates/nn/src/optim/methods/adan.rs
// source    Xie et al.: Adan (TPAMI 2024), and the authors' own code

const EXTRA = THIRD_MOMENT;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    beta3: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> change: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> moment2: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> before: array<vec4f>;

struct Factors {
    of_gradient: f32,
    of_change: f32,
    inverse_root: f32,
    is_first: bool,
}

fn factors(now: Now) -> Factors {
    return Factors(
        now.learning_rate / now.bias_correction1,
        now.learning_rate * params.beta2 / now.bias_correction2,
        1.0 / sqrt(now.extra1),
        now.step == 1u,
    );
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment1[i];
    let c = change[i];
    let n = moment2[i];
    let last = before[i];
    let grad = gradient(i, value, step);
    let difference = select(grad - last, vec4f(0.0), f.is_first);
    let ahead = grad + params.beta2 * difference;
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let new_c = params.beta2 * c + params.timing.one_minus_beta2 * difference;
    let new_n = params.beta3 * n + params.timing.extra_rate * (ahead * ahead);
    let direction = (f.of_gradient * new_m + f.of_change * new_c) / (sqrt(new_n) * f.inverse_root + params.eps);
    values[i] = stored(value, value * step.kept - direction, step);
    moment1[i] = stored(m, new_m, step);
    change[i] = stored(c, new_c, step);
    moment2[i] = stored(n, new_n, step);
    before[i] = stored(last, grad, step);
}
