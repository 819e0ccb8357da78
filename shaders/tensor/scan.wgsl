// Running products, or running logarithms of sums of exponentials, over the middle one of three dimensions.
//
// bindings  1: x [outer, extent, inner] read   2: carries [outer, segments, inner] read
//           3: y [outer, extent, inner] write, or [outer, segments, inner] with TOTALS
// bytes     4 read, 4 written per element
// twin      crates/tensor/src/ops/scan.rs
//
// A lane walks along one segment of one column, `segment_length` elements, the last one the rest, from its start or
// from its end. `carries` are the running results over those of the segments; a column of one segment does not read them.

// 0: products, 1: logarithms of sums of exponentials.
override OP: u32 = 0u;
// Whether only the result of each segment is written.
override TOTALS: bool = false;

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

fn combine(a: f32, b: f32) -> f32 {
    if (OP == 0u) { return a * b; }
    if (is_nan(a)) { return a; }
    if (is_nan(b)) { return b; }
    let high = select(b, a, a > b);
    let low = select(a, b, a > b);
    if (!is_finite(high) || low == -infinity()) { return high; }
    return high + log1p(safe_exp(low - high));
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
    var has_carry = false;
    var carry = 0.0;
    if (!TOTALS && params.is_reversed != 0u && segment + 1u < params.segments) {
        has_carry = true;
        carry = carries[index + params.inner];
    }
    if (!TOTALS && params.is_reversed == 0u && segment > 0u) {
        has_carry = true;
        carry = carries[index - params.inner];
    }
    var result = 0.0;
    for (var i = 0u; i < length; i++) {
        let at = base + params.inner * select(i, length - 1u - i, params.is_reversed != 0u);
        let value = x[at];
        if (i == 0u) { result = value; } else { result = combine(result, value); }
        if (!TOTALS) {
            if (has_carry) { y[at] = combine(carry, result); } else { y[at] = result; }
        }
    }
    if (TOTALS) { y[index] = result; }
}
