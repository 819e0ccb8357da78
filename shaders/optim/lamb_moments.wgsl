// The moments of LAMB over the whole arena of parameters, and for each chunk of a tensor the sums of squares of parameters
// and direction: the first of three launches.
//
//   g         = clip_factor grad                    (-g where maximize)
//   moment1   = beta1 moment1 + (1 - beta1) g
//   moment2   = beta2 moment2 + (1 - beta2) g^2
//   partials  = sum param^2, sum direction^2        (direction: shared/lamb.wgsl)
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write   6: moment2 read_write
//           7: chunks read   8: partials [chunks] write
// bytes     16 read, 8 written per parameter
// twin      crates/nn/src/optim/methods/lamb.rs
// source    You et al.: Large batch optimization for deep learning: training BERT in 76 minutes (ICLR 2020); optax.lamb

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

fn terms(i: u32, step: Step, f: Factors) -> Terms {
    let value = values[i];
    let m = moment1[i];
    let v = moment2[i];
    let grad = gradient(i, value, step);
    let new_m = step.momentum * m + step.one_minus_momentum * grad;
    let new_v = params.beta2 * v + params.timing.one_minus_beta2 * (grad * grad);
    moment1[i] = stored(m, new_m, step);
    moment2[i] = stored(v, new_v, step);
    return Terms(value, direction(value, new_m, new_v, step, f));
}
