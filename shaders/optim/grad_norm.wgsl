// Partial sums of squares of all gradients, the first stage of their global 2-norm.
//
// bindings  1: grads [4 vectors] read   2: partials write at `offset` … `offset` + workgroups
// bytes     4 read per parameter
// twin      crates/tensor/src/optim/clock.rs
//
// A fixed number of workgroups strides over the arena, four parameters per lane at a time, and joins its lanes by a
// tree; the number depends on the size alone, so the bits are the same on every device. Padding is zero and adds nothing.

struct Params {
    vectors: u32,
    workgroups: u32,
    offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grads: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    var sums = vec4f(0.0);
    for (var i = group.x * 64u + lane; i < params.vectors; i += params.workgroups * 64u) {
        let grad = grads[i];
        sums += grad * grad;
    }
    let sum = tree_sum(lane, (sums.x + sums.y) + (sums.z + sums.w));
    if (lane == 0u) { partials[params.offset + group.x] = sum; }
}
