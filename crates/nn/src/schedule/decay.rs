//! Schedules that fall (or rise) by a simple law.

use super::curve::Curve;
use super::{Schedule, check_factor, check_fall, check_positive};
use crate::Result;
use crate::setting::{check, not_negative};

/// The same value at every step: `lr`.
///
/// PyTorch's `ConstantLR` is a factor up to a step: a [`PiecewiseConstant`](super::PiecewiseConstant).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant {
    /// The value.
    pub lr: f64,
}

impl Schedule for Constant {
    fn at(&self, _: u64) -> f64 {
        self.lr
    }

    fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)
    }

    fn settles(&self) -> Option<u64> {
        Some(0)
    }
}

/// A value that falls by a factor every `step_size` steps: `lr · gamma^⌊step / step_size⌋`.
///
/// PyTorch's `StepLR`, in closed form; optax's `exponential_decay` with `staircase`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The first value.
    pub lr: f64,
    /// The number of steps between two falls.
    pub step_size: u64,
    /// The factor of each fall.
    pub gamma: f64,
}

impl Schedule for Step {
    fn at(&self, step: u64) -> f64 {
        // `validate` refuses a step size of 0; without it this must not divide by 0.
        self.lr * self.gamma.powf((step / self.step_size.max(1)) as f64)
    }

    fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        check_positive("step_size", self.step_size)?;
        check_factor("gamma", self.gamma)
    }
}

/// A value that falls by a factor at given steps: `lr · gamma^|{m in milestones: m ≤ step}|`.
///
/// PyTorch's `MultiStepLR`, in closed form: a step that is listed twice falls twice.
///
/// ```
/// use thalweg_nn::{MultiStep, Schedule};
/// let schedule = MultiStep { lr: 1.0, milestones: vec![50, 75], gamma: 0.5 };
/// schedule.validate()?;
/// assert_eq!([49, 50, 74, 75].map(|step| schedule.at(step)), [1.0, 0.5, 0.5, 0.25]);
/// # Ok::<(), thalweg_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MultiStep {
    /// The first value.
    pub lr: f64,
    /// The steps at which the value falls, in order.
    pub milestones: Vec<u64>,
    /// The factor of each fall.
    pub gamma: f64,
}

impl Schedule for MultiStep {
    fn at(&self, step: u64) -> f64 {
        self.lr * self.gamma.powf(self.milestones.iter().filter(|&&milestone| milestone <= step).count() as f64)
    }

    fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        check("milestones", format!("{:?}", self.milestones), self.milestones.is_sorted(), "steps in rising order")?;
        check_factor("gamma", self.gamma)
    }

    fn settles(&self) -> Option<u64> {
        Some(self.milestones.last().copied().unwrap_or(0))
    }
}

/// A value that falls by a factor, a little at every step:
/// `max(lr · gamma^(step / decay_steps), min_lr)`.
///
/// PyTorch's `ExponentialLR` with `decay_steps` 1 and `min_lr` 0, as [`new`](Self::new) sets them; optax's
/// `exponential_decay` with `transition_steps = decay_steps` and `end_value = min_lr`.
///
/// ```
/// use thalweg_nn::{Exponential, Schedule};
/// let schedule = Exponential { lr: 1.0, min_lr: 0.001, gamma: 0.1, decay_steps: 100 };
/// assert!((schedule.at(50) - 0.1f64.sqrt()).abs() < 1e-15);
/// assert_eq!(schedule.at(1_000), 0.001);
/// assert_eq!(Exponential::new(1.0, 0.5).at(2), 0.25);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exponential {
    /// The first value.
    pub lr: f64,
    /// The lower bound.
    pub min_lr: f64,
    /// The factor per `decay_steps` steps.
    pub gamma: f64,
    /// The number of steps in which the value falls by the factor.
    pub decay_steps: u64,
}

impl Exponential {
    /// Falls by `gamma` at every step, without end.
    #[must_use]
    pub fn new(lr: f64, gamma: f64) -> Self {
        Self { lr, min_lr: 0.0, gamma, decay_steps: 1 }
    }
}

impl Schedule for Exponential {
    fn at(&self, step: u64) -> f64 {
        (self.lr * self.gamma.powf(step as f64 / self.decay_steps.max(1) as f64)).max(self.min_lr)
    }

    fn validate(&self) -> Result<()> {
        check_fall(self.lr, self.min_lr)?;
        check_factor("gamma", self.gamma)?;
        check_positive("decay_steps", self.decay_steps)
    }
}

/// A value that falls as the inverse of time: `lr / (1 + decay_rate · step)`.
///
/// In PyTorch a `LambdaLR`. It is the classic schedule of stochastic approximation: its sum diverges and the sum of its
/// squares does not.
///
/// Source: Robbins, Monro: A stochastic approximation method (Annals of Mathematical Statistics 22, 1951).
///
/// ```
/// use thalweg_nn::{InverseTime, Schedule};
/// assert_eq!(InverseTime { lr: 1.0, decay_rate: 0.01 }.at(100), 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InverseTime {
    /// The first value.
    pub lr: f64,
    /// The increase of the divisor per step.
    pub decay_rate: f64,
}

impl Schedule for InverseTime {
    fn at(&self, step: u64) -> f64 {
        self.lr / (1.0 + self.decay_rate * step as f64)
    }

    fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        not_negative("decay_rate", self.decay_rate)
    }
}

/// A value that falls as a power of the remaining fraction of the steps, and then stays:
/// `min_lr + (lr − min_lr) (1 − min(step, steps) / steps)^power`.
///
/// PyTorch's `PolynomialLR` with `min_lr` 0 and optax's `polynomial_schedule`.
///
/// ```
/// use thalweg_nn::{Polynomial, Schedule};
/// let schedule = Polynomial { lr: 1.0, min_lr: 0.0, power: 2.0, steps: 100 };
/// assert_eq!([0, 50, 100, 101].map(|step| schedule.at(step)), [1.0, 0.25, 0.0, 0.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Polynomial {
    /// The first value.
    pub lr: f64,
    /// The last value.
    pub min_lr: f64,
    /// The exponent; 1 is a line.
    pub power: f64,
    /// The number of steps of the fall.
    pub steps: u64,
}

impl Schedule for Polynomial {
    fn at(&self, step: u64) -> f64 {
        if step >= self.steps {
            return self.min_lr;
        }
        let left = 1.0 - step as f64 / self.steps as f64;
        self.min_lr + (self.lr - self.min_lr) * left.powf(self.power)
    }

    fn validate(&self) -> Result<()> {
        check_fall(self.lr, self.min_lr)?;
        crate::setting::positive("power", self.power)?;
        check_positive("steps", self.steps)
    }

    fn settles(&self) -> Option<u64> {
        Some(self.steps)
    }
}

/// A value that falls by the square root of the elapsed fraction of the steps, and then stays:
/// `lr + (min_lr − lr) √(min(step, steps) / steps)`.
///
/// With `min_lr` 0 it is `lr (1 − √(step / steps))`: steep first, and flat at the end. PyTorch and optax do not have
/// this schedule. It is the default decay of [`WarmupStableDecay`](super::WarmupStableDecay).
///
/// Source: the "1-sqrt" cooldown of Hägele et al.: Scaling laws and compute-optimal training beyond fixed training
/// durations (NeurIPS 2024).
///
/// ```
/// use thalweg_nn::{OneMinusSqrt, Schedule};
/// let schedule = OneMinusSqrt { lr: 1.0, min_lr: 0.0, steps: 100 };
/// assert_eq!([0, 25, 100, 101].map(|step| schedule.at(step)), [1.0, 0.5, 0.0, 0.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneMinusSqrt {
    /// The first value.
    pub lr: f64,
    /// The last value.
    pub min_lr: f64,
    /// The number of steps of the fall.
    pub steps: u64,
}

impl Schedule for OneMinusSqrt {
    fn at(&self, step: u64) -> f64 {
        Curve::SquareRoot.step(self.lr, self.min_lr, step, self.steps)
    }

    fn validate(&self) -> Result<()> {
        check_fall(self.lr, self.min_lr)?;
        check_positive("steps", self.steps)
    }

    fn settles(&self) -> Option<u64> {
        Some(self.steps)
    }
}

/// A value that changes along a line, up or down, and then stays:
/// `initial_lr + (final_lr − initial_lr) min(step, steps) / steps`.
///
/// PyTorch's `LinearLR` with `initial_lr = lr · start_factor`, `final_lr = lr · end_factor` and `steps = total_iters`;
/// optax's `linear_schedule`.
///
/// ```
/// use thalweg_nn::{LinearRamp, Schedule};
/// let weight_decay = LinearRamp { initial_lr: 0.0, final_lr: 0.5, steps: 100 };
/// assert_eq!([0, 50, 100, 101].map(|step| weight_decay.at(step)), [0.0, 0.25, 0.5, 0.5]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearRamp {
    /// The first value.
    pub initial_lr: f64,
    /// The last value.
    pub final_lr: f64,
    /// The number of steps from the first value to the last.
    pub steps: u64,
}

impl Schedule for LinearRamp {
    fn at(&self, step: u64) -> f64 {
        Curve::Linear.step(self.initial_lr, self.final_lr, step, self.steps)
    }

    fn validate(&self) -> Result<()> {
        not_negative("initial_lr", self.initial_lr)?;
        not_negative("final_lr", self.final_lr)?;
        check_positive("steps", self.steps)
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
        let step = Step { lr: 0.5, step_size: 10, gamma: 0.5 };
        assert_eq!([0, 9, 10, 19, 20].map(|i| step.at(i)), [0.5, 0.5, 0.25, 0.25, 0.125]);
        let twice = MultiStep { lr: 1.0, milestones: vec![0, 3, 3], gamma: 0.5 };
        assert_values(&twice, &[(0, 0.5), (2, 0.5), (3, 0.125), (u64::MAX, 0.125)]);
        assert_values(&Exponential::new(0.5, 0.0), &[(0, 0.5), (1, 0.0)]);
        assert_values(&InverseTime { lr: 0.3, decay_rate: 0.5 }, &[(0, 0.3), (1, 0.2), (2, 0.15)]);
        let polynomial = Polynomial { lr: 0.5, min_lr: 0.1, power: 0.5, steps: 4 };
        assert_values(&polynomial, &[(0, 0.5), (3, 0.3), (4, 0.1), (u64::MAX, 0.1)]);
        let sqrt = OneMinusSqrt { lr: 0.5, min_lr: 0.1, steps: 16 };
        assert_values(&sqrt, &[(0, 0.5), (1, 0.4), (4, 0.3), (9, 0.2), (16, 0.1), (u64::MAX, 0.1)]);
        assert_eq!(sqrt.settles(), Some(16));
        let ramp = LinearRamp { initial_lr: 0.3, final_lr: 0.1, steps: 2 };
        assert_values(&ramp, &[(0, 0.3), (1, 0.2), (2, 0.1), (u64::MAX, 0.1)]);
    }

    #[test]
    fn wrong_settings_are_named() {
        for lr in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(message(&Constant { lr }).starts_with(&format!("lr = {lr}, but it must be")));
        }
        assert!(message(&Step { lr: 0.1, step_size: 0, gamma: 0.5 }).starts_with("step_size = 0"));
        assert!(message(&Step { lr: 0.1, step_size: 1, gamma: f64::NAN }).starts_with("gamma = NaN"));
        let multi_step = |milestones| MultiStep { lr: 0.1, milestones, gamma: 1.5 };
        assert!(message(&multi_step(vec![2, 1])).starts_with("milestones = [2, 1], but it must be steps in rising"));
        assert!(message(&multi_step(vec![])).starts_with("gamma = 1.5, but it must be a number from 0 to 1"));
        assert!(message(&Exponential::new(0.1, 1.1)).starts_with("gamma = 1.1"));
        let exponential = Exponential { min_lr: 0.2, ..Exponential::new(0.1, 0.5) };
        assert!(message(&exponential).starts_with("min_lr = 0.2, but it must be at most lr"));
        assert!(message(&Exponential { min_lr: 0.0, decay_steps: 0, ..exponential }).starts_with("decay_steps = 0"));
        assert!(message(&InverseTime { lr: 0.1, decay_rate: -1.0 }).starts_with("decay_rate = -1"));
        let polynomial = Polynomial { lr: 0.1, min_lr: 0.0, power: 0.0, steps: 1 };
        assert!(message(&polynomial).starts_with("power = 0"));
        assert!(message(&Polynomial { power: 1.0, steps: 0, ..polynomial }).starts_with("steps = 0"));
        let sqrt = OneMinusSqrt { lr: 0.1, min_lr: 0.2, steps: 0 };
        assert!(message(&sqrt).starts_with("min_lr = 0.2, but it must be at most lr"));
        assert!(message(&OneMinusSqrt { min_lr: 0.0, ..sqrt }).starts_with("steps = 0"));
        let ramp = LinearRamp { initial_lr: 0.1, final_lr: 0.2, steps: 0 };
        assert!(message(&ramp).starts_with("steps = 0, but it must be at least 1"));
        assert!(message(&LinearRamp { initial_lr: -0.1, ..ramp }).starts_with("initial_lr = -0.1"));
        assert!(message(&LinearRamp { final_lr: f64::INFINITY, ..ramp }).starts_with("final_lr = inf"));
        // None of them panics without the check.
        assert_eq!(Step { lr: 0.1, step_size: 0, gamma: 1.0 }.at(3), 0.1);
        assert_eq!(Exponential { lr: 0.1, min_lr: 0.0, gamma: 1.0, decay_steps: 0 }.at(3), 0.1);
        assert_eq!((ramp.at(0), sqrt.at(0)), (0.2, 0.2));
    }
}
