// The index of the largest element of each row. The first of equal elements wins, and NaN counts as the largest.
//
// bindings  1: x [rows, row_length] read   2: y [rows] u32 write
// bytes     4 read per element
// twin      crates/tensor/src/ops/argmax.rs
//
// A workgroup takes a row, or a lane if rows are short.

// Whether a lane takes a row.
override SHORT: bool = false;

struct Params {
    rows: u32,
    row_length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

var<workgroup> values: array<f32, 64>;
var<workgroup> indices: array<u32, 64>;

// Whether (value, index) comes before (best, best_index).
fn wins(value: f32, index: u32, best: f32, best_index: u32) -> bool {
    if (is_nan(value) || is_nan(best)) {
        return is_nan(value) && (!is_nan(best) || index < best_index);
    }
    return value > best || (value == best && index < best_index);
}

fn short_row(row: u32) {
    if (row >= params.rows) { return; }
    let base = row * params.row_length;
    var best = x[base];
    var best_index = 0u;
    for (var i = 1u; i < params.row_length; i++) {
        let value = x[base + i];
        if (wins(value, i, best, best_index)) {
            best = value;
            best_index = i;
        }
    }
    y[row] = best_index;
}

fn long_row(row: u32, lane: u32) {
    if (row >= params.rows) { return; }
    let base = row * params.row_length;
    var best = -infinity();
    var best_index = 0xffffffffu;
    for (var i = lane; i < params.row_length; i += 64u) {
        let value = x[base + i];
        if (wins(value, i, best, best_index)) {
            best = value;
            best_index = i;
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
    if (lane == 0u) { y[row] = indices[0]; }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (SHORT) {
        short_row(index * 64u + lane);
    } else {
        long_row(index, lane);
    }
}
