// The sums of squares of the parameters and gradients of each chunk of a tensor. The gradients are those of the
// update: clipped, negated if it maximizes, with coupled weight decay. The first launch of methods that need these
// norms.
//
//   g        = clip_factor grad                     (-g where maximize), + weight_decay param where decay is coupled
//   partials = sum param^2, sum g^2
//
// bindings  1 to 4: shared/update.wgsl   5: chunks read   6: partials [chunks] write
// bytes     8 read per parameter
// twin      crates/tensor/src/optim/segments.rs

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    first_chunk: u32,
    chunk_count: u32,
}

@group(0) @binding(5) var<storage, read> chunks: array<vec2u>;
@group(0) @binding(6) var<storage, read_write> partials: array<vec2f>;

struct Factors {
    nothing: u32,
}

fn factors(now: Now) -> Factors {
    return Factors(0u);
}

fn terms(i: u32, step: Step, f: Factors) -> Terms {
    let value = values[i];
    return Terms(value, gradient(i, value, step));
}
