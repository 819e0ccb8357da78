// y[i, d] = coordinate d of the element with the number places[i].
//
// bindings  1: places u32 read, its first `count`   2: y [count, rank] u32 write
// bytes     4 read, 4 written per coordinate
// twin      crates/tensor/src/ops/mask.rs

struct Params {
    extents: array<vec4u, 2>,
    strides: array<vec4u, 2>,
    count: u32,
    rank: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.count * params.rank) { return; }
    let d = i % params.rank;
    let stride = params.strides[d / 4u][d % 4u];
    y[i] = (places[i / params.rank] / stride) % params.extents[d / 4u][d % 4u];
}
