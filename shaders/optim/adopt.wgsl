// ADOPT over the whole arena of parameters, in one launch.
//
//   g       = clip_factor grad                      (-g where maximize)
//   limit   = (t - 1)^(1/4)
//   d       = g / max(sqrt(moment2), eps), clipped to -limit ... limit
//   param   = (1 - lr weight_decay) param           (not at the first step)
//   moment1 = beta1 moment1 + (1 - beta1) d
//   param   = param - lr moment1
//   moment2 = beta2 moment2 + (1 - beta2) g^2       (at the first step: g^2)
//
// The limit of the first step is 0, so moment1 and param do not change.
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write   6: moment2 read_write
// bytes     16 read, 12 written per parameter
// twin      crates/nn/src/optim/methods/adopt.rs
// source    Taniguchi et al.: ADOPT: modified Adam can converge with any beta2 with the optimal rate (NeurIPS 2024),
//           algorithm 2, and the authors' own code

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
    learning_rate: f32,
    kept: f32,
    limit: f32,
    of_old: f32,
    of_square: f32,
}

fn factors(now: Now) -> Factors {
    let first = now.step <= 1u;
    return Factors(
        now.learning_rate,
        select(1.0 - now.learning_rate * now.weight_decay, 1.0, first),
        select(sqrt(sqrt(f32(now.step - 1u))), 0.0, first),
        select(params.beta2, 0.0, first),
        select(params.timing.one_minus_beta2, 1.0, first),
    );
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let m = moment1[i];
    let v = moment2[i];
    let grad = gradient(i, value, step);
    // Comparisons, so that a NaN propagates.
    let root = sqrt(v);
    var scaled = grad / select(root, vec4f(params.eps), root < vec4f(params.eps));
    let most = vec4f(f.limit);
    scaled = select(scaled, most, scaled > most);
    scaled = select(scaled, -most, scaled < -most);
    let new_m = step.momentum * m + step.one_minus_momentum * scaled;
    let new_v = f.of_old * v + f.of_square * (grad * grad);
    values[i] = stored(value, value * f.kept - f.learning_rate * new_m, step);
    moment1[i] = stored(m, new_m, step);
    moment2[i] = stored(v, new_v, step);
}
