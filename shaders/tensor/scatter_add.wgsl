// table[o, indices[o, i, j], j] += x[o, i, j] for i in order: the gradient of a gather, for short lists.
//
// bindings  1: x [outer, count, inner] read   2: indices u32 read   3: table [outer, extent, inner] read_write
//           4: faults u32 read_write
// bytes     12 read, 4 written per element of x
// twin      crates/tensor/src/ops/scatter_add.rs
//
// A lane owns one column and processes the indices in order, so that elements of one place are summed in a fixed order
// without atomics. An invalid index is skipped.

struct Params {
    index_strides: vec4u,
    outer: u32,
    extent: u32,
    count: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> table: array<f32>;
@group(0) @binding(4) var<storage, read_write> faults: array<atomic<u32>, 4>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group_index(group, groups) * 64u + lane;
    if (column >= params.outer * params.inner) { return; }
    var i = (column / params.inner) * params.count * params.inner + column % params.inner;
    for (var k = 0u; k < params.count; k++) {
        let place = named_place(i);
        if (place != NO_PLACE) { table[place] += x[i]; }
        i += params.inner;
    }
}
