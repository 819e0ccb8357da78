// AdaGrad over the whole arena of parameters, in one launch.
//
//   g     = clip_factor grad                        (-g where maximize), + weight_decay param
//   sum   = sum + g^2
//   param = param - lr / (1 + (t - 1) lr_decay)  g / (sqrt(sum) + eps)
//
// bindings  1 to 4: shared/update.wgsl   5: sum [4 vectors] read_write
// bytes     12 read, 8 written per parameter
// twin      crates/nn/src/optim/methods/adagrad.rs
// source    Duchi, Hazan, Singer: Adaptive subgradient methods (JMLR 2011); torch.optim.Adagrad

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    lr_decay: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> sum: array<vec4f>;

struct Factors {
    step_size: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate / (1.0 + f32(now.step - 1u) * params.lr_decay));
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let s = sum[i];
    let grad = gradient(i, value, step);
    let new_s = s + grad * grad;
    let new_value = value - f.step_size * (grad / (sqrt(new_s) + params.eps));
    values[i] = stored(value, new_value, step);
    sum[i] = stored(s, new_s, step);
}
