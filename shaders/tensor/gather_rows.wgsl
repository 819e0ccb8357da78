// y[i, j] = table[indices[i], j]: rows of a table by their numbers, word by word, whatever their type.
//
// bindings  1: table [rows, columns] read   2: indices [count] u32 read   3: y [count, columns] write
// bytes     8 read, 4 written per element
// twin      crates/tensor/src/ops/gather_rows.rs
//
// A number that is no row gives a row of NaN (u32: of 0x7fc00000, the same bits).

struct Params {
    rows: u32,
    columns: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.count * params.columns) { return; }
    let row = indices[i / params.columns];
    var word = 0x7fc00000u;
    if (row < params.rows) { word = table[row * params.columns + i % params.columns]; }
    y[i] = word;
}
