// Stochastic gradient descent without momentum over the whole arena of parameters, in one launch.
//
//   g     = clip_factor grad                        (-g where maximize), + weight_decay param
//   param = param - lr g
//
// bindings  1 to 4: shared/update.wgsl
// bytes     8 read, 4 written per parameter
// twin      crates/nn/src/optim/methods/sgd.rs
// source    Robbins, Monro: A stochastic approximation method (1951); torch.optim.SGD

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
}

struct Factors {
    learning_rate: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    values[i] = stored(value, value - f.learning_rate * gradient(i, value, step), step);
}
