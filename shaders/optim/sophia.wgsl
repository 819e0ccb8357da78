// Sophia over the whole arena of parameters, in one launch.
//
//   g      = clip_factor grad                       (-g where maximize)
//   moment = beta1 moment + (1 - beta1) g
//   u      = clamp(moment / correction1 / max(gamma hessian, eps), -clip_threshold, clip_threshold)
//   param  = (1 - lr weight_decay) param - lr u
//
// bindings  1 to 4: shared/update.wgsl   5: moment [4 vectors] read_write   6: hessian read_write, but only read
// bytes     16 read, 8 written per parameter
// twin      crates/nn/src/optim/methods/sophia.rs
// source    Liu et al.: Sophia: a scalable stochastic second-order optimizer for language model pre-training (ICLR 2024);
//           optax.contrib.sophia
//
// The average of the Hessian's diagonal is updated in a separate launch, every few steps: optim/hessian.wgsl.

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    gamma: f32,
    eps: f32,
    clip_threshold: f32,
}

@group(0) @binding(5) var<storage, read_write> moment: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> hessian: array<vec4f>;

struct Factors {
    learning_rate: f32,
    inverse_correction: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate, 1.0 / now.bias_correction1);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment[i];
    let curvature = params.gamma * hessian[i];
    let grad = gradient(i, value, step);
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let ratio = new_m * f.inverse_correction / select(vec4f(params.eps), curvature, curvature > vec4f(params.eps));
    // Comparisons, so that a NaN propagates.
    let most = vec4f(params.clip_threshold);
    let from_below = select(ratio, -most, ratio < -most);
    let direction = select(from_below, most, ratio > most);
    values[i] = stored(value, value * step.kept - f.learning_rate * direction, step);
    moment[i] = stored(m, new_m, step);
}
