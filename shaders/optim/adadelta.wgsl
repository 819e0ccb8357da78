// AdaDelta over the whole arena of parameters, in one launch.
//
//   g      = clip_factor grad                       (-g where maximize), + weight_decay param
//   square = rho square + (1 - rho) g^2
//   d      = sqrt(delta + eps) / sqrt(square + eps) g
//   delta  = rho delta + (1 - rho) d^2
//   param  = param - lr d
//
// bindings  1 to 4: shared/update.wgsl   5: square [4 vectors] read_write   6: delta read_write
// bytes     16 read, 12 written per parameter
// twin      crates/nn/src/optim/methods/adadelta.rs
// source    Zeiler: ADADELTA, an adaptive learning rate method (2012); torch.optim.Adadelta

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    rho: f32,
    one_minus_rho: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> square: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> delta: array<vec4f>;

struct Factors {
    learning_rate: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let v = square[i];
    let d = delta[i];
    let grad = gradient(i, value, step);
    let new_v = params.rho * v + params.one_minus_rho * (grad * grad);
    let change = sqrt(d + params.eps) / sqrt(new_v + params.eps) * grad;
    let new_d = params.rho * d + params.one_minus_rho * (change * change);
    values[i] = stored(value, value - f.learning_rate * change, step);
    square[i] = stored(v, new_v, step);
    delta[i] = stored(d, new_d, step);
}
