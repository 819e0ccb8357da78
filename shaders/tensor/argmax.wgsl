// The index of the largest or the smallest element along the middle one of three dimensions; of equal ones the first,
// and NaN wins.
//
// bindings  1: x [outer, extent, inner] read   2: candidates [rows, length] u32 read   3: y [rows, segments] u32 write
// bytes     4 read per element
// twin      crates/tensor/src/ops/argmax.rs
//
// A row is what one result is of: there are outer × inner. A workgroup takes one segment of a row, `segment_length`
// elements, the last one the rest; or a lane takes a row, where rows are short or neighbours (inner > 1). Long rows
// take more launches: each looks at the candidates that the one before has found, and the first at all elements.

// Whether a lane takes a row.
override SHORT: bool = false;
// Whether the elements are those that `candidates` names; if not, that binding is not read.
override CANDIDATES: bool = false;

struct Params {
    rows: u32,
    extent: u32,
    inner: u32,
    // The number of elements of a row that are looked at.
    length: u32,
    segments: u32,
    segment_length: u32,
    // 1 for the largest element, -1 for the smallest.
    sign: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> candidates: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

var<workgroup> values: array<f32, 64>;
var<workgroup> indices: array<u32, 64>;

// Whether (value, index) comes before (best, best_index).
fn wins(value: f32, index: u32, best: f32, best_index: u32) -> bool {
    if (is_nan(value) || is_nan(best)) {
        return is_nan(value) && (!is_nan(best) || index < best_index);
    }
    return value > best || (value == best && index < best_index);
}

// The place in the row of the element number `i` that is looked at.
fn index_of(row: u32, i: u32) -> u32 {
    if (CANDIDATES) { return candidates[row * params.length + i]; }
    return i;
}

fn value_at(row: u32, index: u32) -> f32 {
    let first = (row / params.inner) * params.extent * params.inner + row % params.inner;
    return params.sign * x[first + index * params.inner];
}

fn short_row(row: u32) {
    if (row >= params.rows) { return; }
    var best_index = index_of(row, 0u);
    var best = value_at(row, best_index);
    for (var i = 1u; i < params.length; i++) {
        let index = index_of(row, i);
        let value = value_at(row, index);
        if (wins(value, index, best, best_index)) {
            best = value;
            best_index = index;
        }
    }
    y[row] = best_index;
}

fn long_row(number: u32, lane: u32) {
    if (number >= params.rows * params.segments) { return; }
    let row = number / params.segments;
    let start = (number % params.segments) * params.segment_length;
    let end = min(start + params.segment_length, params.length);
    var best = -infinity();
    var best_index = 0xffffffffu;
    for (var i = start + lane; i < end; i += 64u) {
        let index = index_of(row, i);
        let value = value_at(row, index);
        if (wins(value, index, best, best_index)) {
            best = value;
            best_index = index;
        }
    }
    values[lane] = best;
    indices[lane] = best_index;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half / 2u) {
        if (lane < half && wins(values[lane + half], indices[lane + half], values[lane], indices[lane])) {
            values[lane] = values[lane + half];
            indices[lane] = indices[lane + half];
        }
        workgroupBarrier();
    }
    if (lane == 0u) { y[number] = indices[0]; }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_index(group, groups);
    if (SHORT) {
        short_row(number * 64u + lane);
    } else {
        long_row(number, lane);
    }
}
