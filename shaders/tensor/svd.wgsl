// The singular values and vectors of matrices by one-sided Jacobi rotations, some rounds of each, one workgroup a matrix.
//
// bindings  1: w [batch, m, n] read_write, with m ≥ n, first A   2: v [batch, n, n] read_write
//           3: values [batch, n] read_write, descending   4: state [batch, 3] read_write
//           5: u [batch, m, n] write, the left vectors times their values, divided by a power of two
//           6: vh [batch, n, n] write, the right vectors as rows
// bytes     12 read, 8 written per element of w and round
// twin      crates/tensor/src/linalg/svd.rs
// source    Drmač, Veselić: New fast and accurate Jacobi SVD algorithm (2008); LAPACK 3.12, sgesvj, for the bound
//
// A lane rotates a pair of columns until all columns are orthogonal.

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    first: u32,
    end: u32,
    total: u32,
    bound: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> state: array<f32>;
@group(0) @binding(5) var<storage, read_write> u: array<f32>;
@group(0) @binding(6) var<storage, read_write> vh: array<f32>;

var<workgroup> lengths: array<f32, 512>;
var<workgroup> order: array<u32, 512>;

// Scales the matrix so that its largest element is at least 1 and less than 2.
fn start(index: u32, lane: u32) {
    let n = params.n;
    let at = index * params.m * n;
    var largest = 0.0;
    for (var i = lane; i < params.m * n; i += 64u) { largest = maximum(largest, abs(w[at + i])); }
    largest = tree_maximum(lane, largest);
    let scale = power_below(largest);
    let inverse = reciprocal_power(scale);
    for (var i = lane; i < params.m * n; i += 64u) { w[at + i] = w[at + i] * inverse; }
    for (var i = lane; i < n * n; i += 64u) { v[index * n * n + i] = select(0.0, 1.0, i / n == i % n); }
    begin(index, lane, largest, scale);
}

// Rotates all pairs of a round. Returns 1 if this lane has found columns that are not orthogonal.
fn rotate(index: u32, round: u32, lane: u32) -> f32 {
    let k = params.n;
    let n = k + k % 2u;
    let at = index * params.m * k;
    let v_at = index * k * k;
    var met = 0.0;
    for (var i = lane; i < n / 2u; i += 64u) {
        let pair = pair_at(i, round, n);
        if (pair.y >= k) { continue; }
        var pp = 0.0;
        var qq = 0.0;
        var pq = 0.0;
        for (var r = 0u; r < params.m; r++) {
            let p = w[at + r * k + pair.x];
            let q = w[at + r * k + pair.y];
            pp += p * p;
            qq += q * q;
            pq += p * q;
        }
        if (abs(pq) <= params.bound * sqrt(pp) * sqrt(qq)) { continue; }
        met = 1.0;
        let rotation = rotation_of(pp, qq, pq);
        for (var r = 0u; r < params.m; r++) {
            let row = at + r * k;
            let turned = rotated(vec2f(w[row + pair.x], w[row + pair.y]), rotation.x, rotation.y);
            w[row + pair.x] = turned.x;
            w[row + pair.y] = turned.y;
        }
        for (var r = 0u; r < k; r++) {
            let row = v_at + r * k;
            let turned = rotated(vec2f(v[row + pair.x], v[row + pair.y]), rotation.x, rotation.y);
            v[row + pair.x] = turned.x;
            v[row + pair.y] = turned.y;
        }
    }
    storageBarrier();
    workgroupBarrier();
    return met;
}

// Computes the values and sorts them and the vectors.
fn finish(index: u32, lane: u32) {
    let m = params.m;
    let n = params.n;
    let at = index * m * n;
    let scale = state[3u * index + 2u];
    let failed = is_nan(scale);
    for (var j = lane; j < n; j += 64u) {
        var sum = 0.0;
        for (var r = 0u; r < m; r++) {
            let x = w[at + r * n + j];
            sum += x * x;
        }
        lengths[j] = sqrt(sum);
    }
    workgroupBarrier();
    for (var j = lane; j < n; j += 64u) {
        var rank = 0u;
        if (failed) { rank = j; }
        for (var i = 0u; i < n; i++) {
            if (!failed && (lengths[i] > lengths[j] || (lengths[i] == lengths[j] && i < j))) { rank++; }
        }
        order[rank] = j;
        values[index * n + rank] = lengths[j] * scale;
        if (failed) { values[index * n + rank] = nan(); }
    }
    workgroupBarrier();
    for (var i = lane; i < m * n; i += 64u) {
        u[at + i] = w[at + i / n * n + order[i % n]];
        if (failed) { u[at + i] = nan(); }
    }
    for (var i = lane; i < n * n; i += 64u) {
        vh[index * n * n + i] = v[index * n * n + i % n * n + order[i / n]];
        if (failed) { vh[index * n * n + i] = nan(); }
    }
}
