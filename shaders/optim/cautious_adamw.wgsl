// A step of Cautious AdamW along its masked direction: the last of three launches.
//
//   g     = clip_factor grad                        (-g where maximize)
//   param = (1 - lr weight_decay) param
//   param = param - lr own_factor / correction1  [moment1 g > 0] moment1 / (sqrt(moment2) / sqrt(correction2) + eps)
//
// own_factor is the inverse of the mask's mean, and [moment1 g > 0] the mask: shared/cautious.wgsl.
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write   6: moment2 read_write
// bytes     16 read, 4 written per parameter
// twin      crates/nn/src/optim/methods/cautious_adamw.rs
// source    Liang et al.: Cautious optimizers: improving training with one line of code (2024)

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> moment2: array<vec4f>;

struct Factors {
    step_size: f32,
    inverse_root: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate * now.own_factor / now.bias_correction1, 1.0 / sqrt(now.bias_correction2));
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment1[i];
    let direction = m / (sqrt(moment2[i]) * f.inverse_root + params.eps);
    let masked = select(f.step_size * direction, vec4f(0.0), opposes(m, gradient(i, value, step)));
    values[i] = stored(value, value * step.kept - masked, step);
}
