// y[i, j] = table[indices[i], j]: rows of a table by their numbers, word by word, whatever their type.
//
// bindings  1: table [rows, columns] read   2: indices [count] u32 read   3: y [count, columns] write
// bytes     4 read, 4 written per element, 4 read per row
// twin      crates/tensor/src/ops/gather_rows.rs
//
// A number that is no row gives a row of NaN (u32: of 0x7fc00000, the same bits).
//
// BY_FOUR: the length of a row is a multiple of four. Then the lanes of a row are `lanes`, and each takes every
// `lanes`-th vector of four, so that the number of the row is looked up once for all of them. Else a lane
// takes four neighbours of y, which may lie in several rows, and what it writes past the end is zero.

override BY_FOUR: bool = false;

struct Params {
    rows: u32,
    columns: u32,
    count: u32,
    lanes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4u>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4u>;

const NO_ROW = vec4u(0x7fc00000u);

fn vector(row: u32, vectors: u32, i: u32) -> vec4u {
    var words = NO_ROW;
    if (row < params.rows && i < vectors) { words = table[row * vectors + i]; }
    return words;
}

// One lane's part of a row, four vectors at a time: the loads stand before the stores, so that they need not wait for
// each other.
fn gather_vectors(lane: u32) {
    let sample = lane / params.lanes;
    if (sample >= params.count) { return; }
    let vectors = params.columns / 4u;
    let row = indices[sample];
    let start = sample * vectors;
    let step = params.lanes;
    for (var i = lane % step; i < vectors; i += 4u * step) {
        let a = vector(row, vectors, i);
        let b = vector(row, vectors, i + step);
        let c = vector(row, vectors, i + 2u * step);
        let d = vector(row, vectors, i + 3u * step);
        y[start + i] = a;
        if (i + step < vectors) { y[start + i + step] = b; }
        if (i + 2u * step < vectors) { y[start + i + 2u * step] = c; }
        if (i + 3u * step < vectors) { y[start + i + 3u * step] = d; }
    }
}

// Four neighbours of y.
fn gather_words(lane: u32) {
    let length = params.count * params.columns;
    if (4u * lane >= length) { return; }
    var sample = 4u * lane / params.columns;
    var column = 4u * lane % params.columns;
    var row = indices[sample];
    var words = vec4u(0u);
    for (var k = 0u; k < 4u; k++) {
        if (column == params.columns) {
            column = 0u;
            sample += 1u;
            if (sample < params.count) { row = indices[sample]; }
        }
        var word = 0x7fc00000u;
        if (row < params.rows) {
            let place = row * params.columns + column;
            word = table[place / 4u][place % 4u];
        }
        words[k] = select(0u, word, sample < params.count);
        column += 1u;
    }
    y[lane] = words;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (BY_FOUR) {
        gather_vectors(i);
    } else {
        gather_words(i);
    }
}
