// Finishes the norm of SAM: scale = rho / (sqrt(sum partials) + 1e-12), or 0 if that is not finite. One small
// workgroup.
//
// bindings  1: partials [partials] read   2: scale [1] write
// twin      crates/tensor/src/optim/sharpness.rs

struct Params {
    partials: u32,
    rho: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < params.partials; i += 64u) { sum += partials[i]; }
    sum = tree_sum(lane, sum);
    if (lane != 0u) { return; }
    var factor = 0.0;
    if (is_finite(sum)) { factor = params.rho / (sqrt(sum) + 1e-12); }
    scale[0] = factor;
}
