// Stochastic gradient descent with momentum, plain or Nesterov's, over the whole arena of parameters, in one launch.
//
//   g      = clip_factor grad                       (-g where maximize), + weight_decay param
//   moment = momentum moment + (1 - dampening) g    (at the first step: g)
//   param  = param - lr moment                      (Nesterov: param - lr (g + momentum moment))
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write
// bytes     12 read, 8 written per parameter
// twin      crates/nn/src/optim/methods/sgd.rs
// source    Polyak (1964); Nesterov (1983); Sutskever et al. (ICML 2013); torch.optim.SGD

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    // 1 - dampening.
    undamped: f32,
    nesterov: u32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;

struct Factors {
    undamped: f32,
    learning_rate: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(select(params.undamped, 1.0, now.step == 1u), now.learning_rate);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let moment = moment1[i];
    let grad = gradient(i, value, step);
    let new_moment = step.momentum * moment + f.undamped * grad;
    let direction = select(new_moment, grad + step.momentum * new_moment, params.nesterov != 0u);
    values[i] = stored(value, value - f.learning_rate * direction, step);
    moment1[i] = stored(moment, new_moment, step);
}
