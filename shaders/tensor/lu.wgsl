// The LU decompositions of matrices in place with row exchanges, some columns of each, one workgroup a matrix.
//
// bindings  1: y [batch, n, n] read_write, at the end L below the diagonal and U   2: order [batch, n] read_write, u32
//           3: sign [batch] read_write, of the permutation
// bytes     4 read, 4 written per element and column at most
// twin      crates/tensor/src/linalg/lu.rs
// source    Golub, Van Loan: Matrix computations, section 3.4.1
//
// The columns from `first` to `end` are processed. `order` has the rows of the matrix in their new order, counted through
// the whole batch. The pivot is the first of the largest elements.

struct Params {
    batch: u32,
    n: u32,
    first: u32,
    end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> sign: array<f32>;

var<workgroup> largest: array<f32, 64>;
var<workgroup> place: array<u32, 64>;
var<workgroup> chosen: u32;

// Keeps the better one of two places as the first one.
fn fold(lane: u32, other: u32) {
    let is_equal = largest[other] == largest[lane] && place[other] < place[lane];
    if (largest[other] > largest[lane] || is_equal) {
        largest[lane] = largest[other];
        place[lane] = place[other];
    }
}

// Returns the row of the pivot of a column.
fn pivot_row(at: u32, j: u32, lane: u32) -> u32 {
    let n = params.n;
    largest[lane] = -1.0;
    place[lane] = j;
    for (var i = j + lane; i < n; i += 64u) {
        let size = abs(y[at + i * n + j]);
        if (size > largest[lane]) {
            largest[lane] = size;
            place[lane] = i;
        }
    }
    workgroupBarrier();
    if (lane < 8u) {
        for (var i = 8u; i < 64u; i += 8u) { fold(lane, lane + i); }
    }
    workgroupBarrier();
    if (lane == 0u) {
        for (var i = 1u; i < 8u; i++) { fold(0u, i); }
        chosen = place[0];
    }
    return workgroupUniformLoad(&chosen);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (index >= params.batch) { return; }
    let n = params.n;
    let at = index * n * n;
    if (params.first == 0u) {
        for (var i = lane; i < n; i += 64u) { order[index * n + i] = index * n + i; }
        if (lane == 0u) { sign[index] = 1.0; }
    }
    for (var j = params.first; j < params.end; j++) {
        storageBarrier();
        workgroupBarrier();
        let p = pivot_row(at, j, lane);
        if (p != j) {
            for (var i = lane; i < n; i += 64u) {
                let above = y[at + j * n + i];
                y[at + j * n + i] = y[at + p * n + i];
                y[at + p * n + i] = above;
            }
            if (lane == 0u) {
                let above = order[index * n + j];
                order[index * n + j] = order[index * n + p];
                order[index * n + p] = above;
                sign[index] = -sign[index];
            }
        }
        storageBarrier();
        workgroupBarrier();
        let pivot = y[at + j * (n + 1u)];
        // Below a pivot of zero there is nothing else.
        if (pivot != 0.0) {
            for (var i = j + 1u + lane; i < n; i += 64u) { y[at + i * n + j] = y[at + i * n + j] / pivot; }
        }
        storageBarrier();
        workgroupBarrier();
        let left = n - j - 1u;
        for (var i = lane; i < left * left; i += 64u) {
            let row = at + (j + 1u + i / left) * n;
            let column = j + 1u + i % left;
            y[row + column] -= y[row + j] * y[at + j * n + column];
        }
    }
}
