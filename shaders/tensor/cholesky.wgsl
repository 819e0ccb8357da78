// The lower Cholesky factors of matrices in place, some columns of each, one workgroup a matrix.
//
// bindings  1: y [batch, n, n] read_write, the lower triangles, and zeros above
// bytes     4 read, 4 written per element and column at most
// twin      crates/tensor/src/linalg/cholesky.rs
// source    Golub, Van Loan: Matrix computations, section 4.2.5 (outer products)
//
// The columns from `first` to `end` are processed. The first element is NaN once a pivot was not positive; after the last
// column the lower triangle of such a matrix is filled with NaN.

struct Params {
    batch: u32,
    n: u32,
    first: u32,
    end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

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
    for (var j = params.first; j < params.end; j++) {
        storageBarrier();
        workgroupBarrier();
        let pivot = y[at + j * (n + 1u)];
        let failed = is_nan(y[at]) || !is_finite(pivot) || pivot <= 0.0;
        var root = nan();
        if (!failed) { root = sqrt(pivot); }
        storageBarrier();
        workgroupBarrier();
        if (lane == 0u) {
            y[at + j * (n + 1u)] = root;
            if (failed) { y[at] = root; }
        }
        for (var i = j + 1u + lane; i < n; i += 64u) { y[at + i * n + j] = y[at + i * n + j] / root; }
        storageBarrier();
        workgroupBarrier();
        let left = n - j - 1u;
        for (var i = lane; i < left * left; i += 64u) {
            let row = j + 1u + i / left;
            let column = j + 1u + i % left;
            if (column <= row) { y[at + row * n + column] -= y[at + row * n + j] * y[at + column * n + j]; }
        }
    }
    if (params.end == n) {
        storageBarrier();
        workgroupBarrier();
        let failed = is_nan(y[at]);
        storageBarrier();
        workgroupBarrier();
        for (var i = lane; i < n * n; i += 64u) {
            if (failed && i % n <= i / n) { y[at + i] = nan(); }
        }
    }
}
