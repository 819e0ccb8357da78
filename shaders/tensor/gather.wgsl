// y[o, i, j] = x[o, indices[o, i, j], j]: elements by their indices along the middle dimension, word by word.
//
// bindings  1: x [outer, extent, inner] read   2: indices u32 read   3: winners read   4: y [outer, count, inner] write
//           5: faults u32 read_write
// bytes     8 read, 4 written per element
// twin      crates/tensor/src/ops/gather.rs
//
// An invalid index gives NaN. With LAST, only the last element of those that name the same place gets it, and the others
// get 0, as invalid ones do; the other kernel reads no winners.

// Whether only winners of `scatter_winners` get their element.
override LAST: bool = false;

struct Params {
    index_strides: vec4u,
    outer: u32,
    extent: u32,
    count: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read> winners: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<u32>;
@group(0) @binding(5) var<storage, read_write> faults: array<atomic<u32>, 4>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.outer * params.count * params.inner) { return; }
    let element = named_place(i);
    var word = select(0x7fc00000u, 0u, LAST);
    if (element != NO_PLACE) {
        word = x[element];
        if (LAST) {
            if (winners[element] != i + 1u) { word = 0u; }
        }
    }
    y[i] = word;
}
