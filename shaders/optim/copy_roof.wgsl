// A plain copy, the roofline of memory traffic: y = x, four floats at a time.
//
// bindings  1: x [4 vectors] read   2: y [4 vectors] write
// bytes     4 read, 4 written per element
// twin      crates/tensor/src/ops/copy.rs
//
// VECTORS_PER_LANE: how many vectors of four a lane moves: 1, 2 or 4 where WHOLE. Benches use the best of several.
// WHOLE: whether the vectors fill all workgroups, so that no load needs a test and the grid is not folded.

override VECTORS_PER_LANE: u32 = 1u;
override WHOLE: bool = false;

struct Params {
    vectors: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = group_index(group, groups) * 64u * VECTORS_PER_LANE + lane;
    if (WHOLE) {
        y[start] = x[start];
        if (VECTORS_PER_LANE > 1u) { y[start + 64u] = x[start + 64u]; }
        if (VECTORS_PER_LANE > 2u) {
            y[start + 128u] = x[start + 128u];
            y[start + 192u] = x[start + 192u];
        }
        return;
    }
    for (var j = 0u; j < VECTORS_PER_LANE; j++) {
        let i = start + j * 64u;
        if (i < params.vectors) { y[i] = x[i]; }
    }
}
