// Partial sums of powers of all gradients, the first stage of their global norm.
//
//   partials[offset + group] = sum |grad|^p         (p infinite: the largest |grad|, NaN where there is one)
//
// bindings  1: grads [4 vectors] read   2: partials write at `offset` … `offset` + workgroups
// bytes     4 read per parameter
// twin      crates/tensor/src/optim/norm.rs
//
// A fixed number of workgroups strides over the arena in blocks of 1,024 parameters, to which it is padded, so no
// load needs a test. A lane adds four vectors of a block, 64 apart, to four independent sums. The sums are added in
// pairs, and the lanes by a tree. The order depends only on the size, so the bits are the same on every device.
// Padding is zero and adds nothing.

// The norm: one of those below.
override NORM: u32 = 0u;
const EUCLIDEAN = 0u;
const ABSOLUTE = 1u;
const LARGEST = 2u;
const OF_POWER = 3u;

struct Params {
    vectors: u32,
    workgroups: u32,
    offset: u32,
    power: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grads: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;

fn term(grad: vec4f) -> vec4f {
    if (NORM == EUCLIDEAN) { return grad * grad; }
    let size = abs(grad);
    if (NORM == OF_POWER) {
        return vec4f(
            power(size.x, params.power),
            power(size.y, params.power),
            power(size.z, params.power),
            power(size.w, params.power),
        );
    }
    return size;
}

fn joined(x: vec4f, y: vec4f) -> vec4f {
    if (NORM == LARGEST) {
        return vec4f(maximum(x.x, y.x), maximum(x.y, y.y), maximum(x.z, y.z), maximum(x.w, y.w));
    }
    return x + y;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    var a = vec4f(0.0);
    var b = vec4f(0.0);
    var c = vec4f(0.0);
    var d = vec4f(0.0);
    for (var i = group.x * 256u + lane; i < params.vectors; i += params.workgroups * 256u) {
        a = joined(a, term(grads[i]));
        b = joined(b, term(grads[i + 64u]));
        c = joined(c, term(grads[i + 128u]));
        d = joined(d, term(grads[i + 192u]));
    }
    let all = joined(joined(a, b), joined(c, d));
    var partial = 0.0;
    if (NORM == LARGEST) {
        partial = tree_maximum(lane, maximum(maximum(all.x, all.y), maximum(all.z, all.w)));
    } else {
        partial = tree_sum(lane, (all.x + all.y) + (all.z + all.w));
    }
    if (lane == 0u) { partials[params.offset + group.x] = partial; }
}
