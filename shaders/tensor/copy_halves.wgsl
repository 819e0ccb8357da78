// Copies a strided view of 16-bit elements of any type to contiguous elements.
//
// bindings  1: x read   2: y write, both whole buffers, two elements to a word
// bytes     2 read, 2 written per element
// twin      crates/tensor/src/ops/copy.rs
//
// A lane writes a word. If only one half of it belongs to the target, the other half does not change.

struct Params {
    shape: array<vec4u, 2>,
    strides: array<vec4u, 2>,
    length: u32,
    rank: u32,
    offset: u32,
    // The first element of the target.
    start: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

// The bits of element i of the view.
fn element(i: u32) -> u32 {
    var index = params.offset;
    var rest = i;
    for (var d = params.rank; d > 0u; d--) {
        let extent = params.shape[(d - 1u) / 4u][(d - 1u) % 4u];
        index += (rest % extent) * params.strides[(d - 1u) / 4u][(d - 1u) % 4u];
        rest = rest / extent;
    }
    return (x[index / 2u] >> (16u * (index % 2u))) & 0xffffu;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let word = params.start / 2u + group_index(group, groups) * 64u + lane;
    let end = params.start + params.length;
    if (2u * word >= end) { return; }
    var value = y[word];
    if (2u * word >= params.start) {
        value = (value & 0xffff0000u) | element(2u * word - params.start);
    }
    if (2u * word + 1u < end) {
        value = (value & 0xffffu) | (element(2u * word + 1u - params.start) << 16u);
    }
    y[word] = value;
}
