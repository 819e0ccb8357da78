// Stochastic gradient descent without momentum over the whole arena of parameters, in one launch.
//
//   g     = clip_factor grad                        (-g where maximize), + weight_decay param
//   param = param - lr g
//
// bindings  1: params [4 vectors] read_write   2: grads read   3: learning_rates [schedule_length] read
//           4: clock read_write
// bytes     8 read, 4 written per parameter
// twin      crates/tensor/src/optim/sgd.rs
// source    Robbins, Monro: A stochastic approximation method (1951); torch.optim.SGD
//
// A workgroup takes 512 parameters, a lane two vectors of four. The arena is padded to 512, so there is no tail.

struct Params {
    timing: Timing,
    weight_decay: f32,
    maximize: u32,
    vectors: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read> learning_rates: array<f32>;
@group(0) @binding(4) var<storage, read_write> clock: Clock;

fn update(i: u32, now: Now) {
    let value = values[i];
    var grad = grads[i] * now.clip_factor;
    if (params.maximize != 0u) { grad = -grad; }
    values[i] = value - now.learning_rate * (grad + params.weight_decay * value);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 128u + lane;
    let now = current_time();
    if (now.clip_factor >= 0.0 && i < params.vectors) {
        update(i, now);
        update(i + 64u, now);
    }
    finish_time(now, lane, groups);
}
