//! Schedules that begin with a warm-up.

use super::curve::Curve;
use super::{Schedule, check_fall, check_positive, setting};
use crate::Result;
use crate::setting::{check, not_negative};

/// A rise from `initial_lr` to the first value of another schedule, which then follows from its own step 0.
///
/// With w = `warmup_steps` and a = `then.at(0)`: for step < w the curve from `initial_lr` to a, at the fraction step /
/// w; from step w on `then.at(step − w)`. A line gives `initial_lr + (a − initial_lr) step / w`, an exponential curve
/// `initial_lr (a / initial_lr)^(step / w)`.
///
/// In PyTorch a `SequentialLR` of `LinearLR` and another one; in optax `join_schedules` after `linear_schedule`, as in
/// `warmup_constant_schedule` and `warmup_exponential_decay_schedule`. For a warm-up that multiplies a running
/// schedule, use a [`Chain`](super::Chain) with a [`LinearRamp`](super::LinearRamp) from a factor to 1.
///
/// Source: Goyal et al.: Accurate, large minibatch SGD, training ImageNet in 1 hour (2017).
///
/// ```
/// use thalweg_nn::{InverseTime, Schedule, Warmup};
/// let schedule = Warmup::linear(InverseTime { lr: 0.1, decay_rate: 0.01 }, 4);
/// for (step, value) in [(0, 0.02), (1, 0.04), (4, 0.1), (104, 0.05)] {
///     assert!((schedule.at(step) - value).abs() < 1e-15);
/// }
/// ```
#[derive(Debug)]
pub struct Warmup {
    /// The value of the first step; unused if `warmup_steps` is 0.
    pub initial_lr: f64,
    /// The number of steps of the rise.
    pub warmup_steps: u64,
    /// The curve of the rise.
    pub curve: Curve,
    /// The schedule after the warm-up.
    pub then: Box<dyn Schedule>,
}

impl Warmup {
    /// Rises along a line to the first value of `then`, in `warmup_steps + 1` equal increments. The first step has a
    /// rate above 0.
    #[must_use]
    pub fn linear(then: impl Schedule + 'static, warmup_steps: u64) -> Self {
        let initial_lr = then.at(0) / (warmup_steps as f64 + 1.0);
        Self { initial_lr, warmup_steps, curve: Curve::Linear, then: Box::new(then) }
    }

    /// Rises by the same factor at every step.
    #[must_use]
    pub fn exponential(then: impl Schedule + 'static, initial_lr: f64, warmup_steps: u64) -> Self {
        Self { initial_lr, warmup_steps, curve: Curve::Exponential, then: Box::new(then) }
    }
}

impl Schedule for Warmup {
    fn at(&self, step: u64) -> f64 {
        match step.checked_sub(self.warmup_steps) {
            None => self.curve.step(self.initial_lr, self.then.at(0), step, self.warmup_steps),
            Some(after) => self.then.at(after),
        }
    }

    fn validate(&self) -> Result<()> {
        self.then.validate()?;
        not_negative("initial_lr", self.initial_lr)?;
        if self.warmup_steps > 0 {
            self.curve.check_end("initial_lr", self.initial_lr)?;
            self.curve.check_end("lr", self.then.at(0))?;
        }
        Ok(())
    }

    fn warmup_steps(&self) -> u64 {
        self.warmup_steps.saturating_add(self.then.warmup_steps())
    }

    fn settles(&self) -> Option<u64> {
        Some(self.then.settles()?.saturating_add(self.warmup_steps))
    }
}

/// A value that rises along a line and then falls as the inverse square root of the step; Noam's schedule.
///
/// With s = step + 1 and w = `warmup_steps`: `lr · s / w` for s < w, then `lr √(w / s)`. Step w − 1 uses `lr`.
///
/// Neither PyTorch nor optax has it.
///
/// Source: Vaswani et al.: Attention is all you need (NeurIPS 2017), equation 3.
///
/// ```
/// use thalweg_nn::{InverseSqrt, Schedule};
/// let schedule = InverseSqrt { lr: 0.1, warmup_steps: 100 };
/// assert_eq!([49, 99, 399].map(|step| schedule.at(step)), [0.05, 0.1, 0.05]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InverseSqrt {
    /// The largest value.
    pub lr: f64,
    /// The number of steps of the rise.
    pub warmup_steps: u64,
}

impl InverseSqrt {
    /// Makes the schedule of the paper, by the width of the model: `d^−0.5 · min(s^−0.5, s · w^−1.5)`, so that `lr` is
    /// `(d · w)^−0.5`.
    #[must_use]
    pub fn noam(model_width: u64, warmup_steps: u64) -> Self {
        Self { lr: (model_width as f64 * warmup_steps as f64).sqrt().recip(), warmup_steps }
    }
}

impl Schedule for InverseSqrt {
    fn at(&self, step: u64) -> f64 {
        let (count, warmup) = (step as f64 + 1.0, self.warmup_steps as f64);
        self.lr * if count < warmup { count / warmup } else { (warmup / count).sqrt() }
    }

    fn validate(&self) -> Result<()> {
        check_positive("warmup_steps", self.warmup_steps)?;
        not_negative("lr", self.lr)
    }

    fn warmup_steps(&self) -> u64 {
        // A warm-up of a single step is none: that step uses `lr`.
        if self.warmup_steps == 1 { 0 } else { self.warmup_steps }
    }
}

/// A value that rises along a line, stays, and falls at the end (WSD, trapezoid).
///
/// With w = `warmup_steps` and d = `decay_steps`: `lr (step + 1) / w` for step < w; `lr` up to step `steps` − d; then
/// the curve from `lr` to `min_lr`, at the fraction (step − steps + d) / d; then `min_lr`. `steps` includes all three
/// phases. The fall can begin from any checkpoint of the stable phase, so that one run serves many lengths.
///
/// Neither PyTorch nor optax has it.
///
/// Sources: Hu et al.: MiniCPM, unveiling the potential of small language models with scalable training strategies
/// (COLM 2024); Hägele et al.: Scaling laws and compute-optimal training beyond fixed training durations (NeurIPS
/// 2024).
///
/// ```
/// use thalweg_nn::{Schedule, WarmupStableDecay};
/// let schedule = WarmupStableDecay::new(0.1, 5, 100);
/// assert_eq!([4, 80, 85, 100].map(|step| schedule.at(step)), [0.1, 0.1, 0.05, 0.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmupStableDecay {
    /// The largest value.
    pub lr: f64,
    /// The last value.
    pub min_lr: f64,
    /// The number of steps of the rise.
    pub warmup_steps: u64,
    /// The number of steps of the fall.
    pub decay_steps: u64,
    /// The total number of steps.
    pub steps: u64,
    /// The curve of the fall.
    pub curve: Curve,
}

impl WarmupStableDecay {
    /// Falls to 0 in the last fifth of the steps, or in fewer if the warm-up leaves fewer, by [`Curve::SquareRoot`].
    #[must_use]
    pub fn new(lr: f64, warmup_steps: u64, steps: u64) -> Self {
        let decay_steps = (steps / 5).min(steps.saturating_sub(warmup_steps));
        Self { lr, min_lr: 0.0, warmup_steps, decay_steps, steps, curve: Curve::SquareRoot }
    }
}

impl Schedule for WarmupStableDecay {
    fn at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.lr * ((step as f64 + 1.0) / self.warmup_steps as f64);
        }
        match step.checked_sub(self.steps.saturating_sub(self.decay_steps)) {
            None => self.lr,
            Some(fallen) => self.curve.step(self.lr, self.min_lr, fallen, self.decay_steps),
        }
    }

    fn validate(&self) -> Result<()> {
        check_fall(self.lr, self.min_lr)?;
        if self.warmup_steps >= self.steps {
            return Err(setting("warmup_steps", self.warmup_steps, "less than the number of all steps"));
        }
        let rest = self.steps - self.warmup_steps;
        check("decay_steps", self.decay_steps, self.decay_steps <= rest, "at most the steps that the warm-up leaves")?;
        self.curve.check_end("lr", self.lr)?;
        self.curve.check_end("min_lr", self.min_lr)
    }

    fn warmup_steps(&self) -> u64 {
        self.warmup_steps
    }

    fn settles(&self) -> Option<u64> {
        Some(self.steps)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_values, message};
    use super::super::{Constant, WarmupCosine};
    use super::*;

    #[test]
    fn closed_forms() {
        let then = || Constant { lr: 0.8 };
        assert_values(&Warmup::exponential(then(), 0.05, 4), &[(0, 0.05), (1, 0.1), (3, 0.4), (4, 0.8), (9, 0.8)]);
        assert_values(&Warmup::linear(then(), 0), &[(0, 0.8)]);
        // The same schedule, composed differently.
        let ours = WarmupCosine::new(0.3, 7, 100);
        let parts = Warmup::linear(super::super::Cosine { lr: 0.3, min_lr: 0.0, steps: 93 }, 7);
        assert!((0..120).all(|step| ours.at(step) == parts.at(step)));
        let noam = InverseSqrt::noam(16, 4);
        assert_values(&noam, &[(0, 1.0 / 32.0), (1, 1.0 / 16.0), (3, 0.125), (15, 0.0625)]);
        let wsd = WarmupStableDecay { curve: Curve::Linear, min_lr: 0.1, ..WarmupStableDecay::new(0.5, 0, 10) };
        assert_values(&wsd, &[(0, 0.5), (8, 0.5), (9, 0.3), (10, 0.1), (u64::MAX, 0.1)]);
        assert_values(&WarmupStableDecay { decay_steps: 0, ..wsd }, &[(9, 0.5), (10, 0.1)]);
    }

    #[test]
    fn wrong_settings_are_named() {
        let then = |lr| Constant { lr };
        assert!(message(&Warmup::linear(then(-1.0), 3)).starts_with("lr = -1"));
        let rule = "but it must be greater than 0 where the curve is exponential";
        assert_eq!(message(&Warmup::exponential(then(1.0), 0.0, 3)), format!("initial_lr = 0, {rule}"));
        assert_eq!(message(&Warmup::exponential(then(0.0), 0.1, 3)), format!("lr = 0, {rule}"));
        assert!(message(&Warmup::exponential(then(1.0), f64::NAN, 3)).starts_with("initial_lr = NaN"));
        assert!(message(&InverseSqrt { lr: 1.0, warmup_steps: 0 }).starts_with("warmup_steps = 0, but it must be at"));
        assert!(message(&InverseSqrt::noam(0, 3)).starts_with("lr = inf"));
        let wsd = WarmupStableDecay::new(0.1, 10, 10);
        assert!(message(&wsd).starts_with("warmup_steps = 10, but it must be less than the number of all steps"));
        let late = WarmupStableDecay { warmup_steps: 5, decay_steps: 6, ..wsd };
        assert!(
            message(&late).starts_with("decay_steps = 6, but it must be at most the steps that the warm-up leaves")
        );
        let sharp = WarmupStableDecay { warmup_steps: 5, curve: Curve::Exponential, ..wsd };
        assert_eq!(message(&sharp), format!("min_lr = 0, {rule}"));
        // None of them panics without the check.
        assert_eq!(late.at(4), 0.1);
        assert_eq!(InverseSqrt { lr: 1.0, warmup_steps: 0 }.at(0), 0.0);
    }
}
