// Sweeps of Jacobi rotations over a batch, some rounds of each launch, one workgroup a matrix.
//
// twin: crates/tensor/src/linalg/jacobi.rs
//
// A kernel that appends this text declares `params` with `batch`, `n`, `first`, `end` and `total`, `state` [batch, 3] as a
// storage array of f32, and the functions `start(index, lane)`, `rotate(index, round, lane)`, which returns 1 if a lane has
// rotated a pair, and `finish(index, lane)`.
//
// The rounds from `first` to `end` of `total` are processed. A sweep is n - 1 rounds, or n if n is odd; the matrix is done
// after a sweep without rotations. `state` holds whether the current sweep has rotated, whether the matrix is done, and
// the power of two by which it was divided, NaN if an element is not finite.

var<workgroup> is_open: u32;

// Begins the state of a matrix. One whose largest element is not finite is done at once.
fn begin(index: u32, lane: u32, largest: f32, scale: f32) {
    if (lane == 0u) {
        state[3u * index] = 0.0;
        state[3u * index + 1u] = select(1.0, 0.0, is_finite(largest));
        state[3u * index + 2u] = scale;
        if (!is_finite(largest)) { state[3u * index + 2u] = nan(); }
    }
    storageBarrier();
    workgroupBarrier();
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
            met = max(met, rotate(index, step % rounds, lane));
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
