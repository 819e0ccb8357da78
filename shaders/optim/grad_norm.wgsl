// Partial sums of squares of all gradients, the first stage of their global 2-norm.
//
// bindings  1: grads [4 vectors] read   2: partials write at `offset` … `offset` + workgroups
// bytes     4 read per parameter
// twin      crates/tensor/src/optim/clock.rs
//
// A fixed number of workgroups strides over the arena in blocks of 1,024 parameters, to which it is padded, so that no
// load needs a test: a lane adds four vectors of a block, 64 apart, to four sums of its own, which need not wait for each
// other. The sums are joined in pairs, and the lanes by a tree. All of it depends on the size alone, so the bits are the
// same on every device. Padding is zero and adds nothing.

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
    var a = vec4f(0.0);
    var b = vec4f(0.0);
    var c = vec4f(0.0);
    var d = vec4f(0.0);
    for (var i = group.x * 256u + lane; i < params.vectors; i += params.workgroups * 256u) {
        let grad_a = grads[i];
        let grad_b = grads[i + 64u];
        let grad_c = grads[i + 128u];
        let grad_d = grads[i + 192u];
        a += grad_a * grad_a;
        b += grad_b * grad_b;
        c += grad_c * grad_c;
        d += grad_d * grad_d;
    }
    let sums = (a + b) + (c + d);
    let sum = tree_sum(lane, (sums.x + sums.y) + (sums.z + sums.w));
    if (lane == 0u) { partials[params.offset + group.x] = sum; }
}
