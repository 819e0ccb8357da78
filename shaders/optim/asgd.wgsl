// Averaged stochastic gradient descent over the whole arena of parameters, in one launch.
//
//   g     = clip_factor grad                        (-g where maximize), + weight_decay param
//   eta   = lr / (1 + lambd lr (t - 1))^alpha
//   mu    = 1 / max(1, t - 1 - t0)
//   param = param - eta (g + lambd param)
//   ax    = ax + mu (param - ax)
//
// bindings  1 to 4: shared/update.wgsl   5: ax [4 vectors] read_write
// bytes     12 read, 8 written per parameter
// twin      crates/nn/src/optim/methods/asgd.rs
// source    Polyak, Juditsky: Acceleration of stochastic approximation by averaging (1992); torch.optim.ASGD

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    lambd: f32,
    alpha: f32,
    t0: f32,
}

@group(0) @binding(5) var<storage, read_write> ax: array<vec4f>;

struct Factors {
    eta: f32,
    mu: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(
        now.learning_rate * safe_exp(-params.alpha * log1p(params.lambd * now.learning_rate * f32(now.step - 1u))),
        1.0 / max(f32(now.step - 1u) - params.t0, 1.0),
    );
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let average = ax[i];
    let grad = gradient(i, value, step);
    let new_value = value - f.eta * (grad + params.lambd * value);
    let new_average = select(average + (new_value - average) * f.mu, new_value, f.mu == 1.0);
    values[i] = stored(value, new_value, step);
    ax[i] = stored(average, new_average, step);
}
