// Stochastic gradient descent with momentum, plain or Nesterov's, over the whole arena of parameters, in one launch.
//
//   g      = clip_factor grad                       (-g where maximize), + weight_decay param
//   moment = momentum moment + (1 - dampening) g    (at the first step: g)
//   param  = param - lr moment                      (Nesterov: param - lr (g + momentum moment))
//
// bindings  1: params [4 vectors] read_write   2: grads read   3: moment1 read_write
//           4: learning_rates [schedule_length] read   5: clock read_write
// bytes     12 read, 8 written per parameter
// twin      crates/tensor/src/optim/momentum.rs
// source    Polyak (1964); Nesterov (1983); Sutskever et al. (ICML 2013); torch.optim.SGD
//
// A workgroup takes 512 parameters, a lane two vectors of four. The arena is padded to 512, so there is no tail.

struct Params {
    timing: Timing,
    momentum: f32,
    dampening: f32,
    weight_decay: f32,
    nesterov: u32,
    maximize: u32,
    vectors: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(4) var<storage, read> learning_rates: array<f32>;
@group(0) @binding(5) var<storage, read_write> clock: Clock;

fn update(i: u32, now: Now, undamped: f32) {
    let value = values[i];
    var grad = grads[i] * now.clip_factor;
    if (params.maximize != 0u) { grad = -grad; }
    grad = grad + params.weight_decay * value;
    let moment = params.momentum * moment1[i] + undamped * grad;
    moment1[i] = moment;
    var direction = moment;
    if (params.nesterov != 0u) { direction = grad + params.momentum * moment; }
    values[i] = value - now.learning_rate * direction;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 128u + lane;
    let now = current_time();
    // The step is counted before the update where a clock launch precedes it, and after it otherwise.
    let first = clock.step == select(1u, 0u, SELF_CLOCKED);
    if (now.clip_factor >= 0.0 && i < params.vectors) {
        let undamped = select(1.0 - params.dampening, 1.0, first);
        update(i, now, undamped);
        update(i + 64u, now, undamped);
    }
    finish_time(now, lane, groups);
}
