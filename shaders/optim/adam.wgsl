// Adam and AdamW over the whole arena of parameters, in one launch.
//
//   g       = clip_factor grad                      (-g where maximize; g + weight_decay param where not decoupled)
//   param   = (1 - lr weight_decay) param           (decoupled: AdamW)
//   moment1 = beta1 moment1 + (1 - beta1) g
//   moment2 = beta2 moment2 + (1 - beta2) g^2
//   param   = param - lr / correction1  moment1 / (sqrt(moment2) / sqrt(correction2) + eps)
//
// bindings  1: params [4 vectors] read_write   2: grads read   3: moment1 read_write   4: moment2 read_write
//           5: learning_rates [schedule_length] read   6: clock read_write
// bytes     16 read, 12 written per parameter
// twin      crates/tensor/src/optim/adam.rs
// source    Kingma, Ba: Adam (ICLR 2015); Loshchilov, Hutter: Decoupled weight decay regularization (ICLR 2019);
//           the order of operations is torch.optim's
//
// A workgroup takes 512 parameters, a lane two vectors of four. The arena is padded to 512, so there is no tail.

struct Params {
    timing: Timing,
    beta1: f32,
    beta2: f32,
    eps: f32,
    weight_decay: f32,
    decoupled: u32,
    maximize: u32,
    vectors: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> moment2: array<vec4f>;
@group(0) @binding(5) var<storage, read> learning_rates: array<f32>;
@group(0) @binding(6) var<storage, read_write> clock: Clock;

fn update(i: u32, now: Now, step_size: f32, root: f32) {
    var value = values[i];
    var grad = grads[i] * now.clip_factor;
    if (params.maximize != 0u) { grad = -grad; }
    if (params.decoupled != 0u) {
        value = value * (1.0 - now.learning_rate * params.weight_decay);
    } else {
        grad = grad + params.weight_decay * value;
    }
    let m = params.beta1 * moment1[i] + params.timing.one_minus_beta1 * grad;
    let v = params.beta2 * moment2[i] + params.timing.one_minus_beta2 * (grad * grad);
    values[i] = value - step_size * (m / (sqrt(v) / root + params.eps));
    moment1[i] = m;
    moment2[i] = v;
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
        let step_size = now.learning_rate / now.bias_correction1;
        let root = sqrt(now.bias_correction2);
        update(i, now, step_size, root);
        update(i + 64u, now, step_size, root);
    }
    finish_time(now, lane, groups);
}
