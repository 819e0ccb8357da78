// In each row of sorted keys, the number of those below a bound, or the place of the median.
//
// bindings  1: keys [rows, row_length] read   2: places [rows, row_length] read   3: y [rows] write
// bytes     4 read per key of a binary search
// twin      crates/tensor/src/ops/sort.rs
//
// The median is the lower one of an even number, or the first key that is not below the bound, if there is one: NaN.

// Whether the result is the place of the median.
override MEDIAN: bool = false;

struct Params {
    rows: u32,
    row_length: u32,
    bound: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read> places: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups) * 64u + lane;
    if (row >= params.rows) { return; }
    let start = row * params.row_length;
    var low = start;
    var high = start + params.row_length;
    while (low < high) {
        let middle = low + (high - low) / 2u;
        if (keys[middle] < params.bound) { low = middle + 1u; } else { high = middle; }
    }
    let below = low - start;
    if (MEDIAN) {
        y[row] = places[start + select((params.row_length - 1u) / 2u, below, below < params.row_length)];
    } else {
        y[row] = below;
    }
}
