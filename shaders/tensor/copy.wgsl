// Copies a strided view into a contiguous tensor, word by word, for all types.
//
// bindings  1: x read   2: y [length] write, contiguous
// bytes     4 read, 4 written per element
// twin      crates/tensor/src/ops/copy.rs

struct Params {
    shape: array<vec4u, 2>,
    strides: array<vec4u, 2>,
    length: u32,
    rank: u32,
    offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.length) { return; }
    var index = params.offset;
    var rest = i;
    for (var d = params.rank; d > 0u; d--) {
        let extent = params.shape[(d - 1u) / 4u][(d - 1u) % 4u];
        index += (rest % extent) * params.strides[(d - 1u) / 4u][(d - 1u) % 4u];
        rest = rest / extent;
    }
    y[i] = x[index];
}
