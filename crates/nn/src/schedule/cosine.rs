//! Schedules that fall along half a cosine.

use super::curve::Curve;
use super::{Schedule, check_fall, check_positive, setting};
use crate::Result;
use crate::setting::not_negative;

/// A value that falls along half a cosine from `lr` to `min_lr` and stays there:
/// `min_lr + (lr − min_lr) (1 + cos(π step / steps)) / 2`.
///
/// PyTorch's `CosineAnnealingLR` up to `T_max = steps`. After that step PyTorch's rate rises again to `lr` and falls
/// again: use an [`Interpolated`](super::Interpolated) with [`Curve::Cosine`] for this, or for a value that rises along
/// half a cosine. Optax's `cosine_decay_schedule` with `alpha = min_lr / lr`.
///
/// Source: Loshchilov, Hutter: SGDR, stochastic gradient descent with warm restarts (ICLR 2017), without restarts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cosine {
    /// The first value.
    pub lr: f64,
    /// The last value.
    pub min_lr: f64,
    /// The number of steps of the fall.
    pub steps: u64,
}

impl Schedule for Cosine {
    fn at(&self, step: u64) -> f64 {
        Curve::Cosine.step(self.lr, self.min_lr, step, self.steps)
    }

    fn validate(&self) -> Result<()> {
        check_fall(self.lr, self.min_lr)?;
        check_positive("steps", self.steps)
    }

    fn settles(&self) -> Option<u64> {
        Some(self.steps)
    }
}

/// A value that repeatedly falls along half a cosine from `lr` to `min_lr`, each time `cycle_factor` times as slowly:
/// `min_lr + (lr − min_lr) (1 + cos(π t / T)) / 2`, t steps after the restart.
///
/// The first fall takes T = `cycle_steps`; the first step after a fall uses `lr`.
///
/// PyTorch's `CosineAnnealingWarmRestarts` with `T_0 = cycle_steps` and `T_mult = cycle_factor`. Optax's
/// `sgdr_schedule` is a [`Join`](super::Join) of [`WarmupCosine`].
///
/// Source: Loshchilov, Hutter: SGDR, stochastic gradient descent with warm restarts (ICLR 2017).
///
/// ```
/// use thalweg_nn::{Schedule, WarmRestarts};
/// let schedule = WarmRestarts { lr: 1.0, min_lr: 0.0, cycle_steps: 10, cycle_factor: 2 };
/// for (step, value) in [(0, 1.0), (5, 0.5), (10, 1.0), (20, 0.5), (30, 1.0), (50, 0.5)] {
///     assert!((schedule.at(step) - value).abs() < 1e-15);
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmRestarts {
    /// The value of the first step of each fall.
    pub lr: f64,
    /// The last value of each fall.
    pub min_lr: f64,
    /// The number of steps of the first fall.
    pub cycle_steps: u64,
    /// The length of each fall over the length of the one before; with 1 all have the same length.
    pub cycle_factor: u64,
}

impl Schedule for WarmRestarts {
    fn at(&self, step: u64) -> f64 {
        // `validate` refuses 0; without it this must neither divide by 0 nor loop for ever.
        let mut length = self.cycle_steps.max(1);
        let mut since_restart = step;
        if self.cycle_factor <= 1 {
            since_restart %= length;
        }
        while since_restart >= length {
            since_restart -= length;
            length = length.saturating_mul(self.cycle_factor);
        }
        Curve::Cosine.step(self.lr, self.min_lr, since_restart, length)
    }

    fn validate(&self) -> Result<()> {
        check_fall(self.lr, self.min_lr)?;
        check_positive("cycle_steps", self.cycle_steps)?;
        check_positive("cycle_factor", self.cycle_factor)
    }
}

/// A value that rises along a line from `initial_lr` to `lr`, then falls along half a cosine to `min_lr` and stays
/// there.
///
/// With w = `warmup_steps`: `initial_lr + (lr − initial_lr) step / w` for step < w, then
/// `min_lr + (lr − min_lr) (1 + cos(π (step − w) / (steps − w))) / 2`. The first step uses `initial_lr`, step w uses
/// `lr`. `steps` includes the warm-up.
///
/// Optax's `warmup_cosine_decay_schedule`; in PyTorch a `SequentialLR` of `LinearLR` and `CosineAnnealingLR`.
///
/// ```
/// use thalweg_nn::{Schedule, WarmupCosine};
/// let schedule = WarmupCosine::new(1e-3, 9, 100);
/// assert!((schedule.at(0) - 1e-4).abs() < 1e-18);
/// assert_eq!(schedule.at(9), 1e-3);
/// assert_eq!(schedule.at(100), 0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmupCosine {
    /// The value of the first step; unused if `warmup_steps` is 0.
    pub initial_lr: f64,
    /// The largest value, reached after the warm-up.
    pub lr: f64,
    /// The last value.
    pub min_lr: f64,
    /// The number of steps of the rise.
    pub warmup_steps: u64,
    /// The number of steps of rise and fall together.
    pub steps: u64,
}

impl WarmupCosine {
    /// Rises from `lr / (warmup_steps + 1)` and falls to 0. The first step thus has a learning rate above 0, and all
    /// steps of the rise are equally large.
    #[must_use]
    pub fn new(lr: f64, warmup_steps: u64, steps: u64) -> Self {
        Self { initial_lr: lr / (warmup_steps as f64 + 1.0), lr, min_lr: 0.0, warmup_steps, steps }
    }
}

impl Schedule for WarmupCosine {
    fn at(&self, step: u64) -> f64 {
        match step.checked_sub(self.warmup_steps) {
            None => Curve::Linear.step(self.initial_lr, self.lr, step, self.warmup_steps),
            Some(fallen) => {
                Curve::Cosine.step(self.lr, self.min_lr, fallen, self.steps.saturating_sub(self.warmup_steps))
            }
        }
    }

    fn validate(&self) -> Result<()> {
        not_negative("initial_lr", self.initial_lr)?;
        check_fall(self.lr, self.min_lr)?;
        if self.warmup_steps >= self.steps {
            return Err(setting("warmup_steps", self.warmup_steps, "less than the number of all steps"));
        }
        Ok(())
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
    use super::*;

    #[test]
    fn closed_forms() {
        let cosine = Cosine { lr: 0.3, min_lr: 0.1, steps: 6 };
        assert_values(&cosine, &[(0, 0.3), (2, 0.25), (3, 0.2), (4, 0.15), (6, 0.1), (7, 0.1), (u64::MAX, 0.1)]);
        let restarts = WarmRestarts { lr: 0.3, min_lr: 0.1, cycle_steps: 2, cycle_factor: 3 };
        assert_values(&restarts, &[(0, 0.3), (1, 0.2), (2, 0.3), (4, 0.25), (5, 0.2), (8, 0.3), (17, 0.2), (26, 0.3)]);
        let alike = WarmRestarts { cycle_factor: 1, ..restarts };
        assert_values(&alike, &[(0, 0.3), (1, 0.2), (2, 0.3), (u64::MAX, 0.2)]);
        assert!(restarts.at(u64::MAX).is_finite());
        let warmup = WarmupCosine { initial_lr: 0.0, lr: 0.4, min_lr: 0.0, warmup_steps: 4, steps: 10 };
        assert_values(&warmup, &[(0, 0.0), (1, 0.1), (3, 0.3), (4, 0.4), (7, 0.2), (10, 0.0), (11, 0.0)]);
        assert_eq!(WarmupCosine::new(0.4, 0, 10).at(0), 0.4);
    }

    #[test]
    fn wrong_settings_are_named() {
        assert!(message(&Cosine { lr: 0.1, min_lr: 0.2, steps: 1 }).starts_with("min_lr = 0.2"));
        assert!(message(&Cosine { lr: 0.1, min_lr: 0.0, steps: 0 }).starts_with("steps = 0"));
        let restarts = WarmRestarts { lr: 0.1, min_lr: 0.0, cycle_steps: 0, cycle_factor: 0 };
        assert!(message(&restarts).starts_with("cycle_steps = 0"));
        assert!(message(&WarmRestarts { cycle_steps: 1, ..restarts }).starts_with("cycle_factor = 0"));
        assert!(message(&WarmupCosine::new(0.1, 5, 5)).starts_with("warmup_steps = 5"));
        // None of them panics without the check.
        assert_eq!(WarmupCosine::new(0.1, 5, 3).at(9), 0.0);
        assert_eq!(restarts.at(9), 0.1);
    }
}
