// The moments of Cautious AdamW over the whole arena of parameters, and for each chunk of a tensor the number of
// parameters whose moment and gradient have the same sign: the first of three launches.
//
//   g         = clip_factor grad                    (-g where maximize)
//   moment1   = beta1 moment1 + (1 - beta1) g
//   moment2   = beta2 moment2 + (1 - beta2) g^2
//   partials  = sum [moment1 g > 0], 0              (shared/cautious.wgsl)
//
// bindings  1 to 4: shared/update.wgsl (values: not touched)   5: moment1 [4 vectors] read_write   6: moment2 read_write
//           7: chunks read   8: partials [chunks] write
// bytes     12 read, 8 written per parameter
// twin      crates/nn/src/optim/methods/cautious_adamw.rs
// source    Liang et al.: Cautious optimizers: improving training with one line of code (2024)

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    eps: f32,
    first_chunk: u32,
    chunk_count: u32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> moment2: array<vec4f>;
@group(0) @binding(7) var<storage, read> chunks: array<vec2u>;
@group(0) @binding(8) var<storage, read_write> partials: array<vec2f>;

struct Factors {
    nothing: u32,
}

fn factors(now: Now) -> Factors {
    return Factors(0u);
}

fn terms(i: u32, step: Step, f: Factors) -> Terms {
    let m = moment1[i];
    let v = moment2[i];
    // Weight decay is not added to the gradient, so the parameters are not needed.
    let grad = gradient(i, vec4f(0.0), step);
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let new_v = params.beta2 * v + params.timing.one_minus_beta2 * (grad * grad);
    moment1[i] = stored(m, new_m, step);
    moment2[i] = stored(v, new_v, step);
    return Terms(select(vec4f(1.0), vec4f(0.0), opposes(new_m, grad)), vec4f(0.0));
}
