// winners[o, e, j] = 1 + the number of the last element of indices [outer, count, inner] that names it, or what it was.
//
// bindings  1: indices u32 read   2: winners [outer, extent, inner] u32 read_write, zeros
//           3: faults u32 read_write
// bytes     4 read, 4 written per element
// twin      crates/tensor/src/ops/gather.rs
//
// The largest number wins whatever the order of the lanes. An invalid index is skipped.

struct Params {
    index_strides: vec4u,
    outer: u32,
    extent: u32,
    count: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> winners: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> faults: array<atomic<u32>, 4>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.outer * params.count * params.inner) { return; }
    let place = named_place(i);
    if (place != NO_PLACE) { atomicMax(&winners[place], i + 1u); }
}
