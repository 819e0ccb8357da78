// The eigenvalues and eigenvectors of symmetric matrices by Jacobi rotations, some rounds of each, one workgroup a matrix.
//
// bindings  1: x [batch, n, n] read, of which the lower triangles count
//           2: work [batch, n, n] read_write, at the end the eigenvectors as columns   3: basis [batch, n, n] read_write
//           4: values [batch, n] read_write, ascending   5: state [batch, 3] read_write
// bytes     8 read, 8 written per element and round
// twin      crates/tensor/src/linalg/eigh.rs
// source    Golub, Van Loan: Matrix computations, section 8.5 (cyclic Jacobi, a tournament of pairs)
//
// The rounds from `first` to `end` of `total` are processed. A sweep is n - 1 rounds, or n if n is odd; the matrix is done
// after a sweep without rotations. `state` holds whether the current sweep has rotated, whether the matrix is done, and
// the power of two by which it was divided, NaN if an element is not finite.

struct Params {
    batch: u32,
    n: u32,
    first: u32,
    end: u32,
    total: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> work: array<f32>;
@group(0) @binding(3) var<storage, read_write> basis: array<f32>;
@group(0) @binding(4) var<storage, read_write> values: array<f32>;
@group(0) @binding(5) var<storage, read_write> state: array<f32>;

// For a rotation, its sine s and s / (1 + c). At the end, the eigenvalue of a column.
var<workgroup> first: array<f32, 512>;
var<workgroup> second: array<f32, 512>;
var<workgroup> order: array<u32, 512>;
var<workgroup> is_open: u32;

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
        work[at + i] = x[at + max(row, column) * n + min(row, column)] * inverse;
        basis[at + i] = select(0.0, 1.0, row == column);
    }
    if (lane == 0u) {
        state[3u * index] = 0.0;
        state[3u * index + 1u] = select(1.0, 0.0, is_finite(largest));
        state[3u * index + 2u] = scale;
        if (!is_finite(largest)) { state[3u * index + 2u] = nan(); }
    }
    storageBarrier();
    workgroupBarrier();
}

// Rotates all pairs of a round. Returns 1 if this lane has found anything but rounding.
fn rotate(at: u32, round: u32, lane: u32) -> f32 {
    let k = params.n;
    let n = k + k % 2u;
    let pairs = n / 2u;
    var met = 0.0;
    for (var i = lane; i < pairs; i += 64u) {
        let pair = pair_at(i, round, n);
        var sine = 0.0;
        var tau = 0.0;
        if (pair.y < k) {
            let pp = work[at + pair.x * (k + 1u)];
            let qq = work[at + pair.y * (k + 1u)];
            let pq = work[at + pair.x * k + pair.y];
            // The rest is rounding.
            if (abs(pq) > 1e-11 && pq * pq > 1e-16 * abs(pp * qq)) {
                met = 1.0;
                let rotation = rotation_of(pp, qq, pq);
                sine = rotation.x;
                tau = rotation.y;
                work[at + pair.x * (k + 1u)] = pp - rotation.z * pq;
                work[at + pair.y * (k + 1u)] = qq + rotation.z * pq;
                work[at + pair.x * k + pair.y] = 0.0;
                work[at + pair.y * k + pair.x] = 0.0;
            }
        }
        first[i] = sine;
        second[i] = tau;
    }
    storageBarrier();
    workgroupBarrier();
    // The elements in the rows of one pair and the columns of another.
    for (var i = lane; i < pairs * pairs; i += 64u) {
        let one = i / pairs;
        let other = i % pairs;
        if (one == other) { continue; }
        let p = pair_at(one, round, n);
        let q = pair_at(other, round, n);
        let has_p = p.y < k;
        let has_q = q.y < k;
        let xx = work[at + p.x * k + q.x];
        var xy = 0.0;
        var yx = 0.0;
        var yy = 0.0;
        if (has_q) { xy = work[at + p.x * k + q.y]; }
        if (has_p) { yx = work[at + p.y * k + q.x]; }
        if (has_p && has_q) { yy = work[at + p.y * k + q.y]; }
        let upper = rotated(vec2f(xx, xy), first[other], second[other]);
        let lower = rotated(vec2f(yx, yy), first[other], second[other]);
        let of_x = rotated(vec2f(upper.x, lower.x), first[one], second[one]);
        let of_y = rotated(vec2f(upper.y, lower.y), first[one], second[one]);
        work[at + p.x * k + q.x] = of_x.x;
        if (has_q) { work[at + p.x * k + q.y] = of_y.x; }
        if (has_p) { work[at + p.y * k + q.x] = of_x.y; }
        if (has_p && has_q) { work[at + p.y * k + q.y] = of_y.y; }
    }
    for (var i = lane; i < pairs * k; i += 64u) {
        let pair = i % pairs;
        let p = pair_at(pair, round, n);
        if (p.y >= k) { continue; }
        let row = at + i / pairs * k;
        let turned = rotated(vec2f(basis[row + p.x], basis[row + p.y]), first[pair], second[pair]);
        basis[row + p.x] = turned.x;
        basis[row + p.y] = turned.y;
    }
    storageBarrier();
    workgroupBarrier();
    return met;
}

// Sorts values and vectors.
fn finish(index: u32, lane: u32) {
    let n = params.n;
    let at = index * n * n;
    let scale = state[3u * index + 2u];
    let failed = is_nan(scale);
    for (var j = lane; j < n; j += 64u) { first[j] = work[at + j * (n + 1u)]; }
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
        work[at + i] = basis[at + i / n * n + order[i % n]];
        if (failed) { work[at + i] = nan(); }
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (index >= params.batch) { return; }
    if (params.first == 0u) { start(index, lane); }
    if (lane == 0u) { is_open = select(1u, 0u, state[3u * index + 1u] != 0.0); }
    if (workgroupUniformLoad(&is_open) != 0u) {
        let rounds = params.n + params.n % 2u - 1u;
        var met = 0.0;
        for (var step = params.first; step < params.end; step++) {
            met = max(met, rotate(index * params.n * params.n, step % rounds, lane));
            if (step % rounds == rounds - 1u) {
                met = tree_sum(lane, met);
                if (lane == 0u) {
                    is_open = select(0u, 1u, met + state[3u * index] != 0.0);
                    state[3u * index] = 0.0;
                    state[3u * index + 1u] = select(1.0, 0.0, is_open != 0u);
                }
                met = 0.0;
                if (workgroupUniformLoad(&is_open) == 0u) { break; }
            }
        }
        met = tree_sum(lane, met);
        if (lane == 0u) { state[3u * index] += met; }
    }
    if (params.end == params.total) {
        storageBarrier();
        workgroupBarrier();
        finish(index, lane);
    }
}
