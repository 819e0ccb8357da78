// Cross-entropy of each row of logits with its class, and its gradient, in one pass:
// loss[i] = log sum_j exp(logits[i, j]) - logits[i, target[i]], grad[i, j] = scale (softmax(logits[i])[j] - [j = target[i]]).
//
// bindings  1: logits [rows, classes] read   2: targets [rows] u32 read   3: losses [rows] write
//           4: logits_grad [rows, classes] write
// bytes     12 read, 4 written per logit
// twin      crates/tensor/src/ops/cross_entropy.rs
//
// An invalid target gives NaN, in the loss and in the gradient. A workgroup takes a row, or a lane if rows are short:
// see shared/short_rows.wgsl.

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

// One element of the gradient.
fn store_grad(base: u32, i: u32, target_class: u32, largest: f32, sum: f32) {
    let probability = safe_exp(logits[base + i] - largest) / sum;
    let grad = params.scale * (probability - select(0.0, 1.0, i == target_class));
    logits_grad[base + i] = select(nan(), grad, target_class < params.classes);
}

fn store_loss(row: u32, target_class: u32, largest: f32, sum: f32) {
    var loss = nan();
    if (target_class < params.classes) {
        loss = safe_log(sum) - (logits[row * params.classes + target_class] - largest);
    }
    losses[row] = loss;
}

fn short_row(row: u32) {
    if (row >= params.rows) { return; }
    let base = row * params.classes;
    var largest = -infinity();
    for (var i = 0u; i < params.classes; i++) { largest = maximum(largest, logits[base + i]); }
    var sums = ShortSum();
    for (var i = 0u; i < params.classes; i++) { sums = with_element(sums, i, safe_exp(logits[base + i] - largest)); }
    let sum = folded(sums);
    let target_class = targets[row];
    for (var i = 0u; i < params.classes; i++) { store_grad(base, i, target_class, largest, sum); }
    store_loss(row, target_class, largest, sum);
}

fn long_row(row: u32, lane: u32) {
    if (row >= params.rows) { return; }
    let base = row * params.classes;
    var largest = -infinity();
    for (var i = lane; i < params.classes; i += 64u) { largest = maximum(largest, logits[base + i]); }
    largest = tree_maximum(lane, largest);
    var sum = 0.0;
    for (var i = lane; i < params.classes; i += 64u) { sum += safe_exp(logits[base + i] - largest); }
    sum = tree_sum(lane, sum);
    let target_class = targets[row];
    for (var i = lane; i < params.classes; i += 64u) { store_grad(base, i, target_class, largest, sum); }
    if (lane == 0u) { store_loss(row, target_class, largest, sum); }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (SHORT) {
        short_row(index * 64u + lane);
    } else {
        long_row(index, lane);
    }
}
