// y[i] = the element of source that won place i, or x[i] if there is none, word by word.
//
// bindings  1: x [length] read   2: source read   3: winners [length] u32 read   4: y [length] write
// bytes     12 read, 4 written per element
// twin      crates/tensor/src/ops/gather.rs

@group(0) @binding(0) var<uniform> length: u32;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> source: array<u32>;
@group(0) @binding(3) var<storage, read> winners: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= length) { return; }
    let winner = winners[i];
    if (winner > 0u) { y[i] = source[winner - 1u]; } else { y[i] = x[i]; }
}
