// Running sums along each row, from its start or from its end.
//
// bindings  1: x [rows, row_length] read   2: carries [rows, segments] read   3: y [rows, row_length] write
// bytes     4 read, 4 written per element
// twin      crates/tensor/src/ops/cumsum.rs
// source    Merrill and Grimshaw, Parallel Scan for Stream Architectures (2009): reduce, then scan
//
// A workgroup takes one segment of one row: `segment_length` elements, at most 1,024, the last one the rest. A lane
// adds a run of 16 neighbours, the lanes join their sums by the scan of Hillis and Steele, and each lane goes through its
// run once more. `carries` are the running sums over the sums of the segments; a row of one segment does not read them.
// Where rows are short a lane takes a row and adds in the same order.

// Whether a lane takes a row, rather than a workgroup.
override SHORT: bool = false;

const RUN: u32 = 16u;

struct Params {
    rows: u32,
    row_length: u32,
    segments: u32,
    segment_length: u32,
    is_reversed: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> carries: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// The segment in the order of the sums. Runs lie 17 apart, so that lanes side by side use different banks.
var<workgroup> tile: array<f32, 1088>;
var<workgroup> sums: array<f32, 64>;

// The place of element `i`, in the order of the sums, among `length` elements.
fn place(i: u32, length: u32) -> u32 {
    return select(i, length - 1u - i, params.is_reversed != 0u);
}

fn short_row(row: u32) {
    if (row >= params.rows) { return; }
    let base = row * params.row_length;
    var before = 0.0;
    var sum = 0.0;
    for (var i = 0u; i < params.row_length; i++) {
        if (i % RUN == 0u) {
            before += sum;
            sum = 0.0;
        }
        let at = base + place(i, params.row_length);
        sum += x[at];
        y[at] = before + sum;
    }
}

// The sum of the segments that come before this one.
fn carry(index: u32) -> f32 {
    let segment = index % params.segments;
    if (params.is_reversed != 0u) {
        if (segment + 1u == params.segments) { return 0.0; }
        return carries[index + 1u];
    }
    if (segment == 0u) { return 0.0; }
    return carries[index - 1u];
}

// The sum of what the lanes before this one have. Must be called by all lanes (uniform control flow).
fn sum_before(lane: u32, sum: f32) -> f32 {
    var joined = sum;
    for (var step = 1u; step < 64u; step *= 2u) {
        sums[lane] = joined;
        workgroupBarrier();
        if (lane >= step) { joined += sums[lane - step]; }
        workgroupBarrier();
    }
    sums[lane] = joined;
    workgroupBarrier();
    if (lane == 0u) { return 0.0; }
    return sums[lane - 1u];
}

fn long_row(index: u32, lane: u32) {
    if (index >= params.rows * params.segments) { return; }
    let row = index / params.segments;
    let start = (index % params.segments) * params.segment_length;
    let length = min(params.segment_length, params.row_length - start);
    let base = row * params.row_length + start;
    for (var i = lane; i < length; i += 64u) { tile[i + i / RUN] = x[base + place(i, length)]; }
    workgroupBarrier();
    let first = lane * (RUN + 1u);
    let end = first + min(RUN, max(length, lane * RUN) - lane * RUN);
    var sum = 0.0;
    for (var i = first; i < end; i++) { sum += tile[i]; }
    let before = carry(index) + sum_before(lane, sum);
    sum = 0.0;
    for (var i = first; i < end; i++) {
        sum += tile[i];
        tile[i] = before + sum;
    }
    workgroupBarrier();
    for (var i = lane; i < length; i += 64u) { y[base + place(i, length)] = tile[i + i / RUN]; }
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
