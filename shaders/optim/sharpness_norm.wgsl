// Partial sums of squares of all gradients, for the ascent step of SAM. Where ADAPTIVE, each gradient is first
// multiplied by t = |param| + eta.
//
// bindings  1: values [4 vectors] read   2: grads [4 vectors] read   3: partials write at `offset` … `offset` + workgroups
// bytes     8 read per parameter
// twin      crates/tensor/src/optim/sharpness.rs
//
// A fixed number of workgroups strides over the arena in blocks of 1,024 parameters, as in grad_norm.wgsl.

override ADAPTIVE: bool = false;

struct Params {
    vectors: u32,
    workgroups: u32,
    offset: u32,
    eta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;

// Padding has no gradient and adds nothing.
fn scaled(i: u32) -> vec4f {
    if (ADAPTIVE) { return (abs(values[i]) + vec4f(params.eta)) * grads[i]; }
    return grads[i];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    var a = vec4f(0.0);
    var b = vec4f(0.0);
    var c = vec4f(0.0);
    var d = vec4f(0.0);
    for (var i = group.x * 256u + lane; i < params.vectors; i += params.workgroups * 256u) {
        let grad_a = scaled(i);
        let grad_b = scaled(i + 64u);
        let grad_c = scaled(i + 128u);
        let grad_d = scaled(i + 192u);
        a += grad_a * grad_a;
        b += grad_b * grad_b;
        c += grad_c * grad_c;
        d += grad_d * grad_d;
    }
    let sums = (a + b) + (c + d);
    let sum = tree_sum(lane, (sums.x + sums.y) + (sums.z + sums.w));
    if (lane == 0u) { partials[params.offset + group.x] = sum; }
}
