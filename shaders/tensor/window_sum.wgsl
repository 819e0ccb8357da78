// y = Σ x over a window of neighbours for each place, by weights of its rows and columns: averages, interpolations and the
// gradients of both.
//
// bindings  1: x [planes, height, width] read   2: table u32 read   3: y [planes, rows, columns] write
// bytes     4 read per element of a window, 4 written per element
// twin      crates/tensor/src/windows/sums.rs
//
// A lane takes one place. The table has four words for each row of the result, then for each column: the first row or
// column of the window, their number, the place of the first weight, and a divisor. The weights follow.

struct Params {
    height: u32,
    width: u32,
    rows: u32,
    columns: u32,
    length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.length) { return; }
    let column = 4u * (params.rows + i % params.columns);
    let row = 4u * (i / params.columns % params.rows);
    let plane = i / (params.columns * params.rows);
    let first = (plane * params.height + table[row]) * params.width + table[column];
    let height = table[row + 1u];
    let width = table[column + 1u];
    var sum = 0.0;
    for (var v = 0u; v < height; v++) {
        var line = 0.0;
        for (var u = 0u; u < width; u++) {
            line += bitcast<f32>(table[table[column + 2u] + u]) * x[first + v * params.width + u];
        }
        sum += bitcast<f32>(table[table[row + 2u] + v]) * line;
    }
    y[i] = sum / (bitcast<f32>(table[row + 3u]) * bitcast<f32>(table[column + 3u]));
}
