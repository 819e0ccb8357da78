// Prodigy over the whole arena of parameters: the last of its launches.
//
//   g       = clip_factor grad                      (-g where maximize)
//   dlr     = d_before lr sqrt(correction2) / correction1       (d_before lr without bias correction)
//   moment1 = beta1 moment1 + (1 - beta1) d_before g
//   moment2 = beta2 moment2 + (1 - beta2) (d_before g)^2
//   param   = param - dlr (weight_decay param + moment1 / (sqrt(moment2) + d eps))
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write   6: moment2 read_write   7: estimate [4] read
// bytes     16 read, 12 written per parameter
// twin      crates/nn/src/optim/methods/prodigy.rs
// source    Mishchenko, Defazio: Prodigy: an expeditiously adaptive parameter-free learner (ICML 2024);
//           optax.contrib.prodigy

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    eps: f32,
    has_bias_correction: u32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> moment2: array<vec4f>;
@group(0) @binding(7) var<storage, read> estimate: array<f32>;

struct Factors {
    dlr: f32,
    d_before: f32,
    d_eps: f32,
}

fn factors(now: Now) -> Factors {
    var correction = 1.0;
    if (params.has_bias_correction != 0u) { correction = sqrt(now.bias_correction2) / now.bias_correction1; }
    return Factors(estimate[3] * now.learning_rate * correction, estimate[3], estimate[0] * params.eps);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment1[i];
    let v = moment2[i];
    let grad = f.d_before * gradient(i, value, step);
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let new_v = params.beta2 * v + params.timing.one_minus_beta2 * (grad * grad);
    let new_value = value - f.dlr * (step.weight_decay * value + new_m / (sqrt(new_v) + f.d_eps));
    values[i] = stored(value, new_value, step);
    moment1[i] = stored(m, new_m, step);
    moment2[i] = stored(v, new_v, step);
}
