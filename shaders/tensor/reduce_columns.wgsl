// Sum, maximum, minimum or product over the middle one of three dimensions, times a scale.
//
// bindings  1: x [outer, extent, inner] read   2: y [outer, segments, inner] write
// bytes     4 read per element
// twin      crates/tensor/src/ops/reduce.rs
//
// A lane reduces one segment of one column: `segment_length` elements, or the rest in the last one. Neighbouring
// lanes take neighbouring columns. Long columns are cut into segments and reduced again.

override OP: u32 = 0u;

struct Params {
    outer: u32,
    extent: u32,
    inner: u32,
    segments: u32,
    segment_length: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

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
    let end = min(start + params.segment_length, params.extent);
    let base = slab * params.extent * params.inner + column;
    var result = 0.0;
    if (OP == 0u) {
        for (var i = start; i < end; i++) { result += x[base + i * params.inner]; }
    } else if (OP == 3u) {
        result = 1.0;
        for (var i = start; i < end; i++) { result *= x[base + i * params.inner]; }
    } else {
        let sign = select(1.0, -1.0, OP == 2u);
        result = -infinity();
        for (var i = start; i < end; i++) { result = maximum(result, sign * x[base + i * params.inner]); }
        result = sign * result;
    }
    y[index] = result * params.scale;
}
