// Merges neighbouring runs of sorted keys in each row: runs of `width` become runs of twice the length.
//
// bindings  1: keys [rows, row_length] read     2: places [rows, row_length] read
//           3: merged_keys [rows, row_length] write   4: merged_places [rows, row_length] write
// bytes     8 read, 8 written per element, and the keys of a binary search
// twin      crates/tensor/src/ops/sort.rs
// source    Cole, Parallel Merge Sort (1988): the place of an element is the sum of its ranks in both runs
//
// A lane takes an element. Elements of the first run go before equal ones of the second, so the order is stable.

struct Params {
    rows: u32,
    row_length: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read> places: array<u32>;
@group(0) @binding(3) var<storage, read_write> merged_keys: array<u32>;
@group(0) @binding(4) var<storage, read_write> merged_places: array<u32>;

// The number of sorted keys from `start` to `end` that are below `key`, or not above it.
fn count_before(start: u32, end: u32, key: u32, with_equal: bool) -> u32 {
    var low = start;
    var high = end;
    while (low < high) {
        let middle = low + (high - low) / 2u;
        let other = keys[middle];
        if (other < key || (with_equal && other == key)) { low = middle + 1u; } else { high = middle; }
    }
    return low - start;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.rows * params.row_length) { return; }
    let row = i - i % params.row_length;
    let place = i - row;
    let start = place - place % (2u * params.width);
    let middle = min(start + params.width, params.row_length);
    let end = min(middle + params.width, params.row_length);
    let key = keys[i];
    var target_place = i;
    if (place < middle) {
        target_place = i + count_before(row + middle, row + end, key, false);
    } else {
        target_place = i - (middle - start) + count_before(row + start, row + middle, key, true);
    }
    merged_keys[target_place] = key;
    merged_places[target_place] = places[i];
}
