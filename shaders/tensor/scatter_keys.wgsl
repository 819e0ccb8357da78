// keys[i] = the number of the element of [outer, extent, inner] that index i names, or 0xffffffff if it is invalid.
//
// bindings  1: indices u32 read   2: keys [outer, count, inner] u32 write   3: faults u32 read_write
// bytes     4 read, 4 written per element
// twin      crates/tensor/src/ops/scatter_add.rs

struct Params {
    index_strides: vec4u,
    outer: u32,
    extent: u32,
    count: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> faults: array<atomic<u32>, 4>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.outer * params.count * params.inner) { return; }
    keys[i] = named_place(i);
}
