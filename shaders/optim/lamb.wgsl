// A step of LAMB along its direction, scaled by each tensor's trust ratio: the last of three launches.
//
//   param = param - lr own_factor direction         (direction: shared/lamb.wgsl; own_factor: the trust ratio)
//
// bindings  1 to 4: shared/update.wgsl (grads: not touched)   5: moment1 [4 vectors] read_write   6: moment2 read_write
// bytes     12 read, 4 written per parameter
// twin      crates/nn/src/optim/methods/lamb.rs
// source    You et al.: Large batch optimization for deep learning: training BERT in 76 minutes (ICLR 2020); optax.lamb

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> moment2: array<vec4f>;

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let new_value = value - f.step_size * direction(value, moment1[i], moment2[i], step, f);
    values[i] = stored(value, new_value, step);
}
