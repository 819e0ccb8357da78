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
    storageBarrier();
    workgroupBarrier();
    for (var sweep = 0u; sweep < MOST_SWEEPS; sweep++) {
        // Whether this lane has found anything but rounding.
        var met = 0.0;
        for (var round = 0u; round < k + k % 2u - 1u; round++) { met = max(met, rotate_pairs(at, k, round, lane)); }
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
