// A class for each row of logits, drawn from their softmax: the first class for which the cumulative sum of e^logit
// is more than u times the total, for u uniform in [0, 1).
//
// bindings  1: logits [rows, classes] read   2: clock u32 read   3: sampled [rows] u32 write
// bytes     12 read per logit
// twin      crates/tensor/src/optim/sample.rs
//
// u is computed from word 0 of Philox at counter (row, time, stream). The time is the number of the clock's steps,
// done and skipped, so that a captured step draws anew. A lane takes a row.

struct Params {
    rows: u32,
    classes: u32,
    seed_low: u32,
    seed_high: u32,
    stream_low: u32,
    stream_high: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> clock: array<u32>;
@group(0) @binding(3) var<storage, read_write> sampled: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups) * 64u + lane;
    if (row >= params.rows) { return; }
    let counter = vec4u(row, clock[4] + clock[5], params.stream_low, params.stream_high);
    let u = unit_interval(philox(counter, vec2u(params.seed_low, params.seed_high)).x);
    let base = row * params.classes;
    var largest = -infinity();
    for (var i = 0u; i < params.classes; i++) { largest = maximum(largest, logits[base + i]); }
    var sum = 0.0;
    for (var i = 0u; i < params.classes; i++) { sum += safe_exp(logits[base + i] - largest); }
    let wanted = u * sum;
    var below = 0.0;
    var chosen = params.classes - 1u;
    for (var i = 0u; i < params.classes; i++) {
        below += safe_exp(logits[base + i] - largest);
        if (below > wanted) {
            chosen = i;
            break;
        }
    }
    sampled[row] = chosen;
}
