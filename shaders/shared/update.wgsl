// Code shared by all updates that process an arena: parameters, the bindings up to the state, and the values common
// to all elements.
//
// A kernel that appends this text declares
//
//   const EXTRA       the kind of extra state in the clock: see shared/clock.wgsl
//   struct Params     beginning with `timing: Timing, settings: Settings`
//
// and, if it works element by element, the declarations listed in shared/elements.wgsl. The loop of kernels that sum
// over each tensor is in shared/chunks.wgsl.
//
// A skipped step stores the values it has loaded: a test would cost software drivers more than the stores.
//
// twin: crates/tensor/src/optim/elements.rs

// Whether parameters differ by tensor: by group, or by a clip factor per tensor.
override SEGMENTED: bool = false;
// Whether each element of the gradient is clipped to -clip_value ... clip_value.
override CLIP_VALUE: bool = false;

// Settings common to all methods.
struct Settings {
    weight_decay: f32,
    // One of the three constants below.
    decay: u32,
    maximize: u32,
    vectors: u32,
    momentum: f32,
    clip_value: f32,
    // Where the rows of this page begin in the table.
    first_row: u32,
    // 0, known only to the host: see shared/self_clock.wgsl.
    zero: u32,
}

// Weight decay is added to the gradient,
const COUPLED = 0u;
// or weights decay separately,
const DECOUPLED = 1u;
// or the method's rule defines it.
const BY_RULE = 2u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read> table: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> clock: Clock;

// Values common to all elements, by the rules that all methods share.
struct Step {
    skip: bool,
    // The clip factor, negated if the method maximizes.
    grad_factor: f32,
    // The factor of a parameter under decoupled weight decay; 1 if decay is not decoupled.
    kept: f32,
    // Weight decay that is added to the gradient; 0 if decay is not coupled.
    coupled_decay: f32,
    weight_decay: f32,
    // The momentum, or the decay rate of the first moment.
    momentum: f32,
    one_minus_momentum: f32,
}

fn step_of(now: Now) -> Step {
    return Step(
        now.clip_factor < 0.0,
        select(now.clip_factor, -now.clip_factor, params.settings.maximize != 0u),
        select(1.0, 1.0 - now.learning_rate * now.weight_decay, params.settings.decay == DECOUPLED),
        select(0.0, now.weight_decay, params.settings.decay == COUPLED),
        now.weight_decay,
        now.momentum,
        now.one_minus_momentum,
    );
}

// Returns the time for a vector of parameters. A row of the table holds the values of 64 parameters of one tensor:
// the scale of its learning rate, negative if it is frozen; its weight decay, negative if the common one applies; its
// clip factor; and a factor that its method computes from its norms.
fn time_of(i: u32, now: Now) -> Now {
    var own = now;
    if (SEGMENTED) {
        let row = table[params.settings.first_row + i / 16u];
        own.learning_rate *= row.x;
        own.weight_decay = select(now.weight_decay, row.y, row.y >= 0.0);
        own.own_factor = row.w;
        own.clip_factor = select(now.clip_factor * row.z, -1.0, row.x < 0.0 || now.clip_factor < 0.0);
    }
    return own;
}

// Returns the gradient of a vector of parameters: clipped, negated if the method maximizes, with coupled decay.
fn gradient(i: u32, value: vec4f, step: Step) -> vec4f {
    var grad = grads[i];
    if (CLIP_VALUE) {
        let most = vec4f(params.settings.clip_value);
        // Comparisons, so that a NaN propagates.
        grad = select(grad, most, grad > most);
        grad = select(grad, -most, grad < -most);
    }
    return step.grad_factor * grad + step.coupled_decay * value;
}

// Returns -1, 0 or 1; a NaN propagates, as in PyTorch.
fn sign_of(x: vec4f) -> vec4f {
    return select(sign(x), x, (bitcast<vec4u>(x) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u));
}

// Returns the value to store: the old one if the step is skipped.
fn stored(old: vec4f, next: vec4f, step: Step) -> vec4f {
    return select(next, old, step.skip);
}
