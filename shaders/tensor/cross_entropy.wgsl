// Cross-entropy of each row of logits with its class, and its gradient, in one pass:
// loss[i] = log sum_j exp(logits[i, j]) - logits[i, target[i]], grad[i, j] = scale (softmax(logits[i])[j] - [j = target[i]]).
//
// bindings  1: logits [rows, classes] read   2: targets [rows] u32 read   3: losses [rows] write
//           4: logits_grad [rows, classes] write
// bytes     12 read, 4 written per logit
// twin      crates/tensor/src/ops/cross_entropy.rs
//
// A target that is no class gives NaN, in the loss and in the gradient.

struct Params {
    rows: u32,
    classes: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
@group(0) @binding(4) var<storage, read_write> logits_grad: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.rows) { return; }
    let base = row * params.classes;
    var largest = -infinity();
    for (var i = lane; i < params.classes; i += 64u) { largest = maximum(largest, logits[base + i]); }
    largest = tree_maximum(lane, largest);
    var sum = 0.0;
    for (var i = lane; i < params.classes; i += 64u) { sum += safe_exp(logits[base + i] - largest); }
    sum = tree_sum(lane, sum);
    let target_class = targets[row];
    let valid = target_class < params.classes;
    for (var i = lane; i < params.classes; i += 64u) {
        let probability = safe_exp(logits[base + i] - largest) / sum;
        let grad = params.scale * (probability - select(0.0, 1.0, i == target_class));
        logits_grad[base + i] = select(nan(), grad, valid);
    }
    if (lane == 0u) {
        var loss = nan();
        if (valid) { loss = safe_log(sum) - (logits[base + target_class] - largest); }
        losses[row] = loss;
    }
}
