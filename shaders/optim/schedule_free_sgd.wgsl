// Schedule-free stochastic gradient descent over the whole arena of parameters, in one launch.
//
//   g = clip_factor grad                            (-g where maximize), + weight_decay y
//   c = lr^2 / sum lr^2                             (lr: the largest so far)
//   y = (1 - c) y + c z - lr (1 - beta1 (1 - c)) g
//   z = z - lr g                                    (at first: y)
//
// bindings  1 to 4: shared/update.wgsl   5: fast [4 vectors] read_write
// bytes     12 read, 8 written per parameter
// twin      crates/nn/src/optim/methods/schedule_free_sgd.rs
// source    Defazio et al.: The road less scheduled (NeurIPS 2024); optax.contrib.schedule_free_sgd

const EXTRA = SCHEDULE_FREE;

struct Params {
    timing: Timing,
    settings: Settings,
}

@group(0) @binding(5) var<storage, read_write> fast: array<vec4f>;

struct Factors {
    is_first: bool,
    share: f32,
    learning_rate: f32,
    of_grad: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(
        now.step == 1u,
        newest_share(now),
        now.learning_rate,
        now.learning_rate * direct_share(now),
    );
}

fn update(i: u32, step: Step, f: Factors) {
    let y = values[i];
    let z = fast[i];
    let grad = gradient(i, y, step);
    let before = select(z, y, f.is_first);
    values[i] = stored(y, y + f.share * (before - y) - f.of_grad * grad, step);
    fast[i] = stored(z, before - f.learning_rate * grad, step);
}
