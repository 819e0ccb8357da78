// Adamax over the whole arena of parameters, in one launch.
//
//   g       = clip_factor grad                      (-g where maximize), + weight_decay param
//   moment1 = beta1 moment1 + (1 - beta1) g
//   largest = max(beta2 largest, |g| + eps)
//   param   = param - lr / correction1  moment1 / largest
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write   6: largest read_write
// bytes     16 read, 12 written per parameter
// twin      crates/nn/src/optim/methods/adamax.rs
// source    Kingma, Ba: Adam (ICLR 2015), section 7.1; torch.optim.Adamax

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> largest: array<vec4f>;

struct Factors {
    step_size: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate / now.bias_correction1);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment1[i];
    let top = largest[i];
    let grad = gradient(i, value, step);
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let faded = params.beta2 * top;
    let here = abs(grad) + params.eps;
    // A gradient of NaN is kept, as in Adam.
    let new_top = select(here, faded, faded >= here);
    values[i] = stored(value, value - f.step_size * (new_m / new_top), step);
    moment1[i] = stored(m, new_m, step);
    largest[i] = stored(top, new_top, step);
}
