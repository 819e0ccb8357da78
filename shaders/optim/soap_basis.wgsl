// The eigenbases of one side of all matrices, one workgroup each. The first step uses Jacobi rotations. After that,
// every `frequency` updates, one step of orthogonal iteration: Q of the QR decomposition of A Q by Householder
// reflections.
//
// bindings  1: table [rows] read   2: clock read   3: matrices [tensors] read, of the averages
//           4: average [elements] read, A   5: basis [elements] read_write, Q   6: scratch [elements] write
// bytes     12 read, 8 written per element of A at least, when it runs
// twin      crates/nn/src/optim/methods/soap/basis.rs
// source    Vyas et al.: SOAP, improving and stabilizing Shampoo using Adam (ICLR 2025)
//           Golub, Van Loan: Matrix computations, sections 5.2 and 8.5
//
// The columns are processed in the order of their Rayleigh quotients, the largest first, as the paper sorts them.
// They are not moved, so that second moments need not move either. All sides are at most 1,024.

@group(0) @binding(1) var<storage, read> table: array<vec4f>;
@group(0) @binding(2) var<storage, read> clock: Clock;
@group(0) @binding(3) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(4) var<storage, read> average: array<f32>;
@group(0) @binding(5) var<storage, read_write> basis: array<f32>;
@group(0) @binding(6) var<storage, read_write> scratch: array<f32>;

// For a rotation, its sine s and s / (1 + c), which round less than the cosine c. For a column, its Rayleigh quotient
// and the factor of its reflection.
var<workgroup> first: array<f32, 1024>;
var<workgroup> second: array<f32, 1024>;
var<workgroup> order: array<u32, 1024>;
var<workgroup> unfinished: u32;

// The most sweeps over all pairs; they end when only rounding is left.
const MOST_SWEEPS = 15u;

// Returns the pair at a position in a round of a tournament of n, which is even: the smaller number first.
fn pair_at(place: u32, round: u32, n: u32) -> vec2u {
    var a = n - 1u;
    var b = round;
    if (place > 0u) {
        a = (round + place) % (n - 1u);
        b = (round + n - 1u - place) % (n - 1u);
    }
    return vec2u(min(a, b), max(a, b));
}

// Returns (c x - s y, s x + c y) by the rotation of a pair.
fn rotated(v: vec2f, pair: u32) -> vec2f {
    return vec2f(v.x - first[pair] * (v.y + second[pair] * v.x), v.y + first[pair] * (v.x - second[pair] * v.y));
}

// Diagonalizes A by rotations, whose product is the basis.
fn rotate_all(at: u32, k: u32, lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < k; i += 64u) { sum += average[at + i * (k + 1u)]; }
    let trace = tree_sum(lane, sum);
    var scale = 0.0;
    if (trace > 0.0) { scale = 1.0 / trace; }
    for (var i = lane; i < k * k; i += 64u) {
        scratch[at + i] = average[at + i] * scale;
        basis[at + i] = select(0.0, 1.0, i % (k + 1u) == 0u);
    }
    // If the number of rows is odd, one row pauses in each round.
    let n = k + k % 2u;
    let pairs = n / 2u;
    for (var sweep = 0u; sweep < MOST_SWEEPS; sweep++) {
        // Whether this lane has found anything but rounding.
        var met = 0.0;
        for (var round = 0u; round < n - 1u; round++) {
            storageBarrier();
            workgroupBarrier();
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
                        let theta = 0.5 * (qq - pp) / pq;
                        var t = 0.5 / theta;
                        if (abs(theta) < 1e6) {
                            t = select(1.0, -1.0, theta < 0.0) / (abs(theta) + sqrt(theta * theta + 1.0));
                        }
                        let cosine = 1.0 / sqrt(t * t + 1.0);
                        sine = t * cosine;
                        tau = sine / (1.0 + cosine);
                        scratch[at + pair.x * (k + 1u)] = pp - t * pq;
                        scratch[at + pair.y * (k + 1u)] = qq + t * pq;
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
                let upper = rotated(vec2f(xx, xy), other);
                let lower = rotated(vec2f(yx, yy), other);
                let of_x = rotated(vec2f(upper.x, lower.x), one);
                let of_y = rotated(vec2f(upper.y, lower.y), one);
                scratch[at + p.x * k + q.x] = of_x.x;
                if (has_q) { scratch[at + p.x * k + q.y] = of_y.x; }
                if (has_p) { scratch[at + p.y * k + q.x] = of_x.y; }
                if (has_p && has_q) { scratch[at + p.y * k + q.y] = of_y.y; }
            }
            for (var i = lane; i < pairs * k; i += 64u) {
                let p = pair_at(i % pairs, round, n);
                if (p.y >= k) { continue; }
                let row = at + i / pairs * k;
                let turned = rotated(vec2f(basis[row + p.x], basis[row + p.y]), i % pairs);
                basis[row + p.x] = turned.x;
                basis[row + p.y] = turned.y;
            }
        }
        met = tree_sum(lane, met);
        if (lane == 0u) { unfinished = u32(met); }
        if (workgroupUniformLoad(&unfinished) == 0u) { break; }
    }
}

// Does one step of orthogonal iteration.
fn iterate(at: u32, k: u32, lane: u32) {
    for (var i = lane; i < k * k; i += 64u) {
        let row = at + i / k * k;
        let column = at + i % k;
        var sum = 0.0;
        for (var l = 0u; l < k; l++) { sum += average[row + l] * basis[column + l * k]; }
        scratch[at + i] = sum;
    }
    storageBarrier();
    // Rayleigh quotients; columns divided by their largest element, which does not change the basis.
    for (var j = lane; j < k; j += 64u) {
        var quotient = 0.0;
        var largest = 0.0;
        for (var i = 0u; i < k; i++) {
            let x = scratch[at + i * k + j];
            quotient += basis[at + i * k + j] * x;
            largest = max(largest, abs(x));
        }
        if (largest > 0.0) {
            for (var i = 0u; i < k; i++) { scratch[at + i * k + j] = scratch[at + i * k + j] / largest; }
        }
        first[j] = quotient;
    }
    workgroupBarrier();
    for (var j = lane; j < k; j += 64u) {
        var rank = 0u;
        for (var i = 0u; i < k; i++) {
            if (first[i] > first[j] || (first[i] == first[j] && i < j)) { rank++; }
        }
        order[rank] = j;
    }
    // Reflections, each stored in place of its column.
    for (var c = 0u; c < k; c++) {
        storageBarrier();
        workgroupBarrier();
        let column = at + order[c];
        var sum = 0.0;
        for (var i = c + lane; i < k; i += 64u) {
            let x = scratch[column + i * k];
            sum += x * x;
        }
        sum = tree_sum(lane, sum);
        let head = scratch[column + c * k];
        let norm = sqrt(sum);
        // The norm takes the sign of the head, so that nothing cancels; the square is sum - head^2 + new_head^2.
        let new_head = head + select(norm, -norm, head < 0.0);
        let squares = 2.0 * (sum + abs(head) * norm);
        var factor = 0.0;
        if (squares > 1e-30) { factor = 2.0 / squares; }
        storageBarrier();
        workgroupBarrier();
        if (lane == 0u) {
            scratch[column + c * k] = new_head;
            second[c] = factor;
        }
        storageBarrier();
        workgroupBarrier();
        for (var d = c + 1u + lane; d < k; d += 64u) {
            let other = at + order[d];
            var dot = 0.0;
            for (var i = c; i < k; i++) { dot += scratch[column + i * k] * scratch[other + i * k]; }
            for (var i = c; i < k; i++) { scratch[other + i * k] -= factor * dot * scratch[column + i * k]; }
        }
    }
    storageBarrier();
    workgroupBarrier();
    // Their product, column by column.
    for (var d = lane; d < k; d += 64u) {
        let other = at + order[d];
        for (var i = 0u; i < k; i++) { basis[other + i * k] = select(0.0, 1.0, i == d); }
        for (var c = d + 1u; c > 0u; c--) {
            let column = at + order[c - 1u];
            var dot = 0.0;
            for (var i = c - 1u; i < k; i++) { dot += scratch[column + i * k] * basis[other + i * k]; }
            for (var i = c - 1u; i < k; i++) { basis[other + i * k] -= second[c - 1u] * dot * scratch[column + i * k]; }
        }
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (index >= params.work.count) { return; }
    let matrix = matrices[params.work.first + index];
    let now = time_at(matrix.places.x);
    if (matrix.length == 0u || now.clip_factor < 0.0) { return; }
    if (now.step == 1u) {
        rotate_all(matrix.offset, matrix.rows, lane);
    } else if ((now.step - 1u) % params.frequency == 0u) {
        iterate(matrix.offset, matrix.rows, lane);
    }
}
