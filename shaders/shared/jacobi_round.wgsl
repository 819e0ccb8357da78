// A round of Jacobi rotations of a symmetric matrix and of the basis beside it.
//
// twin: crates/tensor/src/linalg/jacobi.rs
// source: Golub, Van Loan: Matrix computations, section 8.5
//
// A kernel that appends this text declares `scratch` and `basis` as storage arrays of f32, and the workgroup arrays `first` and
// `second` with a place for each pair: the sine s of its rotation and s / (1 + c).

// Rotates all pairs of a round of the matrices of k rows that begin at `at`. Returns 1 if this lane has found anything but
// rounding. If k is odd, one row pauses in each round.
fn rotate_pairs(at: u32, k: u32, round: u32, lane: u32) -> f32 {
    let n = k + k % 2u;
    let pairs = n / 2u;
    var met = 0.0;
    for (var i = lane; i < pairs; i += 64u) {
        let pair = pair_at(i, round, n);
        var sine = 0.0;
        var tau = 0.0;
        if (pair.y < k) {
            let pp = scratch[at + pair.x * (k + 1u)];
            let qq = scratch[at + pair.y * (k + 1u)];
            let pq = scratch[at + pair.x * k + pair.y];
            // The rest is rounding.
            if (abs(pq) > 1e-11 && pq * pq > 1e-16 * abs(pp * qq)) {
                met = 1.0;
                let rotation = rotation_of(pp, qq, pq);
                sine = rotation.x;
                tau = rotation.y;
                scratch[at + pair.x * (k + 1u)] = pp - rotation.z * pq;
                scratch[at + pair.y * (k + 1u)] = qq + rotation.z * pq;
                scratch[at + pair.x * k + pair.y] = 0.0;
                scratch[at + pair.y * k + pair.x] = 0.0;
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
        let xx = scratch[at + p.x * k + q.x];
        var xy = 0.0;
        var yx = 0.0;
        var yy = 0.0;
        if (has_q) { xy = scratch[at + p.x * k + q.y]; }
        if (has_p) { yx = scratch[at + p.y * k + q.x]; }
        if (has_p && has_q) { yy = scratch[at + p.y * k + q.y]; }
        let upper = rotated(vec2f(xx, xy), first[other], second[other]);
        let lower = rotated(vec2f(yx, yy), first[other], second[other]);
        let of_x = rotated(vec2f(upper.x, lower.x), first[one], second[one]);
        let of_y = rotated(vec2f(upper.y, lower.y), first[one], second[one]);
        scratch[at + p.x * k + q.x] = of_x.x;
        if (has_q) { scratch[at + p.x * k + q.y] = of_y.x; }
        if (has_p) { scratch[at + p.y * k + q.x] = of_x.y; }
        if (has_p && has_q) { scratch[at + p.y * k + q.y] = of_y.y; }
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
