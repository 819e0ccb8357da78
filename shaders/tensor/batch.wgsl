// The next batch of a data set that lies on the device: rows of features and of targets in shuffled order, from a
// cursor that the kernel itself moves on.
//
// bindings  1: features [rows, width] read   2: targets [rows, target_width] read   3: order [rows] u32 read
//           4: cursor {position, finished} read_write   5: x [count, width] write   6: y [count, target_width] write
// bytes     4 read, 4 written per element, 4 read per row
// twin      crates/tensor/src/ops/batch.rs
//
// Words are copied whatever their type. Positions run on from the first row when they pass the last one. A number that
// is no row gives a sample of NaN (u32: of 0x7fc00000, the same bits).
//
// The first `groups` workgroups take the features, those behind them the targets, which are few, a lane a word.
// BY_FOUR: the width of the features is a multiple of four. Then the lanes of a row are `lanes`, and each takes every
// `lanes`-th vector of four, so that the number of the row is looked up once for all of them. Else a lane
// takes four neighbours of x, which may lie in several rows, and what it writes past the end is zero.

override BY_FOUR: bool = false;

struct Params {
    rows: u32,
    width: u32,
    target_width: u32,
    count: u32,
    lanes: u32,
    groups: u32,
}

struct Cursor {
    position: u32,
    finished: atomic<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> features: array<vec4u>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read_write> cursor: Cursor;
@group(0) @binding(5) var<storage, read_write> x: array<vec4u>;
@group(0) @binding(6) var<storage, read_write> y: array<u32>;

const NO_ROW = vec4u(0x7fc00000u);

fn row_of(position: u32, sample: u32) -> u32 {
    return order[(position + sample) % params.rows];
}

fn vector(row: u32, vectors: u32, i: u32) -> vec4u {
    var words = NO_ROW;
    if (row < params.rows && i < vectors) { words = features[row * vectors + i]; }
    return words;
}

// One lane's part of a row, four vectors at a time: the loads stand before the stores, so that they need not wait for
// each other.
fn take_vectors(position: u32, lane: u32) {
    let sample = lane / params.lanes;
    if (sample >= params.count) { return; }
    let vectors = params.width / 4u;
    let row = row_of(position, sample);
    let start = sample * vectors;
    let step = params.lanes;
    for (var i = lane % step; i < vectors; i += 4u * step) {
        let a = vector(row, vectors, i);
        let b = vector(row, vectors, i + step);
        let c = vector(row, vectors, i + 2u * step);
        let d = vector(row, vectors, i + 3u * step);
        x[start + i] = a;
        if (i + step < vectors) { x[start + i + step] = b; }
        if (i + 2u * step < vectors) { x[start + i + 2u * step] = c; }
        if (i + 3u * step < vectors) { x[start + i + 3u * step] = d; }
    }
}

// Four neighbours of x.
fn take_words(position: u32, lane: u32) {
    if (4u * lane >= params.count * params.width) { return; }
    var sample = 4u * lane / params.width;
    var column = 4u * lane % params.width;
    var row = row_of(position, sample);
    var words = vec4u(0u);
    for (var k = 0u; k < 4u; k++) {
        if (column == params.width) {
            column = 0u;
            sample += 1u;
            row = row_of(position, sample);
        }
        var word = 0x7fc00000u;
        if (row < params.rows) {
            let place = row * params.width + column;
            word = features[place / 4u][place % 4u];
        }
        words[k] = select(0u, word, sample < params.count);
        column += 1u;
    }
    x[lane] = words;
}

fn take_target(position: u32, i: u32) {
    if (i >= params.count * params.target_width) { return; }
    let row = row_of(position, i / params.target_width);
    var word = 0x7fc00000u;
    if (row < params.rows) { word = targets[row * params.target_width + i % params.target_width]; }
    y[i] = word;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    let position = cursor.position;
    if (index >= params.groups) {
        take_target(position, (index - params.groups) * 64u + lane);
    } else if (BY_FOUR) {
        take_vectors(position, index * 64u + lane);
    } else {
        take_words(position, index * 64u + lane);
    }
    // The workgroup that ends last, by an integer count, moves the cursor on: all others have read it by then.
    storageBarrier();
    if (lane == 0u && atomicAdd(&cursor.finished, 1u) + 1u == groups.x * groups.y) {
        atomicStore(&cursor.finished, 0u);
        cursor.position = (position + params.count) % params.rows;
    }
}
