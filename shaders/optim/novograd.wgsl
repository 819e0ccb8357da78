// A step of NovoGrad over the whole arena of parameters, along gradients scaled by each tensor's second moment: the
// last of three launches.
//
//   g       = clip_factor grad                      (-g where maximize)
//   moment1 = beta1 moment1 + (own_factor g + weight_decay param)
//   param   = param - lr moment1
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write
// bytes     12 read, 8 written per parameter
// twin      crates/nn/src/optim/methods/novograd.rs
// source    Ginsburg et al.: Stochastic gradient methods with layer-wise adaptive moments (2019); optax.novograd

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;

struct Factors {
    learning_rate: f32,
    grad_scale: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate, now.own_factor);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let moment = moment1[i];
    let scaled = f.grad_scale * gradient(i, value, step) + step.weight_decay * value;
    let new_moment = step.momentum * moment + scaled;
    values[i] = stored(value, value - f.learning_rate * new_moment, step);
    moment1[i] = stored(moment, new_moment, step);
}
