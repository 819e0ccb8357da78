// Softmax of each row, or its logarithm; the row's maximum is subtracted first.
//
// bindings  1: x [rows, row_length] read   2: y [rows, row_length] write
// bytes     12 read, 4 written per element
// twin      crates/tensor/src/ops/softmax.rs

struct Params {
    rows: u32,
    row_length: u32,
    logarithm: u32,
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
    let row = group_index(group, groups);
    if (row >= params.rows) { return; }
    let base = row * params.row_length;
    var largest = -infinity();
    for (var i = lane; i < params.row_length; i += 64u) { largest = maximum(largest, x[base + i]); }
    largest = tree_maximum(lane, largest);
    var sum = 0.0;
    for (var i = lane; i < params.row_length; i += 64u) { sum += safe_exp(x[base + i] - largest); }
    sum = tree_sum(lane, sum);
    let log_sum = safe_log(sum);
    for (var i = lane; i < params.row_length; i += 64u) {
        let shifted = x[base + i] - largest;
        if (params.logarithm != 0u) {
            y[base + i] = shifted - log_sum;
        } else {
            y[base + i] = safe_exp(shifted) / sum;
        }
    }
}
