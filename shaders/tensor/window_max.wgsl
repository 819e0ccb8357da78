// The largest element of a window for each place, and where it lies. The first of equal elements wins, and NaN counts as
// the largest.
//
// bindings  1: x [planes, height, width] read   2: table u32 read   3: y [planes, rows, columns] write
//           4: places [planes, rows, columns] u32 write
// bytes     4 read per element of a window, 8 written per place
// twin      crates/tensor/src/windows/maxima.rs
//
// A lane takes one place. The table has three words for each row of the result, then for each column: the first row or
// column of the window, their number, and the distance of neighbours. A window without elements gives -∞, nowhere.

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
@group(0) @binding(4) var<storage, read_write> places: array<u32>;

const NOWHERE: u32 = 0xffffffffu;

// Whether an element takes the place of the best one before it.
fn wins(value: f32, best: f32, place: u32) -> bool {
    if (place == NOWHERE) { return true; }
    if (is_nan(value) || is_nan(best)) { return !is_nan(best); }
    return value > best;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.length) { return; }
    let column = 3u * (params.rows + i % params.columns);
    let row = 3u * (i / params.columns % params.rows);
    let plane = i / (params.columns * params.rows) * params.height * params.width;
    let height = table[row + 1u];
    let width = table[column + 1u];
    var best = -infinity();
    var place = NOWHERE;
    for (var v = 0u; v < height; v++) {
        let line = (table[row] + v * table[row + 2u]) * params.width + table[column];
        for (var u = 0u; u < width; u++) {
            let at = line + u * table[column + 2u];
            let value = x[plane + at];
            if (wins(value, best, place)) {
                best = value;
                place = at;
            }
        }
    }
    y[i] = best;
    places[i] = place;
}
