// Rprop over the whole arena of parameters, in one launch.
//
//   g     = clip_factor grad                        (-g where maximize)
//   s     = sign(g prev)
//   size  = clamp(size (grow where s > 0, shrink where s < 0), least, most)
//   g     = 0 where s < 0
//   param = param - size sign(g);  prev = g
//
// bindings  1 to 4: shared/update.wgsl   5: prev [4 vectors] read_write   6: size read_write
// bytes     16 read, 12 written per parameter
// twin      crates/nn/src/optim/methods/rprop.rs
// source    Riedmiller, Braun: A direct adaptive method for faster backpropagation learning (ICNN 1993);
//           torch.optim.Rprop

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    shrink: f32,
    grow: f32,
    least: f32,
    most: f32,
}

@group(0) @binding(5) var<storage, read_write> prev: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> size: array<vec4f>;

// Nothing: step sizes are per parameter.
struct Factors {
    none: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(0.0);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let before = prev[i];
    let s = size[i];
    let grad = gradient(i, value, step);
    let agreement = grad * before;
    let growth = select(vec4f(1.0), vec4f(params.grow), agreement > vec4f(0.0));
    let grown = s * select(growth, vec4f(params.shrink), agreement < vec4f(0.0));
    let new_s = clamp(grown, vec4f(params.least), vec4f(params.most));
    let counted = select(grad, vec4f(0.0), agreement < vec4f(0.0));
    values[i] = stored(value, value - new_s * sign_of(counted), step);
    prev[i] = stored(before, counted, step);
    size[i] = stored(s, new_s, step);
}
