// Rows of zeros with a one at the place of an index; an index that is no place gives zeros.
//
// bindings  1: indices [rows] read, u32   2: y [rows, classes] write
// bytes     4 read per row, 4 written per element
// twin      crates/tensor/src/ops/one_hot.rs

struct Params {
    classes: u32,
    length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.length) { return; }
    y[i] = select(0.0, 1.0, indices[i / params.classes] == i % params.classes);
}
