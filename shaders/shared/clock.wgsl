// The clock of a training run: what changes from step to step, on the device, advanced by the step itself.
//
// twin: crates/tensor/src/optim/clock.rs
//
// Bias corrections 1 - beta^t follow c' = c + (1 - beta) (1 - c): exact at the first step, tending to exactly 1, where
// a power of beta in f32 would be off by the rounding of beta from the first step on.

struct Clock {
    learning_rate: f32,
    bias_correction1: f32,
    bias_correction2: f32,
    // What gradients are multiplied by; negative where the update is to be skipped.
    clip_factor: f32,
    step: u32,
    skipped: u32,
    clipped: u32,
    finished: atomic<u32>,
    gradient_norm: f32,
    gradient_norm_sum: f32,
    // Entries of the table of learning rates that count.
    schedule_length: u32,
    padding: u32,
}

// The part of the clock that an update reads.
struct Now {
    learning_rate: f32,
    bias_correction1: f32,
    bias_correction2: f32,
    clip_factor: f32,
    // The number of this step, from 1 on.
    step: u32,
}

fn next_correction(correction: f32, one_minus_beta: f32) -> f32 {
    return correction + one_minus_beta * (1.0 - correction);
}
