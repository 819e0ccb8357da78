// Copies a view of elements of 16 bits with a rule for each axis, as remap.wgsl does those of 32.
//
// bindings  1: x read   2: y write, both whole buffers, two elements to a word
// bytes     2 read, 2 written per element
// twin      crates/tensor/src/ops/remap.rs
//
// A lane writes a word; past the end it writes zero. There are no runs.

@group(0) @binding(0) var<uniform> params: Remap;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

// The bits of element i of the result.
fn element(i: u32) -> u32 {
    let place = source(i);
    var value = params.fill;
    if (place != NOWHERE) { value = x[place / 2u] >> (16u * (place % 2u)); }
    return value & 0xffffu;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let word = group_index(group, groups) * 64u + lane;
    if (2u * word >= params.length) { return; }
    var value = element(2u * word);
    if (2u * word + 1u < params.length) { value |= element(2u * word + 1u) << 16u; }
    y[word] = value;
}
