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
// A step that is to be skipped stores what it has loaded: a test would cost software drivers more than the stores.

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

fn update(i: u32, now: Now, factor: f32) {
    let value = values[i];
    let new_value = value - now.learning_rate * (factor * grads[i] + params.weight_decay * value);
    values[i] = select(new_value, value, now.clip_factor < 0.0);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = first_vector(group_index(group, groups), lane);
    let now = current_time();
    let factor = select(now.clip_factor, -now.clip_factor, params.maximize != 0u);
    if (is_inside(i, params.vectors)) {
        update(i, now, factor);
        update(i + vector_step(), now, factor);
        if (SEQUENTIAL) {
            update(i + 2u, now, factor);
            update(i + 3u, now, factor);
        }
    }
    finish_time(now, lane, groups);
}
