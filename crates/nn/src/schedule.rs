//! Schedules of the learning rate: pure functions of the step.

use std::f64::consts::PI;
use std::fmt;

use crate::setting::not_negative;
use crate::{Error, Result};

/// The learning rate as a pure function of the step, so that a checkpoint needs to hold the step only.
///
/// Steps count from 0: `at(i)` is what optimizer step i uses.
///
/// ```
/// use thalweg_nn::{Cosine, Schedule};
/// let schedule = Cosine { lr: 0.1, min_lr: 0.0, steps: 100 };
/// assert_eq!(schedule.at(0), 0.1);
/// assert!((schedule.at(50) - 0.05).abs() < 1e-15);
/// assert_eq!(schedule.at(1_000), 0.0);
/// ```
pub trait Schedule: fmt::Debug + Send + Sync {
    /// The learning rate of a step.
    fn at(&self, step: u64) -> f64;

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] with the field and its range.
    fn validate(&self) -> Result<()>;
}

/// The learning rates of the steps `0..steps`.
///
/// # Errors
/// Those of [`Schedule::validate`].
pub fn table(schedule: &dyn Schedule, steps: u64) -> Result<Vec<f64>> {
    schedule.validate()?;
    Ok((0..steps).map(|step| schedule.at(step)).collect())
}

/// The same learning rate at every step: `lr`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant {
    /// The learning rate.
    pub lr: f64,
}

impl Schedule for Constant {
    fn at(&self, _: u64) -> f64 {
        self.lr
    }

    fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)
    }
}

/// A learning rate that falls by a factor every so many steps: `lr · gamma^⌊step / step_size⌋`.
///
/// PyTorch's `StepLR`, in closed form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The first learning rate.
    pub lr: f64,
    /// The number of steps between two falls.
    pub step_size: u64,
    /// The factor of each fall.
    pub gamma: f64,
}

impl Schedule for Step {
    fn at(&self, step: u64) -> f64 {
        // A step size of 0 is refused by validate; here it must not divide.
        self.lr * self.gamma.powf((step / self.step_size.max(1)) as f64)
    }

    fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        check_positive("step_size", self.step_size)?;
        if !(0.0..=1.0).contains(&self.gamma) {
            return Err(setting("gamma", self.gamma, "a number from 0 to 1"));
        }
        Ok(())
    }
}

/// A learning rate that falls along half a cosine from `lr` to `min_lr` and stays there:
/// `min_lr + (lr − min_lr) (1 + cos(π step / steps)) / 2`.
///
/// PyTorch's `CosineAnnealingLR` up to `T_max = steps`; there the rate then rises again.
///
/// Source: Loshchilov, Hutter: SGDR, stochastic gradient descent with warm restarts (ICLR 2017), without restarts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cosine {
    /// The first learning rate.
    pub lr: f64,
    /// The last learning rate.
    pub min_lr: f64,
    /// The number of steps of the fall.
    pub steps: u64,
}

impl Schedule for Cosine {
    fn at(&self, step: u64) -> f64 {
        cosine(self.lr, self.min_lr, step, self.steps)
    }

    fn validate(&self) -> Result<()> {
        check_fall(self.lr, self.min_lr)?;
        check_positive("steps", self.steps)
    }
}

/// A learning rate that rises along a line from `initial_lr` to `lr`, then falls along half a cosine to `min_lr` and
/// stays there.
///
/// With w = `warmup_steps`: `initial_lr + (lr − initial_lr) step / w` for step < w, then
/// `min_lr + (lr − min_lr) (1 + cos(π (step − w) / (steps − w))) / 2`. The first step uses `initial_lr`, step w uses `lr`.
/// `steps` counts the warm-up in.
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
    /// The learning rate of the first step; unused where `warmup_steps` is 0.
    pub initial_lr: f64,
    /// The largest learning rate, reached after the warm-up.
    pub lr: f64,
    /// The last learning rate.
    pub min_lr: f64,
    /// The number of steps of the rise.
    pub warmup_steps: u64,
    /// The number of steps of rise and fall together.
    pub steps: u64,
}

impl WarmupCosine {
    /// From `lr / (warmup_steps + 1)`, so that no step is lost to a learning rate of 0 and all steps of the rise are
    /// alike, to 0 in the end.
    #[must_use]
    pub fn new(lr: f64, warmup_steps: u64, steps: u64) -> Self {
        Self { initial_lr: lr / (warmup_steps as f64 + 1.0), lr, min_lr: 0.0, warmup_steps, steps }
    }
}

impl Schedule for WarmupCosine {
    fn at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            let share = step as f64 / self.warmup_steps as f64;
            self.initial_lr + (self.lr - self.initial_lr) * share
        } else {
            cosine(self.lr, self.min_lr, step - self.warmup_steps, self.steps.saturating_sub(self.warmup_steps))
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
}

/// The point `step` of half a cosine from `from` to `to` over `steps`.
fn cosine(from: f64, to: f64, step: u64, steps: u64) -> f64 {
    if step >= steps {
        return to;
    }
    to + (from - to) * 0.5 * (1.0 + (PI * step as f64 / steps as f64).cos())
}

fn setting(field: &'static str, value: impl ToString, rule: &'static str) -> Error {
    Error::Setting { field, value: value.to_string(), rule }
}

fn check_fall(lr: f64, min_lr: f64) -> Result<()> {
    not_negative("lr", lr)?;
    not_negative("min_lr", min_lr)?;
    if min_lr > lr {
        return Err(setting("min_lr", min_lr, "at most lr"));
    }
    Ok(())
}

fn check_positive(field: &'static str, value: u64) -> Result<()> {
    if value > 0 { Ok(()) } else { Err(setting(field, value, "at least 1")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms() {
        let step = Step { lr: 0.5, step_size: 10, gamma: 0.5 };
        assert_eq!([0, 9, 10, 19, 20].map(|i| step.at(i)), [0.5, 0.5, 0.25, 0.25, 0.125]);
        let cosine = Cosine { lr: 0.3, min_lr: 0.1, steps: 6 };
        for (i, expected) in [(0, 0.3), (2, 0.25), (3, 0.2), (4, 0.15), (6, 0.1), (7, 0.1), (u64::MAX, 0.1)] {
            assert!((cosine.at(i) - expected).abs() < 1e-15, "{i}");
        }
        let warmup = WarmupCosine { initial_lr: 0.0, lr: 0.4, min_lr: 0.0, warmup_steps: 4, steps: 10 };
        for (i, expected) in [(0, 0.0), (1, 0.1), (3, 0.3), (4, 0.4), (7, 0.2), (10, 0.0), (11, 0.0)] {
            assert!((warmup.at(i) - expected).abs() < 1e-15, "{i}");
        }
        assert_eq!(WarmupCosine::new(0.4, 0, 10).at(0), 0.4);
        assert_eq!(table(&Constant { lr: 0.1 }, 3).unwrap(), [0.1; 3]);
    }

    #[test]
    fn wrong_settings_are_named() {
        let message = |schedule: &dyn Schedule| schedule.validate().unwrap_err().to_string();
        for lr in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(message(&Constant { lr }).starts_with(&format!("lr = {lr}, but it must be")));
        }
        assert!(message(&Step { lr: 0.1, step_size: 0, gamma: 0.5 }).starts_with("step_size = 0"));
        assert!(message(&Step { lr: 0.1, step_size: 1, gamma: f64::NAN }).starts_with("gamma = NaN"));
        assert!(message(&Cosine { lr: 0.1, min_lr: 0.2, steps: 1 }).starts_with("min_lr = 0.2"));
        assert!(message(&Cosine { lr: 0.1, min_lr: 0.0, steps: 0 }).starts_with("steps = 0"));
        assert!(message(&WarmupCosine::new(0.1, 5, 5)).starts_with("warmup_steps = 5"));
        // And none of them panics where the check was left out.
        assert_eq!(Step { lr: 0.1, step_size: 0, gamma: 1.0 }.at(3), 0.1);
        assert_eq!(WarmupCosine::new(0.1, 5, 3).at(9), 0.0);
        assert!(table(&Constant { lr: f64::NAN }, 1).is_err());
    }
}
