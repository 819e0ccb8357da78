// Running sums over the middle one of three dimensions, from its start or from its end.
//
// bindings  1: x [outer, extent, inner] read   2: carries [outer, segments, inner] read
//           3: y [outer, extent, inner] write
// bytes     4 read, 4 written per element
// twin      crates/tensor/src/ops/cumsum.rs
// source    Merrill and Grimshaw, Parallel Scan for Stream Architectures (2009): reduce, then scan
//
// A lane walks along one segment of one column, `segment_length` elements, the last one the rest; neighbouring
// lanes take neighbouring columns. `carries` are the running sums over the sums of the segments; a column of one segment
// does not read them.

struct Params {
    outer: u32,
    extent: u32,
    inner: u32,
    segments: u32,
    segment_length: u32,
    is_reversed: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> carries: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// The sum of the segments that come before this one.
fn carry(index: u32, segment: u32) -> f32 {
    if (params.is_reversed != 0u) {
        if (segment + 1u == params.segments) { return 0.0; }
        return carries[index + params.inner];
    }
    if (segment == 0u) { return 0.0; }
    return carries[index - params.inner];
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * 64u + lane;
    if (index >= params.outer * params.segments * params.inner) { return; }
    let column = index % params.inner;
    let segment = (index / params.inner) % params.segments;
    let slab = index / (params.inner * params.segments);
    let start = segment * params.segment_length;
    let length = min(params.segment_length, params.extent - start);
    let base = (slab * params.extent + start) * params.inner + column;
    let before = carry(index, segment);
    var sum = 0.0;
    for (var i = 0u; i < length; i++) {
        let at = base + params.inner * select(i, length - 1u - i, params.is_reversed != 0u);
        sum += x[at];
        y[at] = before + sum;
    }
}
