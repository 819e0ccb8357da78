// Fills a tensor with one 16-bit value.
//
// bindings  1: y [length] write, two elements to a word
// bytes     2 written per element
// twin      crates/tensor/src/ops/fill.rs
//
// A lane writes a word. If the number of elements is odd, the other half of the last word does not change.

struct Params {
    length: u32,
    // The value in both halves.
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
    if (2u * i >= params.length) { return; }
    if (2u * i + 1u < params.length) { y[i] = params.value; }
    else { y[i] = (y[i] & 0xffff0000u) | (params.value & 0xffffu); }
}
