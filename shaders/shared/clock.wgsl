// The clock of a training run: what changes from step to step, on the device, advanced by the step itself.
//
// twin: crates/tensor/src/optim/time.rs
//
// Bias corrections 1 - beta^t follow c' = c + (1 - beta) (1 - c): exact at the first step, tending to 1, where
// a power of beta in f32 would be off by the rounding of beta from the first step on.

// What a launch may both read and store is atomic in kernels that advance the clock themselves
// (shared/self_clock.wgsl), and plain in all others (shared/plain_clock.wgsl).
struct Clock {
    learning_rate: f32,
    bias_correction1: ClockNumber,
    bias_correction2: ClockNumber,
    // What gradients are multiplied by; negative where the update is to be skipped.
    clip_factor: f32,
    step: ClockCount,
    skipped: u32,
    clipped: u32,
    // Workgroups that have finished.
    finished: ClockCount,
    gradient_norm: f32,
    gradient_norm_sum: f32,
    // Rows of the schedule that count, and where they begin in the table.
    schedule_length: u32,
    schedule_start: u32,
    // What a method keeps of time beside the bias corrections: see `next_extra`.
    extra1: ClockNumber,
    extra2: ClockNumber,
    // What the schedule says of weight decay and momentum; negative where it says nothing.
    weight_decay: f32,
    momentum: f32,
    one_minus_momentum: f32,
    // The step, skipped ones counted too, that was skipped first; 0 where none was.
    first_skipped: u32,
    // Statistics of the last update, where they are asked for: its 2-norm, and that of the parameters before it.
    update_norm: f32,
    weight_norm: f32,
    // What the loss is multiplied by, and the steps since it changed; 0 where it is not.
    loss_scale: f32,
    growth_tracker: u32,
}

// A step of the schedule, a row of the table: learning rate, weight decay, momentum, 1 - momentum. The last three are
// negative where the settings of the method hold.
fn schedule_row(position: u32, length: u32, start: u32) -> u32 {
    return start + min(position, length - 1u);
}

// What the schedule says, or where it says nothing the settings.
fn scheduled(from_schedule: f32, from_settings: f32) -> f32 {
    return select(from_settings, from_schedule, from_schedule >= 0.0);
}

// What an update says of how its time goes on.
struct Timing {
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    // Another rate, and what it is for.
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
    // The number of this step, from 1 on.
    step: u32,
    weight_decay: f32,
    // The momentum, or the decay rate of the first moment.
    momentum: f32,
    one_minus_momentum: f32,
    // What a method has worked out from the norms of a tensor: see shared/update.wgsl.
    own_factor: f32,
}

const NO_EXTRA = 0u;
const THIRD_MOMENT = 1u;
const MOMENTUM_DECAY = 2u;
const RECTIFICATION = 3u;
const SCHEDULE_FREE = 4u;

// What a method keeps of time, one step on; `step` is the number of the step that begins, `next_rate` the learning rate
// of the one behind it.
fn next_extra(extra: u32, old: vec2f, step: u32, next_rate: f32, timing: Timing) -> vec2f {
    let first = step == 1u;
    switch extra {
        // Adan: the bias correction 1 - beta3^t of its third moment.
        case THIRD_MOMENT: {
            return vec2f(next_correction(old.x, timing.extra_rate), 0.0);
        }
        // NAdam: d = 0.96^(t momentum_decay), of which mu = beta1 (1 - d / 2); and 1 - mu_1 mu_2 ... mu_t, which goes on
        // as a bias correction does. A power that is lessened by a share of itself keeps its relative accuracy.
        case MOMENTUM_DECAY: {
            let before = select(old.x, 1.0, first);
            let d = before - timing.extra_rate * before;
            let one_minus_mu = timing.one_minus_beta1 + (1.0 - timing.one_minus_beta1) * (0.5 * d);
            return vec2f(d, next_correction(old.y, one_minus_mu));
        }
        // RAdam: p = beta2^t, and the sum of beta2^i - beta2^t over i < t, in which all terms are positive: the length
        // of the average follows from it without cancellation.
        case RECTIFICATION: {
            let before = select(old.x, 1.0, first);
            let p = before - timing.one_minus_beta2 * before;
            return vec2f(p, old.y + f32(step) * (timing.one_minus_beta2 * before));
        }
        // Schedule-free methods: the largest learning rate, and the sum of its squares, the weights of the average. The
        // rate is that of the step which follows, as optax has it, so that a warm-up from 0 has a weight.
        case SCHEDULE_FREE: {
            let largest = max(old.x, next_rate);
            return vec2f(largest, old.y + largest * largest);
        }
        default: {
            return vec2f(0.0);
        }
    }
}

// The share that the newest point has in the average of a schedule-free method; 0 while all learning rates were 0.
fn newest_share(now: Now) -> f32 {
    return select(0.0, now.extra1 * now.extra1 / now.extra2, now.extra2 > 0.0);
}

// 1 - beta1 (1 - c), the share of a step that a schedule-free method takes at once: where beta1 is close to 1, from its
// complement, so that no digits cancel.
fn direct_share(now: Now) -> f32 {
    return now.one_minus_momentum + now.momentum * newest_share(now);
}

fn next_correction(correction: f32, one_minus_beta: f32) -> f32 {
    return correction + one_minus_beta * (1.0 - correction);
}
