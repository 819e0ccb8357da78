// Fills a tensor with one word.
//
// bindings  1: y [length] write
// bytes     4 written per element
// twin      crates/tensor/src/ops/fill.rs

struct Params {
    length: u32,
    value: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.length) { return; }
    y[i] = params.value;
}
