// RAdam over the whole arena of parameters, in one launch.
//
//   g       = clip_factor grad                      (-g where maximize; g + weight_decay param where not decoupled)
//   param   = (1 - lr weight_decay) param           (decoupled)
//   moment1 = beta1 moment1 + (1 - beta1) g
//   moment2 = beta2 moment2 + (1 - beta2) g^2
//   rho     = longest - 2 t beta2^t / (1 - beta2^t),  longest = 2 / (1 - beta2) - 1
//   r       = sqrt((rho - 4) (rho - 2) longest / ((longest - 4) (longest - 2) rho))
//   param   = param - lr / correction1  moment1 (r sqrt(correction2) / (sqrt(moment2) + eps) where rho > 5, else 1)
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write   6: moment2 read_write
// bytes     16 read, 12 written per parameter
// twin      crates/nn/src/optim/methods/radam.rs
// source    Liu et al.: On the variance of the adaptive learning rate and beyond (ICLR 2020); torch.optim.RAdam

const EXTRA = RECTIFICATION;

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
    rectified: f32,
    is_adaptive: bool,
}

fn factors(now: Now) -> Factors {
    let longest = 2.0 / params.timing.one_minus_beta2 - 1.0;
    let length = 2.0 * now.extra2 / now.bias_correction2 - 1.0;
    let ratio = (length - 4.0) / (longest - 4.0) * ((length - 2.0) / (longest - 2.0)) * (longest / length);
    return Factors(
        now.learning_rate / now.bias_correction1,
        sqrt(ratio * now.bias_correction2),
        length > 5.0,
    );
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment1[i];
    let v = moment2[i];
    let grad = gradient(i, value, step);
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let new_v = params.beta2 * v + params.timing.one_minus_beta2 * (grad * grad);
    let adaptive = select(vec4f(1.0), f.rectified / (sqrt(new_v) + params.eps), f.is_adaptive);
    values[i] = stored(value, value * step.kept - f.step_size * new_m * adaptive, step);
    moment1[i] = stored(m, new_m, step);
    moment2[i] = stored(v, new_v, step);
}
