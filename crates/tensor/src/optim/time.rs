//! The time in the clock, how it advances, and the part that an update uses. Twin of `shaders/shared/clock.wgsl` and
//! `shaders/shared/self_clock.wgsl`.

use super::table::Row;

/// The clock in its layout on the device. Twin of `Clock` in `shaders/shared/clock.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ClockWords {
    pub(crate) learning_rate: f32,
    pub(crate) bias_correction1: f32,
    pub(crate) bias_correction2: f32,
    /// The factor of the gradients; negative if the update is skipped.
    pub clip_factor: f32,
    /// The number of this step, from 1.
    pub step: u32,
    pub(crate) skipped: u32,
    pub(crate) clipped: u32,
    pub(crate) finished: u32,
    pub(crate) gradient_norm: f32,
    pub(crate) gradient_norm_sum: f32,
    /// The number of valid rows of the schedule, and where they begin in the table.
    schedule_length: u32,
    schedule_start: u32,
    /// State of a method that depends on time, besides the bias corrections: see [`Extra`].
    pub(crate) extra: [f32; 2],
    /// The schedule's weight decay and momentum; negative if it sets none.
    weight_decay: f32,
    momentum: f32,
    one_minus_momentum: f32,
    /// The first step that was skipped, counting skipped steps; 0 if there is none.
    pub(crate) first_skipped: u32,
    /// Norms of the last update, and of the parameters before it, if enabled.
    pub(crate) update_norm: f32,
    pub(crate) weight_norm: f32,
    /// The factor of the loss, and the steps since it changed; 0 if the loss is not scaled.
    pub(crate) loss_scale: f32,
    pub(crate) growth_tracker: u32,
}

impl ClockWords {
    /// Returns the row of the schedule for a step; the last one after its end.
    pub(super) fn row(&self, table: &[Row], position: u32) -> Row {
        let row = self.schedule_start + position.min(self.schedule_length - 1);
        // A table that is too short for the schedule is read at its end, as on a GPU.
        table[(row as usize).min(table.len() - 1)]
    }

    pub(super) fn take_row(&mut self, row: Row) {
        [self.learning_rate, self.weight_decay, self.momentum, self.one_minus_momentum] = row.0;
    }

    /// Advances the bias corrections and the method's extra state by one step.
    pub(super) fn go_on(&mut self, next_rate: f32, timing: Timing) {
        let timing = Timing { one_minus_beta1: scheduled(self.one_minus_momentum, timing.one_minus_beta1), ..timing };
        self.bias_correction1 = next_correction(self.bias_correction1, timing.one_minus_beta1);
        self.bias_correction2 = next_correction(self.bias_correction2, timing.one_minus_beta2);
        self.extra = next_extra(self.extra, self.step, next_rate, timing);
    }
}

/// Returns the value of the schedule, or the setting if the schedule has none.
fn scheduled(from_schedule: f32, from_settings: f32) -> f32 {
    if from_schedule >= 0.0 { from_schedule } else { from_settings }
}

/// The time of a parameter: the part of the clock that an update reads, with settings that a schedule may override.
/// Twin of `Now` in `shaders/shared/clock.wgsl`.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The learning rate of this step, times the scale of the parameter's group.
    pub learning_rate: f32,
    /// 1 - beta1ᵗ.
    pub bias_correction1: f32,
    /// 1 - beta2ᵗ.
    pub bias_correction2: f32,
    /// The factor of the gradients; negative if the update is skipped.
    pub clip_factor: f32,
    /// The quantities that the clock keeps besides the bias corrections: see [`Extra`].
    pub extra: [f32; 2],
    /// The number of this step, from 1.
    pub step: u32,
    /// The weight decay of the schedule, the group or the settings.
    pub weight_decay: f32,
    /// The momentum, or the decay rate of the first moment.
    pub momentum: f32,
    /// 1 - momentum.
    pub one_minus_momentum: f32,
    /// The factor that a method has computed from the norms of the parameter's tensor; 1 without one.
    pub own_factor: f32,
}

impl Now {
    /// Returns the learning rate over the first bias correction, and the inverse root of the second. Twin of
    /// `shaders/shared/moments.wgsl`.
    #[inline]
    #[must_use]
    pub fn moment_factors(&self) -> (f32, f32) {
        (self.learning_rate / self.bias_correction1, 1.0 / self.bias_correction2.sqrt())
    }

    /// Returns the weight of the newest point in the average of a schedule-free method; 0 while all learning rates
    /// were 0.
    #[inline]
    #[must_use]
    pub fn newest_share(&self) -> f32 {
        let [largest, sum] = self.extra;
        if sum > 0.0 { largest * largest / sum } else { 0.0 }
    }

    /// Returns 1 - beta1 (1 - c), the fraction of a step that a schedule-free method applies at once. It is computed
    /// from the complement of beta1, so that no digits cancel.
    #[inline]
    #[must_use]
    pub fn direct_share(&self) -> f32 {
        self.one_minus_momentum + self.momentum * self.newest_share()
    }
}

/// The index of [`ClockWords::schedule_length`], which `schedule_start` follows.
pub(super) const SCHEDULE: usize = std::mem::offset_of!(ClockWords, schedule_length) / 4;

/// Returns the number of steps that a clock has counted, done and skipped. `shaders/tensor/sample_classes.wgsl`
/// depends on their indices.
pub(crate) fn steps_of(clock: &[u32]) -> u32 {
    clock[STEP].wrapping_add(clock[STEP + 1])
}

/// The index of [`ClockWords::first_skipped`].
pub(super) const FIRST_SKIPPED: usize = std::mem::offset_of!(ClockWords, first_skipped) / 4;

/// The index of [`ClockWords::step`], which `skipped` follows.
pub(super) const STEP: usize = std::mem::offset_of!(ClockWords, step) / 4;

const _: () = assert!(STEP == 4, "the shaders that sample count on it");

/// How a method's clock advances from step to step. Twin of `Timing` in `shaders/shared/clock.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Timing {
    pub(crate) one_minus_beta1: f32,
    pub(crate) one_minus_beta2: f32,
    /// Another rate, and its purpose.
    pub(crate) extra_rate: f32,
    extra: u32,
}

/// The quantities that the clock keeps for a method besides the bias corrections. Twin of the constants in
/// `shaders/shared/clock.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// Adan: 1 - beta3^t.
    ThirdMoment = 1,
    /// NAdam: d = 0.96^(t momentum_decay), from which mu = beta1 (1 - d / 2); and 1 - mu_1 mu_2 … mu_t.
    MomentumDecay = 2,
    /// RAdam: beta2^t, and the sum of beta2^i - beta2^t over i < t.
    Rectification = 3,
    /// Schedule-free methods: the largest learning rate, and the sum of its squares, the weights of the average.
    ScheduleFree = 4,
}

/// Advances a method's extra state by one step. `step` is the number of the step that begins, `next_rate` the
/// learning rate of the step after it. Twin of `next_extra` in `shaders/shared/clock.wgsl`.
fn next_extra(old: [f32; 2], step: u32, next_rate: f32, timing: Timing) -> [f32; 2] {
    let first = step == 1;
    if timing.extra == Extra::ThirdMoment as u32 {
        [next_correction(old[0], timing.extra_rate), 0.0]
    } else if timing.extra == Extra::MomentumDecay as u32 {
        // A power that is reduced by a fraction of itself keeps its relative accuracy.
        let before = if first { 1.0 } else { old[0] };
        let d = before - timing.extra_rate * before;
        let one_minus_mu = timing.one_minus_beta1 + (1.0 - timing.one_minus_beta1) * (0.5 * d);
        [d, next_correction(old[1], one_minus_mu)]
    } else if timing.extra == Extra::Rectification as u32 {
        // All terms of the sum are positive: the length of the average follows from it without cancellation.
        let before = if first { 1.0 } else { old[0] };
        let power = before - timing.one_minus_beta2 * before;
        [power, old[1] + step as f32 * (timing.one_minus_beta2 * before)]
    } else if timing.extra == Extra::ScheduleFree as u32 {
        let largest = old[0].max(next_rate);
        [largest, old[1] + largest * largest]
    } else {
        [0.0; 2]
    }
}

impl Timing {
    /// Returns the timing of bias corrections with these decay rates of the first and the second moment.
    #[must_use]
    pub fn of_betas((beta1, beta2): (f64, f64)) -> Self {
        Self { one_minus_beta1: (1.0 - beta1) as f32, one_minus_beta2: (1.0 - beta2) as f32, extra_rate: 0.0, extra: 0 }
    }

    /// Adds quantities besides the bias corrections, with the rate that they need.
    #[must_use]
    pub fn with_extra(self, extra: Extra, rate: f64) -> Self {
        Self { extra_rate: rate as f32, extra: extra as u32, ..self }
    }

    /// Returns the timing with another rate of the first moment.
    pub(crate) fn with_one_minus_beta1(self, one_minus_beta1: f32) -> Self {
        Self { one_minus_beta1, ..self }
    }

    /// Returns the timing of a method without bias corrections.
    #[must_use]
    pub fn without_betas() -> Self {
        Self::of_betas((0.0, 0.0))
    }
}

/// Returns the time of an update, and the clock to store. Twin of `current_time` in `shaders/shared/self_clock.wgsl`;
/// `weight_decay` and `momentum` are the settings.
pub(crate) fn current_time(
    clock: &ClockWords,
    table: &[Row],
    timing: Timing,
    (weight_decay, momentum): (f32, f32),
    self_clocked: bool,
) -> (Now, ClockWords) {
    let mut next = *clock;
    if self_clocked {
        let position = clock.step + clock.skipped;
        (next.clip_factor, next.step) = (1.0, clock.step + 1);
        next.take_row(clock.row(table, position));
        next.go_on(clock.row(table, position + 1).0[0], timing);
    }
    let now = Now {
        learning_rate: next.learning_rate,
        bias_correction1: next.bias_correction1,
        bias_correction2: next.bias_correction2,
        clip_factor: next.clip_factor,
        extra: next.extra,
        step: next.step,
        weight_decay: scheduled(next.weight_decay, weight_decay),
        momentum: scheduled(next.momentum, momentum),
        one_minus_momentum: scheduled(next.one_minus_momentum, timing.one_minus_beta1),
        own_factor: 1.0,
    };
    (now, next)
}

/// Returns 1 - beta^t from 1 - beta^(t - 1). This is exact at the first step and tends to 1; rounding leaves it at
/// most 2^-25 / (1 - beta) below.
fn next_correction(correction: f32, one_minus_beta: f32) -> f32 {
    correction + one_minus_beta * (1.0 - correction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_follow_the_powers() {
        let mut correction = 0f32;
        for t in 1..=2000 {
            correction = next_correction(correction, 0.001);
            let exact = 1.0 - 0.999f64.powi(t);
            approx::assert_relative_eq!(f64::from(correction), exact, max_relative = 1e-6);
        }
    }

    #[test]
    fn what_methods_keep_of_time_is_exact_over_long_runs() {
        let (beta1, beta2, momentum_decay) = (0.9f64, 0.999f64, 0.004f64);
        let betas = Timing::of_betas((beta1, beta2));
        let nadam = betas.with_extra(Extra::MomentumDecay, 1.0 - 0.96f64.powf(momentum_decay));
        let radam = betas.with_extra(Extra::Rectification, 0.0);
        let (mut decays, mut sums, mut product, mut correction) = ([0f32; 2], [0f32; 2], 1.0, 0f32);
        for t in 1..=100_000u32 {
            decays = next_extra(decays, t, 0.1, nadam);
            sums = next_extra(sums, t, 0.1, radam);
            correction = next_correction(correction, radam.one_minus_beta2);
            let decay = 0.96f64.powf(f64::from(t) * momentum_decay);
            product *= beta1 * (1.0 - 0.5 * decay);
            if decay > 1e-6 {
                approx::assert_relative_eq!(f64::from(decays[0]), decay, max_relative = 2e-5);
            }
            approx::assert_relative_eq!(f64::from(decays[1]), 1.0 - product, max_relative = 1e-6);
            // The length of the average, RAdam's rho: 2 / (1 - beta2) - 1 - 2 t beta2^t / (1 - beta2^t).
            let power = beta2.powf(f64::from(t));
            let rho = 2.0 / (1.0 - beta2) - 1.0 - 2.0 * f64::from(t) * power / (1.0 - power);
            let got = f64::from(2.0 * sums[1] / correction - 1.0);
            let allowed = if t <= 1000 { 2e-6 } else { 2e-4 };
            approx::assert_relative_eq!(got, rho, max_relative = allowed);
        }
    }
}
