// The clock of a training run: the values that change from step to step, on the device, advanced by the step itself.
//
// twin: crates/tensor/src/optim/time.rs
//
// Bias corrections 1 - beta^t follow c' = c + (1 - beta) (1 - c). This is exact at the first step and tends to 1. A
// power of beta in f32 would be off by the rounding of beta from the first step on.

// Fields that a launch may both read and store are atomic in kernels that advance the clock themselves
// (shared/self_clock.wgsl), and plain in all others (shared/plain_clock.wgsl).
struct Clock {
    learning_rate: f32,
    bias_correction1: ClockNumber,
    bias_correction2: ClockNumber,
    // The factor of the gradients; negative if the update is skipped.
    clip_factor: f32,
    step: ClockCount,
    skipped: u32,
    clipped: u32,
    // Workgroups that have finished.
    finished: ClockCount,
    gradient_norm: f32,
    gradient_norm_sum: f32,
    // The number of valid rows of the schedule, and where they begin in the table.
    schedule_length: u32,
    schedule_start: u32,
    // State of a method that depends on time, besides the bias corrections: see `next_extra`.
    extra1: ClockNumber,
    extra2: ClockNumber,
    // The schedule's weight decay and momentum; negative if it sets none.
    weight_decay: f32,
    momentum: f32,
    one_minus_momentum: f32,
    // The first step that was skipped, counting skipped steps; 0 if there is none.
    first_skipped: u32,
    // Statistics of the last update, if enabled: its 2-norm, and the 2-norm of the parameters before it.
    update_norm: f32,
    weight_norm: f32,
    // The factor of the loss, and the steps since it changed; 0 if the loss is not scaled.
    loss_scale: f32,
    growth_tracker: u32,
}

// A step of the schedule is a row of the table: learning rate, weight decay, momentum, 1 - momentum. The last three
// are negative if the settings of the method apply.
fn schedule_row(position: u32, length: u32, start: u32) -> u32 {
    return start + min(position, length - 1u);
}

// Returns the value of the schedule, or the setting if the schedule has none.
fn scheduled(from_schedule: f32, from_settings: f32) -> f32 {
    return select(from_settings, from_schedule, from_schedule >= 0.0);
}

// How an update advances its time.
struct Timing {
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    // Another rate, and its purpose.
    extra_rate: f32,
    extra: u32,
}

// The part of the clock that an update reads.
struct Now {
    learning_rate: f32,
    bias_correction1: f32,
    bias_correction2: f32,
    clip_factor: f32,
    extra1: f32,
    extra2: f32,
    // The number of this step, starting at 1.
    step: u32,
    weight_decay: f32,
    // The momentum, or the decay rate of the first moment.
    momentum: f32,
    one_minus_momentum: f32,
    // A factor that a method computes from the norms of a tensor: see shared/update.wgsl.
    own_factor: f32,
}

const NO_EXTRA = 0u;
const THIRD_MOMENT = 1u;
const MOMENTUM_DECAY = 2u;
const RECTIFICATION = 3u;
const SCHEDULE_FREE = 4u;

// Advances a method's extra state by one step. `step` is the number of the step that begins, `next_rate` the learning
// rate of the step after it.
fn next_extra(extra: u32, old: vec2f, step: u32, next_rate: f32, timing: Timing) -> vec2f {
    let first = step == 1u;
    switch extra {
        // Adan: the bias correction 1 - beta3^t of its third moment.
        case THIRD_MOMENT: {
            return vec2f(next_correction(old.x, timing.extra_rate), 0.0);
        }
        // NAdam: d = 0.96^(t momentum_decay), from which mu = beta1 (1 - d / 2); and 1 - mu_1 mu_2 ... mu_t, which is
        // advanced like a bias correction. A power that is reduced by a fraction of itself keeps its relative
        // accuracy.
        case MOMENTUM_DECAY: {
            let before = select(old.x, 1.0, first);
            let d = before - timing.extra_rate * before;
            let one_minus_mu = timing.one_minus_beta1 + (1.0 - timing.one_minus_beta1) * (0.5 * d);
            return vec2f(d, next_correction(old.y, one_minus_mu));
        }
        // RAdam: p = beta2^t, and the sum of beta2^i - beta2^t over i < t, in which all terms are positive. The
        // length of the average follows from it without cancellation.
        case RECTIFICATION: {
            let before = select(old.x, 1.0, first);
            let p = before - timing.one_minus_beta2 * before;
            return vec2f(p, old.y + f32(step) * (timing.one_minus_beta2 * before));
        }
        // Schedule-free methods: the largest learning rate, and the sum of its squares, the weights of the average.
        // As in optax, the rate is that of the next step, so that a warm-up from 0 has a weight.
        case SCHEDULE_FREE: {
            let largest = max(old.x, next_rate);
            return vec2f(largest, old.y + largest * largest);
        }
        default: {
            return vec2f(0.0);
        }
    }
}

// Returns the weight of the newest point in the average of a schedule-free method; 0 while all learning rates were 0.
fn newest_share(now: Now) -> f32 {
    return select(0.0, now.extra1 * now.extra1 / now.extra2, now.extra2 > 0.0);
}

// Returns 1 - beta1 (1 - c), the fraction of a step that a schedule-free method applies at once. It is computed from
// the complement of beta1, so that no digits cancel if beta1 is close to 1.
fn direct_share(now: Now) -> f32 {
    return now.one_minus_momentum + now.momentum * newest_share(now);
}

fn next_correction(correction: f32, one_minus_beta: f32) -> f32 {
    return correction + one_minus_beta * (1.0 - correction);
}
