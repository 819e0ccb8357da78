// The QR decompositions of matrices by Householder reflections, some steps of each, one workgroup a matrix.
//
// bindings  1: w [batch, m, n] read_write, first A, then R and below it the reflections
//           2: q [batch, m, k] read_write, with k = min(m, n)   3: factors [batch, k] read_write, of the reflections
// bytes     8 read, 4 written per element of w or q and step at most
// twin      crates/tensor/src/linalg/qr.rs
// source    LAPACK 3.12, slarfg, sgeqr2 and sorg2r
//
// The steps from `first` to `end` are processed. Step j < k reflects column j; the k steps after that multiply the
// reflections, the last one first. A column with nothing below the diagonal is not reflected, as in LAPACK.

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    first: u32,
    end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> q: array<f32>;
@group(0) @binding(3) var<storage, read_write> factors: array<f32>;

// Reflects column j, and then the columns after it.
fn reflect(at: u32, factor_at: u32, j: u32, lane: u32) {
    let m = params.m;
    let n = params.n;
    var largest = 0.0;
    for (var i = j + lane; i < m; i += 64u) { largest = maximum(largest, abs(w[at + i * n + j])); }
    let scale = power_below(tree_maximum(lane, largest));
    let inverse = reciprocal_power(scale);
    var sum = 0.0;
    for (var i = j + 1u + lane; i < m; i += 64u) {
        let x = w[at + i * n + j] * inverse;
        sum += x * x;
    }
    sum = tree_sum(lane, sum);
    let head = w[at + j * (n + 1u)];
    var new_head = head;
    var factor = 0.0;
    if (sum != 0.0 || is_nan(sum)) {
        let scaled = head * inverse;
        let norm = scale * sqrt(sum + scaled * scaled);
        new_head = select(-norm, norm, head < 0.0);
        factor = (new_head - head) / new_head;
    }
    storageBarrier();
    workgroupBarrier();
    if (factor != 0.0 || is_nan(factor)) {
        for (var i = j + 1u + lane; i < m; i += 64u) { w[at + i * n + j] = w[at + i * n + j] / (head - new_head); }
    }
    if (lane == 0u) {
        w[at + j * (n + 1u)] = new_head;
        factors[factor_at + j] = factor;
    }
    storageBarrier();
    workgroupBarrier();
    for (var c = j + 1u + lane; c < n; c += 64u) {
        var dot = w[at + j * n + c];
        for (var i = j + 1u; i < m; i++) { dot += w[at + i * n + j] * w[at + i * n + c]; }
        dot *= factor;
        w[at + j * n + c] -= dot;
        for (var i = j + 1u; i < m; i++) { w[at + i * n + c] -= w[at + i * n + j] * dot; }
    }
}

// Multiplies reflection j and those after it.
fn multiply(at: u32, q_at: u32, factor_at: u32, j: u32, lane: u32) {
    let m = params.m;
    let n = params.n;
    let k = min(m, n);
    let factor = factors[factor_at + j];
    for (var c = j + lane; c < k; c += 64u) {
        var dot = q[q_at + j * k + c];
        for (var i = j + 1u; i < m; i++) { dot += w[at + i * n + j] * q[q_at + i * k + c]; }
        dot *= factor;
        q[q_at + j * k + c] -= dot;
        for (var i = j + 1u; i < m; i++) { q[q_at + i * k + c] -= w[at + i * n + j] * dot; }
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
    let k = min(params.m, params.n);
    let at = index * params.m * params.n;
    let q_at = index * params.m * k;
    for (var step = params.first; step < params.end; step++) {
        storageBarrier();
        workgroupBarrier();
        if (step < k) {
            reflect(at, index * k, step, lane);
        } else {
            if (step == k) {
                for (var i = lane; i < params.m * k; i += 64u) { q[q_at + i] = select(0.0, 1.0, i / k == i % k); }
                storageBarrier();
                workgroupBarrier();
            }
            multiply(at, q_at, index * k, 2u * k - 1u - step, lane);
        }
    }
}
