// The running average of an estimate of the Hessian's diagonal, over the whole arena of parameters, in one launch:
// hessian = beta2 hessian + (1 - beta2) h, where h = diagonal, or scale diagonal^2 where SQUARED.
//
// bindings  1: hessian [4 vectors] read_write   2: diagonal [4 vectors] read   3: table [rows] read
// bytes     8 read, 4 written per parameter
// twin      crates/tensor/src/optim/hessian.rs
// source    Liu et al.: Sophia: a scalable stochastic second-order optimizer for language model pre-training (ICLR 2024)
//
// An h that is not finite is left out, since the average would never be finite again. Averages of frozen parameters
// do not change. A workgroup takes 1,024 parameters, to which the arena is padded.

// Whether the diagonal is a gradient whose squares are the estimate.
override SQUARED: bool = false;
// Whether parameters differ by tensor: see shared/update.wgsl.
override SEGMENTED: bool = false;

struct Params {
    vectors: u32,
    // Where the rows of this page begin in the table.
    first_row: u32,
    beta2: f32,
    one_minus_beta2: f32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> hessian: array<vec4f>;
@group(0) @binding(2) var<storage, read> diagonal: array<vec4f>;
@group(0) @binding(3) var<storage, read> table: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = group_index(group, groups) * 256u + lane;
    if (first >= params.vectors) { return; }
    for (var k = 0u; k < 4u; k++) {
        let i = first + 64u * k;
        let old = hessian[i];
        var h = diagonal[i];
        if (SQUARED) { h = params.scale * (h * h); }
        let next = params.beta2 * old + params.one_minus_beta2 * h;
        var kept = (bitcast<vec4u>(next) & vec4u(INFINITY_BITS)) == vec4u(INFINITY_BITS);
        if (SEGMENTED) { kept = kept | vec4<bool>(table[params.first_row + i / 16u].x < 0.0); }
        hessian[i] = select(next, old, kept);
    }
}
