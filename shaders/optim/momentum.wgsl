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
// A step that is to be skipped stores what it has loaded: a test would cost software drivers more than the stores.

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

// What is the same for all parameters.
struct Factors {
    skip: bool,
    grad: f32,
    undamped: f32,
    learning_rate: f32,
}

fn update(i: u32, f: Factors) {
    let value = values[i];
    let moment = moment1[i];
    let grad = f.grad * grads[i] + params.weight_decay * value;
    let new_moment = params.momentum * moment + f.undamped * grad;
    let direction = select(new_moment, grad + params.momentum * new_moment, params.nesterov != 0u);
    values[i] = select(value - f.learning_rate * direction, value, f.skip);
    moment1[i] = select(new_moment, moment, f.skip);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = first_vector(group_index(group, groups), lane);
    let now = current_time();
    // The step is counted before the update where a clock launch precedes it, and after it otherwise.
    let first = clock.step == select(1u, 0u, SELF_CLOCKED);
    let f = Factors(
        now.clip_factor < 0.0,
        select(now.clip_factor, -now.clip_factor, params.maximize != 0u),
        select(1.0 - params.dampening, 1.0, first),
        now.learning_rate,
    );
    if (is_inside(i, params.vectors)) {
        update(i, f);
        update(i + vector_step(), f);
        if (SEQUENTIAL) {
            update(i + 2u, f);
            update(i + 3u, f);
        }
    }
    finish_time(now, lane, groups);
}
