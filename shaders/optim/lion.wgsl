// Lion over the whole arena of parameters, in one launch.
//
//   g      = clip_factor grad                       (-g where maximize)
//   u      = sign(beta1 moment + (1 - beta1) g)
//   moment = beta2 moment + (1 - beta2) g
//   param  = param - lr (u + weight_decay param)
//
// bindings  1 to 4: shared/update.wgsl   5: moment [4 vectors] read_write
// bytes     12 read, 8 written per parameter
// twin      crates/nn/src/optim/methods/lion.rs
// source    Chen et al.: Symbolic discovery of optimization algorithms (NeurIPS 2023); optax.lion

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
}

@group(0) @binding(5) var<storage, read_write> moment: array<vec4f>;

struct Factors {
    learning_rate: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment[i];
    let grad = gradient(i, value, step);
    let direction = sign_of(step.momentum * m + step.one_minus_momentum * grad);
    let new_m = params.beta2 * m + params.timing.one_minus_beta2 * grad;
    values[i] = stored(value, value - f.learning_rate * (direction + step.weight_decay * value), step);
    moment[i] = stored(m, new_m, step);
}
