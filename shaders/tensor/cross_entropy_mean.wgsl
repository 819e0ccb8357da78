// The mean cross-entropy of rows of logits with their classes, its gradient, and, where LOGGED, an entry in a log:
// the loss of a small batch in one workgroup.
// mean = 1/rows sum_i (log sum_j exp(logits[i, j]) - logits[i, target[i]]),
// grad[i, j] = (softmax(logits[i])[j] - [j = target[i]]) / rows.
//
// bindings  1: logits [rows, classes] read   2: targets [rows] u32 read   3: logits_grad [rows, classes] write
//           4: mean [1] write   5: log [log_length] write   6: cursor [1] u32 read_write
// bytes     4 read, 4 written per logit
// twin      crates/tensor/src/ops/cross_entropy.rs
//
// Lane i takes the rows i, i + 64, …, and a tree adds the lanes. An invalid target gives NaN, in the loss and in the
// gradient of its row.

struct Params {
    rows: u32,
    classes: u32,
    scale: f32,
    log_length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> logits_grad: array<f32>;
@group(0) @binding(4) var<storage, read_write> mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> log_values: array<f32>;
@group(0) @binding(6) var<storage, read_write> cursor: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var total = 0.0;
    for (var row = lane; row < params.rows; row += 64u) {
        let base = row * params.classes;
        var largest = -infinity();
        for (var i = 0u; i < params.classes; i++) { largest = maximum(largest, logits[base + i]); }
        var sum = 0.0;
        for (var i = 0u; i < params.classes; i++) {
            let power = safe_exp(logits[base + i] - largest);
            logits_grad[base + i] = power;
            sum += power;
        }
        let target_class = targets[row];
        let valid = target_class < params.classes;
        for (var i = 0u; i < params.classes; i++) {
            let probability = logits_grad[base + i] / sum;
            let grad = params.scale * (probability - select(0.0, 1.0, i == target_class));
            logits_grad[base + i] = select(nan(), grad, valid);
        }
        var loss = nan();
        if (valid) { loss = safe_log(sum) - (logits[base + target_class] - largest); }
        total += loss;
    }
    finish_mean(lane, total);
}
