// RMSProp, plain, centred, with momentum or both, over the whole arena of parameters, in one launch.
//
//   g       = clip_factor grad                      (-g where maximize), + weight_decay param
//   square  = alpha square + (1 - alpha) g^2
//   average = alpha average + (1 - alpha) g         (CENTERED)
//   d       = g / (sqrt(square) + eps)              (CENTERED: g / (sqrt(square - average^2) + eps))
//   moment  = momentum moment + d                   (MOMENTUM)
//   param   = param - lr d                          (MOMENTUM: param - lr moment)
//
// bindings  1 to 4: shared/update.wgsl   5: square [4 vectors] read_write   6: average read_write where CENTERED
//           7: moment read_write where MOMENTUM; else an unused array
// bytes     12 read, 8 written per parameter, and 4 of each for each of CENTERED and MOMENTUM
// twin      crates/nn/src/optim/methods/rmsprop.rs
// source    Tieleman, Hinton: Lecture 6.5 of Neural networks for machine learning (2012); centred: Graves: Generating
//           sequences with recurrent neural networks (2013); torch.optim.RMSprop

override CENTERED: bool = false;
override MOMENTUM: bool = false;

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    alpha: f32,
    one_minus_alpha: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> square: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> average: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> moment: array<vec4f>;

struct Factors {
    learning_rate: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let v = square[i];
    let grad = gradient(i, value, step);
    let new_v = params.alpha * v + params.one_minus_alpha * (grad * grad);
    square[i] = stored(v, new_v, step);
    var variance = new_v;
    if (CENTERED) {
        let a = average[i];
        let new_a = params.alpha * a + params.one_minus_alpha * grad;
        average[i] = stored(a, new_a, step);
        // Rounding must not make it negative.
        variance = new_v - new_a * new_a;
        variance = select(variance, vec4f(0.0), variance < vec4f(0.0));
    }
    var direction = grad / (sqrt(variance) + params.eps);
    if (MOMENTUM) {
        let b = moment[i];
        let new_b = step.momentum * b + direction;
        moment[i] = stored(b, new_b, step);
        direction = new_b;
    }
    values[i] = stored(value, value - f.learning_rate * direction, step);
}
