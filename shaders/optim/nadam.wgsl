// NAdam over the whole arena of parameters, in one launch.
//
//   g       = clip_factor grad                      (-g where maximize; g + weight_decay param where not decoupled)
//   param   = (1 - lr weight_decay) param           (decoupled)
//   moment1 = beta1 moment1 + (1 - beta1) g
//   moment2 = beta2 moment2 + (1 - beta2) g^2
//   mu_t    = beta1 (1 - 0.96^(t momentum_decay) / 2),  product = mu_1 mu_2 ... mu_t
//   d       = sqrt(moment2) / sqrt(correction2) + eps
//   param   = param - lr ((1 - mu_t) / (1 - product) g + mu_t+1 / (1 - product mu_t+1) moment1) / d
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write   6: moment2 read_write
// bytes     16 read, 12 written per parameter
// twin      crates/nn/src/optim/methods/nadam.rs
// source    Dozat: Incorporating Nesterov momentum into Adam (ICLR workshop 2016); torch.optim.NAdam

const EXTRA = MOMENTUM_DECAY;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> moment2: array<vec4f>;

struct Factors {
    of_grad: f32,
    of_moment: f32,
    inverse_root: f32,
}

fn factors(now: Now) -> Factors {
    let d = now.extra1;
    let next_d = d - params.timing.extra_rate * d;
    let one_minus_mu = now.one_minus_momentum + now.momentum * (0.5 * d);
    let mu_next = now.momentum * (1.0 - 0.5 * next_d);
    let one_minus_mu_next = now.one_minus_momentum + now.momentum * (0.5 * next_d);
    return Factors(
        now.learning_rate * one_minus_mu / now.extra2,
        now.learning_rate * mu_next / (now.extra2 + (1.0 - now.extra2) * one_minus_mu_next),
        1.0 / sqrt(now.bias_correction2),
    );
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment1[i];
    let v = moment2[i];
    let grad = gradient(i, value, step);
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let new_v = params.beta2 * v + params.timing.one_minus_beta2 * (grad * grad);
    let direction = (f.of_grad * grad + f.of_moment * new_m) / (sqrt(new_v) * f.inverse_root + params.eps);
    values[i] = stored(value, value * step.kept - direction, step);
    moment1[i] = stored(m, new_m, step);
    moment2[i] = stored(v, new_v, step);
}
