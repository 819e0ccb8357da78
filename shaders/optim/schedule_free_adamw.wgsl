// Schedule-free AdamW over the whole arena of parameters, in one launch.
//
//   g = clip_factor grad                            (-g where maximize)
//   v = beta2 v + (1 - beta2) g^2
//   d = g / (sqrt(v) / sqrt(correction2) + eps) + weight_decay y
//   c = lr^2 / sum lr^2                             (lr: the largest so far)
//   y = (1 - c) y + c z - lr (1 - beta1 (1 - c)) d
//   z = z - lr d                                    (at first: y)
//
// bindings  1 to 4: shared/update.wgsl   5: fast [4 vectors] read_write   6: moment2 read_write
// bytes     16 read, 12 written per parameter
// twin      crates/nn/src/optim/methods/schedule_free_adamw.rs
// source    Defazio et al.: The road less scheduled (NeurIPS 2024); optax.contrib.schedule_free_adamw

const EXTRA = SCHEDULE_FREE;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> fast: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> moment2: array<vec4f>;

struct Factors {
    is_first: bool,
    share: f32,
    learning_rate: f32,
    of_direction: f32,
    inverse_root: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(
        now.step == 1u,
        newest_share(now),
        now.learning_rate,
        now.learning_rate * direct_share(now),
        1.0 / sqrt(now.bias_correction2),
    );
}

fn update(i: u32, step: Step, f: Factors) {
    let y = values[i];
    let z = fast[i];
    let v = moment2[i];
    let grad = gradient(i, y, step);
    let new_v = params.beta2 * v + params.timing.one_minus_beta2 * (grad * grad);
    let direction = grad / (sqrt(new_v) * f.inverse_root + params.eps) + step.weight_decay * y;
    let before = select(z, y, f.is_first);
    values[i] = stored(y, y + f.share * (before - y) - f.of_direction * direction, step);
    fast[i] = stored(z, before - f.learning_rate * direction, step);
    moment2[i] = stored(v, new_v, step);
}
