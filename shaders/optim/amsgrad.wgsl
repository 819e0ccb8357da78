// AMSGrad over the whole arena of parameters, in one launch: Adam with the largest second moment so far.
//
//   g       = clip_factor grad                      (-g where maximize; g + weight_decay param where not decoupled)
//   param   = (1 - lr weight_decay) param           (decoupled)
//   moment1 = beta1 moment1 + (1 - beta1) g
//   moment2 = beta2 moment2 + (1 - beta2) g^2
//   largest = max(largest, moment2)
//   param   = param - lr / correction1  moment1 / (sqrt(largest) / sqrt(correction2) + eps)
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write   6: moment2 read_write
//           7: largest read_write
// bytes     20 read, 16 written per parameter
// twin      crates/nn/src/optim/methods/amsgrad.rs
// source    Reddi, Kale, Kumar: On the convergence of Adam and beyond (ICLR 2018); torch.optim.Adam

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> moment2: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> largest: array<vec4f>;

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment1[i];
    let v = moment2[i];
    let top = largest[i];
    let grad = gradient(i, value, step);
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let new_v = params.beta2 * v + params.timing.one_minus_beta2 * (grad * grad);
    // A NaN in the second moment is kept, as in Adam.
    let new_top = select(new_v, top, top >= new_v);
    let new_value = value * step.kept - f.step_size * (new_m / (sqrt(new_top) * f.inverse_root + params.eps));
    values[i] = stored(value, new_value, step);
    moment1[i] = stored(m, new_m, step);
    moment2[i] = stored(v, new_v, step);
    largest[i] = stored(top, new_top, step);
}
