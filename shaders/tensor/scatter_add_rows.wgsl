// table[indices[i], j] += x[i, j] for i in order: the gradient of a gather of rows.
//
// bindings  1: x [count, columns] read   2: indices [count] u32 read   3: table [rows, columns] read_write
// bytes     12 read, 4 written per element of x
// twin      crates/tensor/src/ops/gather_rows.rs
//
// A lane owns one column and processes the indices in order, so that rows that occur more than once are summed in a
// fixed order without atomics. An invalid row number is skipped, and so is `kept`.

struct Params {
    rows: u32,
    columns: u32,
    count: u32,
    // A row that stays as it is; 0xffffffff is none.
    kept: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> table: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group_index(group, groups) * 64u + lane;
    if (column >= params.columns) { return; }
    for (var i = 0u; i < params.count; i++) {
        let row = indices[i];
        if (row < params.rows && row != params.kept) {
            table[row * params.columns + column] += x[i * params.columns + column];
        }
    }
}
