// Squared errors and their gradient in one pass: losses = (x - target)^2, grad = 2 scale (x - target).
//
// bindings  1: x [length] read   2: targets [length] read   3: losses [length] write   4: x_grad [length] write
// bytes     8 read, 8 written per element
// twin      crates/tensor/src/ops/mse.rs

struct Params {
    length: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
@group(0) @binding(4) var<storage, read_write> x_grad: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.length) { return; }
    let difference = x[i] - targets[i];
    losses[i] = difference * difference;
    x_grad[i] = 2.0 * params.scale * difference;
}
