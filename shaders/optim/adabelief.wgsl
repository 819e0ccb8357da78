// AdaBelief over the whole arena of parameters, in one launch.
//
//   g       = clip_factor grad                      (-g where maximize)
//   param   = (1 - lr weight_decay) param
//   moment1 = beta1 moment1 + (1 - beta1) g
//   belief  = beta2 belief + (1 - beta2) (g - moment1)^2 + eps_root
//   param   = param - lr / correction1  moment1 / (sqrt(belief) / sqrt(correction2) + eps)
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write   6: belief read_write
// bytes     16 read, 12 written per parameter
// twin      crates/nn/src/optim/methods/adabelief.rs
// source    Zhuang et al.: AdaBelief optimizer (NeurIPS 2020); optax.adabelief

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    eps: f32,
    eps_root: f32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> belief: array<vec4f>;

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment1[i];
    let s = belief[i];
    let grad = gradient(i, value, step);
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let surprise = grad - new_m;
    let new_s = params.beta2 * s + params.timing.one_minus_beta2 * (surprise * surprise) + params.eps_root;
    let new_value = value * step.kept - f.step_size * (new_m / (sqrt(new_s) * f.inverse_root + params.eps));
    values[i] = stored(value, new_value, step);
    moment1[i] = stored(m, new_m, step);
    belief[i] = stored(s, new_s, step);
}
