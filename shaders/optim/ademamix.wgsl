// AdEMAMix over the whole arena of parameters, in one launch.
//
//   g       = clip_factor grad                      (-g where maximize)
//   param   = (1 - lr weight_decay) param
//   fast    = beta1 fast + (1 - beta1) g
//   slow    = beta3 slow + (1 - beta3) g
//   moment2 = beta2 moment2 + (1 - beta2) g^2
//   param   = param - lr (fast / correction1 + alpha slow) / (sqrt(moment2) / sqrt(correction2) + eps)
//
// bindings  1 to 4: shared/update.wgsl   5: fast [4 vectors] read_write   6: slow read_write   7: moment2 read_write
// bytes     20 read, 16 written per parameter
// twin      crates/nn/src/optim/methods/ademamix.rs
// source    Pagliardini, Ablin, Grangier: The AdEMAMix optimizer (ICLR 2025); optax.contrib.ademamix

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    beta3: f32,
    one_minus_beta3: f32,
    alpha: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> fast: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> slow: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> moment2: array<vec4f>;

struct Factors {
    of_fast: f32,
    of_slow: f32,
    inverse_root: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(
        now.learning_rate / now.bias_correction1,
        now.learning_rate * params.alpha,
        1.0 / sqrt(now.bias_correction2),
    );
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = fast[i];
    let s = slow[i];
    let v = moment2[i];
    let grad = gradient(i, value, step);
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let new_s = params.beta3 * s + params.one_minus_beta3 * grad;
    let new_v = params.beta2 * v + params.timing.one_minus_beta2 * (grad * grad);
    let direction = (f.of_fast * new_m + f.of_slow * new_s) / (sqrt(new_v) * f.inverse_root + params.eps);
    values[i] = stored(value, value * step.kept - direction, step);
    fast[i] = stored(m, new_m, step);
    slow[i] = stored(s, new_s, step);
    moment2[i] = stored(v, new_v, step);
}
