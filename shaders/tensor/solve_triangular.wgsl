// Solves triangular systems in place, some rows of each, one workgroup for 16 right sides of a matrix.
//
// bindings  1: a [batch, n, n] read   2: x [batch, n, columns] read_write, first the right sides
// bytes     4 read per element of a, 4 read, 4 written per element of x and row
// twin      crates/tensor/src/linalg/triangular.rs
// source    Golub, Van Loan: Matrix computations, section 3.1 (by columns)
//
// The steps from `first` to `end` are processed; of an upper triangle, step 0 is the last row.

const TILE: u32 = 16u;

struct Params {
    batch: u32,
    n: u32,
    columns: u32,
    tiles: u32,
    first: u32,
    end: u32,
    is_upper: u32,
    is_unit: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

// The row of the solution that is known now.
var<workgroup> row: array<f32, 16>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (index >= params.batch * params.tiles) { return; }
    let n = params.n;
    let columns = params.columns;
    let start = index % params.tiles * TILE;
    let width = min(TILE, columns - start);
    let of_a = index / params.tiles * n * n;
    let of_x = index / params.tiles * n * columns + start;
    for (var step = params.first; step < params.end; step++) {
        let is_upper = params.is_upper != 0u;
        let j = select(step, n - 1u - step, is_upper);
        storageBarrier();
        workgroupBarrier();
        if (lane < width) {
            var known = x[of_x + j * columns + lane];
            if (params.is_unit == 0u) {
                known = known / a[of_a + j * (n + 1u)];
                x[of_x + j * columns + lane] = known;
            }
            row[lane] = known;
        }
        workgroupBarrier();
        for (var i = lane; i < (n - 1u - step) * width; i += 64u) {
            let other = i / width + select(j + 1u, 0u, is_upper);
            x[of_x + other * columns + i % width] -= a[of_a + other * n + j] * row[i % width];
        }
    }
}
