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
// A step that is to be skipped stores what it has loaded: a test would cost software drivers more than the stores.

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

// What is the same for all parameters.
struct Factors {
    skip: bool,
    grad: f32,
    kept: f32,
    coupled_decay: f32,
    step_size: f32,
    inverse_root: f32,
}

fn factors(now: Now) -> Factors {
    let decoupled = params.decoupled != 0u;
    return Factors(
        now.clip_factor < 0.0,
        select(now.clip_factor, -now.clip_factor, params.maximize != 0u),
        select(1.0, 1.0 - now.learning_rate * params.weight_decay, decoupled),
        select(params.weight_decay, 0.0, decoupled),
        now.learning_rate / now.bias_correction1,
        1.0 / sqrt(now.bias_correction2),
    );
}

fn update(i: u32, f: Factors) {
    let value = values[i];
    let m = moment1[i];
    let v = moment2[i];
    let grad = f.grad * grads[i] + f.coupled_decay * value;
    let new_m = params.beta1 * m + params.timing.one_minus_beta1 * grad;
    let new_v = params.beta2 * v + params.timing.one_minus_beta2 * (grad * grad);
    let new_value = value * f.kept - f.step_size * (new_m / (sqrt(new_v) * f.inverse_root + params.eps));
    values[i] = select(new_value, value, f.skip);
    moment1[i] = select(new_m, m, f.skip);
    moment2[i] = select(new_v, v, f.skip);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = first_vector(group_index(group, groups), lane);
    let now = current_time();
    let f = factors(now);
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
