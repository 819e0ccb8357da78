// Running extremes and their places over the middle one of three dimensions.
//
// bindings  1: x [outer, extent, inner] read           2: places [outer, extent, inner] u32 read
//           3: carries [outer, segments, inner] read   4: carried_places [outer, segments, inner] u32 read
//           5: y [outer, extent, inner] write          6: y_places [outer, extent, inner] u32 write
// bytes     4 read, 8 written per element
// twin      crates/tensor/src/ops/scan.rs
//
// As the kernel `scan`: a lane walks along one segment of one column, and with TOTALS the results have one element per
// segment. The last one of equal elements wins, and the last NaN. Elements of x are at their own places, but for the
// results of segments, which have theirs with PLACED.

// Whether the smallest element wins rather than the largest.
override MINIMUM: bool = false;
// Whether only the result of each segment is written.
override TOTALS: bool = false;
// Whether the places of elements are given.
override PLACED: bool = false;

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
@group(0) @binding(2) var<storage, read> places: array<u32>;
@group(0) @binding(3) var<storage, read> carries: array<f32>;
@group(0) @binding(4) var<storage, read> carried_places: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> y_places: array<u32>;

// Whether a later element wins over the result so far.
fn wins(later: f32, best: f32) -> bool {
    if (is_nan(later)) { return true; }
    if (is_nan(best)) { return false; }
    if (MINIMUM) { return later <= best; }
    return later >= best;
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
    let has_carry = !TOTALS && segment > 0u;
    var best = x[base];
    var best_place = start;
    if (PLACED) { best_place = places[base]; }
    if (has_carry) {
        let carry = carries[index - params.inner];
        if (!wins(best, carry)) {
            best = carry;
            best_place = carried_places[index - params.inner];
        }
    }
    for (var i = 0u; i < length; i++) {
        let at = base + params.inner * i;
        let value = x[at];
        if (i > 0u && wins(value, best)) {
            best = value;
            best_place = start + i;
            if (PLACED) { best_place = places[at]; }
        }
        if (!TOTALS) {
            y[at] = best;
            y_places[at] = best_place;
        }
    }
    if (TOTALS) {
        y[index] = best;
        y_places[index] = best_place;
    }
}
