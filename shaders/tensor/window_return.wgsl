// Returns to each element the sum over the windows whose place it is: the gradient of maxima.
//
// bindings  1: g [planes, rows, columns] read   2: places [planes, rows, columns] u32 read   3: table u32 read
//           4: y [planes, height, width] write
// bytes     8 read per window around an element, 4 written per element
// twin      crates/tensor/src/windows/maxima.rs
//
// A lane takes one element and goes through the windows around it in their order, so there are no atomics. The table has
// two words for each row of the elements, then for each column: the first window that may have it, and their number.

struct Params {
    height: u32,
    width: u32,
    rows: u32,
    columns: u32,
    length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> places: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.length) { return; }
    let column = 2u * (params.height + i % params.width);
    let row = 2u * (i / params.width % params.height);
    let plane = i / (params.width * params.height);
    let own = i % (params.width * params.height);
    let first = (plane * params.rows + table[row]) * params.columns + table[column];
    let height = table[row + 1u];
    let width = table[column + 1u];
    var sum = 0.0;
    for (var v = 0u; v < height; v++) {
        for (var u = 0u; u < width; u++) {
            let at = first + v * params.columns + u;
            if (places[at] == own) { sum += g[at]; }
        }
    }
    y[i] = sum;
}
