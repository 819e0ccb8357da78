// The eigenvalues and eigenvectors of symmetric matrices by Jacobi rotations, some rounds of each, one workgroup a matrix.
//
// bindings  1: x [batch, n, n] read, of which the lower triangles count
//           2: scratch [batch, n, n] read_write, at the end the eigenvectors as columns   3: basis [batch, n, n] read_write
//           4: values [batch, n] read_write, ascending   5: state [batch, 3] read_write
// bytes     8 read, 8 written per element and round
// twin      crates/tensor/src/linalg/eigh.rs
// source    Golub, Van Loan: Matrix computations, section 8.5 (cyclic Jacobi, a tournament of pairs)

struct Params {
    batch: u32,
    n: u32,
    first: u32,
    end: u32,
    total: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(3) var<storage, read_write> basis: array<f32>;
@group(0) @binding(4) var<storage, read_write> values: array<f32>;
@group(0) @binding(5) var<storage, read_write> state: array<f32>;

// For a rotation, its sine s and s / (1 + c). At the end, the eigenvalue of a column.
var<workgroup> first: array<f32, 512>;
var<workgroup> second: array<f32, 512>;
var<workgroup> order: array<u32, 512>;

// Scales the matrix so that its largest element is at least 1 and less than 2.
fn start(index: u32, lane: u32) {
    let n = params.n;
    let at = index * n * n;
    var largest = 0.0;
    for (var i = lane; i < n * n; i += 64u) {
        if (i % n <= i / n) { largest = maximum(largest, abs(x[at + i])); }
    }
    largest = tree_maximum(lane, largest);
    let scale = power_below(largest);
    let inverse = reciprocal_power(scale);
    for (var i = lane; i < n * n; i += 64u) {
        let row = i / n;
        let column = i % n;
        scratch[at + i] = x[at + max(row, column) * n + min(row, column)] * inverse;
        basis[at + i] = select(0.0, 1.0, row == column);
    }
    begin(index, lane, largest, scale);
}

fn rotate(index: u32, round: u32, lane: u32) -> f32 {
    return rotate_pairs(index * params.n * params.n, params.n, round, lane);
}

// Sorts values and vectors.
fn finish(index: u32, lane: u32) {
    let n = params.n;
    let at = index * n * n;
    let scale = state[3u * index + 2u];
    let failed = is_nan(scale);
    for (var j = lane; j < n; j += 64u) { first[j] = scratch[at + j * (n + 1u)]; }
    workgroupBarrier();
    for (var j = lane; j < n; j += 64u) {
        var rank = 0u;
        if (failed) { rank = j; }
        for (var i = 0u; i < n; i++) {
            if (!failed && (first[i] < first[j] || (first[i] == first[j] && i < j))) { rank++; }
        }
        order[rank] = j;
        values[index * n + rank] = first[j] * scale;
        if (failed) { values[index * n + rank] = nan(); }
    }
    storageBarrier();
    workgroupBarrier();
    for (var i = lane; i < n * n; i += 64u) {
        scratch[at + i] = basis[at + i / n * n + order[i % n]];
        if (failed) { scratch[at + i] = nan(); }
    }
}
