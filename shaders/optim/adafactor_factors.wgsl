// The second stage of Adafactor, one workgroup per tensor: the second moment of the columns, and the facts of the
// tensor for the remaining stages.
//
//   col_var[j] = col_var[j] + w (mean over i of g^2 - col_var[j])
//   fact       = [rho max(eps2, rms(param)), 1 - lr weight_decay, clip factor, w, max(eps1, mean of row_var), is skipped]
//
// with rho = min(lr, 1 / sqrt(t)) and w = t^beta2_decay.
//
// bindings  1: table [rows] read   2: clock read   3: matrices [tensors] read   4: columns read   5: col_var read_write
//           6: sums read_write: blocks, groups of rows, then 8 facts a tensor
// bytes     8 read, 4 written per column
// twin      crates/nn/src/optim/methods/adafactor.rs
// source    Shazeer, Stern: Adafactor (ICML 2018); torch.optim.Adafactor

@group(0) @binding(1) var<storage, read> table: array<vec4f>;
@group(0) @binding(2) var<storage, read> clock: Clock;
@group(0) @binding(3) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(4) var<storage, read> columns: array<f32>;
@group(0) @binding(5) var<storage, read_write> col_var: array<f32>;
@group(0) @binding(6) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (index >= params.work.count) { return; }
    let number = params.work.first + index;
    let matrix = matrices[number];
    let facts = params.facts_start + 8u * number;
    let now = time_of(matrix);
    if (now.clip_factor < 0.0) {
        if (lane == 0u) { sums[facts + 5u] = 1.0; }
        return;
    }
    let weight = power(f32(now.step), params.beta2_decay);
    var sum = 0.0;
    for (var i = lane; i < matrix.places.w; i += 64u) { sum += sums[matrix.first_block + i]; }
    let rms = sqrt(tree_sum(lane, sum)) / sqrt(f32(matrix.length));
    var row_sum = 0.0;
    if (matrix.is_matrix != 0u) {
        let rows = 64u / matrix.lanes;
        for (var i = lane; i < (matrix.rows + rows - 1u) / rows; i += 64u) {
            row_sum += sums[params.groups_start + matrix.first_group + i];
        }
        for (var j = lane; j < matrix.columns; j += 64u) {
            var total = 0.0;
            for (var segment = 0u; segment < matrix.segments; segment++) {
                total += columns[matrix.first_column + segment * matrix.columns + j];
            }
            let old = col_var[matrix.places.y + j];
            col_var[matrix.places.y + j] = old + weight * (total / f32(matrix.rows) - old);
        }
    }
    row_sum = tree_sum(lane, row_sum);
    if (lane == 0u) {
        let rho = min(now.learning_rate, 1.0 / sqrt(f32(now.step)));
        sums[facts] = rho * max(params.eps2, rms);
        sums[facts + 1u] = 1.0 - now.learning_rate * now.weight_decay;
        sums[facts + 2u] = grad_factor(now);
        sums[facts + 3u] = weight;
        sums[facts + 4u] = max(params.eps1, row_sum / f32(matrix.rows));
        sums[facts + 5u] = 0.0;
    }
}
