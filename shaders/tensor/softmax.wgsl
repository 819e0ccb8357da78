// Softmax of each row, or its logarithm; the row's maximum is subtracted first.
//
// bindings  1: x [outer, row_length, inner] read   2: y [outer, row_length, inner] write
// bytes     12 read, 4 written per element
// twin      crates/tensor/src/ops/softmax.rs
//
// A row is what runs along the middle one of the dimensions: there are outer × inner. A workgroup takes a row, or a lane
// where rows are short (see shared/short_rows.wgsl) or neighbours (inner > 1).

struct Params {
    rows: u32,
    row_length: u32,
    inner: u32,
    logarithm: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// One element of the result.
fn store(i: u32, largest: f32, sum: f32, log_sum: f32) {
    let shifted = x[i] - largest;
    if (params.logarithm != 0u) {
        y[i] = shifted - log_sum;
    } else {
        y[i] = safe_exp(shifted) / sum;
    }
}

fn short_row(row: u32) {
    if (row >= params.rows) { return; }
    let inner = params.inner;
    let base = (row / inner) * params.row_length * inner + row % inner;
    var largest = -infinity();
    for (var i = 0u; i < params.row_length; i++) { largest = maximum(largest, x[base + i * inner]); }
    var sums = ShortSum();
    for (var i = 0u; i < params.row_length; i++) {
        sums = with_element(sums, i, safe_exp(x[base + i * inner] - largest));
    }
    let sum = folded(sums);
    let log_sum = safe_log(sum);
    for (var i = 0u; i < params.row_length; i++) { store(base + i * inner, largest, sum, log_sum); }
}

fn long_row(row: u32, lane: u32) {
    if (row >= params.rows) { return; }
    let base = row * params.row_length;
    var largest = -infinity();
    for (var i = lane; i < params.row_length; i += 64u) { largest = maximum(largest, x[base + i]); }
    largest = tree_maximum(lane, largest);
    var sum = 0.0;
    for (var i = lane; i < params.row_length; i += 64u) { sum += safe_exp(x[base + i] - largest); }
    sum = tree_sum(lane, sum);
    let log_sum = safe_log(sum);
    for (var i = lane; i < params.row_length; i += 64u) { store(base + i, largest, sum, log_sum); }
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
