//! Schedules: pure functions of the step, for the learning rate, momentum and weight decay.
//!
//! | here | PyTorch | optax |
//! | --- | --- | --- |
//! | [`Constant`] | | `constant_schedule` |
//! | [`Step`] | `StepLR` | `exponential_decay(staircase=True)` |
//! | [`MultiStep`], [`PiecewiseConstant`] | `MultiStepLR`, `ConstantLR` | `piecewise_constant_schedule` |
//! | [`Exponential`] | `ExponentialLR` | `exponential_decay` |
//! | [`InverseTime`] | `LambdaLR` | |
//! | [`Polynomial`] | `PolynomialLR` | `polynomial_schedule` |
//! | [`LinearRamp`] | `LinearLR` | `linear_schedule` |
//! | [`Cosine`] | `CosineAnnealingLR` | `cosine_decay_schedule` |
//! | [`WarmRestarts`] | `CosineAnnealingWarmRestarts` | `sgdr_schedule` |
//! | [`WarmupCosine`] | | `warmup_cosine_decay_schedule` |
//! | [`Warmup`] | `LinearLR` in `SequentialLR` | `warmup_constant_schedule`, `warmup_exponential_decay_schedule` |
//! | [`InverseSqrt`], [`OneMinusSqrt`], [`WarmupStableDecay`] | | |
//! | [`Cyclic`] | `CyclicLR` | |
//! | [`OneCycle`] | `OneCycleLR` | `cosine_onecycle_schedule`, as [`Interpolated`] |
//! | [`Interpolated`] | | `piecewise_interpolate_schedule` |
//! | [`Join`] | `SequentialLR` | `join_schedules` |
//! | [`Chain`], [`Scaled`] | `ChainedScheduler` | |
//! | [`ReduceOnPlateau`], which has state | `ReduceLROnPlateau` | `contrib.reduce_on_plateau` |
//!
//! Where PyTorch multiplies from step to step, these use the closed form; the two differ in the last bits.

mod batch_size;
mod combined;
mod cosine;
mod curve;
mod cyclic;
mod decay;
mod one_cycle;
mod piecewise;
mod plateau;
mod rate;
pub(crate) mod registry;
mod warmup;

use std::fmt;

use crate::setting::check;
use crate::{Error, Result};

pub use batch_size::{linear_scaling, square_root_scaling};
pub use combined::{Chain, Join, Scaled};
pub use curve::Curve;
pub use cyclic::{CyclicMode, Momentum};
pub use piecewise::{Interpolated, PiecewiseConstant};
pub use plateau::{PlateauMode, PlateauSettings, PlateauState, ReduceOnPlateau, ThresholdMode};
pub use rate::Rate;
pub use registry::*;

/// A value as a pure function of the step, so that a checkpoint needs only the step.
///
/// The value is a learning rate in most uses, and the fields are named for it. The same settings schedule a momentum or
/// a weight decay. Steps count from 0: optimizer step i uses `at(i)`.
///
/// ```
/// use thalweg_nn::{Cosine, Schedule};
/// let schedule = Cosine { lr: 0.1, min_lr: 0.0, steps: 100 };
/// assert_eq!(schedule.at(0), 0.1);
/// assert!((schedule.at(50) - 0.05).abs() < 1e-15);
/// assert_eq!(schedule.at(1_000), 0.0);
/// ```
pub trait Schedule: fmt::Debug + Send + Sync {
    /// Returns the value of a step.
    fn at(&self, step: u64) -> f64;

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] if one is out of range, with the field and the range.
    fn validate(&self) -> Result<()>;

    /// Returns the number of steps of the initial warm-up; a run must be longer.
    fn warmup_steps(&self) -> u64 {
        0
    }

    /// Returns the first step after which the value stays the same, or `None` if there is none.
    fn settles(&self) -> Option<u64> {
        None
    }

    /// Returns the values of a run of `steps` steps: the learning rate, the weight decay or the momentum of an
    /// optimizer. After the run the last value stays.
    fn over(&self, steps: u64) -> Rate {
        Rate::over(self, steps)
    }
}

/// Implements [`Schedule`] for pointers to schedules.
macro_rules! behind {
    ($($pointer:ty),*) => {$(
        impl<S: Schedule + ?Sized> Schedule for $pointer {
            fn at(&self, step: u64) -> f64 {
                (**self).at(step)
            }

            fn validate(&self) -> Result<()> {
                (**self).validate()
            }

            fn warmup_steps(&self) -> u64 {
                (**self).warmup_steps()
            }

            fn settles(&self) -> Option<u64> {
                (**self).settles()
            }
        }
    )*};
}

behind!(Box<S>, &S);

/// Returns the values of the steps `0..steps`, a whole run.
///
/// # Errors
/// Same as [`Schedule::validate`], and if a warm-up is as long as the run or longer.
pub fn table<S: Schedule + ?Sized>(schedule: &S, steps: u64) -> Result<Vec<f64>> {
    schedule.validate()?;
    let warmup_steps = schedule.warmup_steps();
    check(
        "warmup_steps",
        warmup_steps,
        warmup_steps == 0 || warmup_steps < steps,
        "less than the number of all steps",
    )?;
    Ok((0..steps).map(|step| schedule.at(step)).collect())
}

fn setting(field: &'static str, value: impl ToString, rule: &'static str) -> Error {
    Error::Setting { field, value: value.to_string(), rule }
}

/// Checks that a factor does not increase a value.
fn check_factor(field: &'static str, value: f64) -> Result<()> {
    check(field, value, (0.0..=1.0).contains(&value), "a number from 0 to 1")
}

fn check_fall(lr: f64, min_lr: f64) -> Result<()> {
    crate::setting::not_negative("lr", lr)?;
    crate::setting::not_negative("min_lr", min_lr)?;
    check("min_lr", min_lr, min_lr <= lr, "at most lr")
}

fn check_positive(field: &'static str, value: u64) -> Result<()> {
    check(field, value, value > 0, "at least 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the message of an invalid schedule.
    pub(super) fn message(schedule: &dyn Schedule) -> String {
        schedule.validate().unwrap_err().to_string()
    }

    /// Compares values with expected ones, up to rounding.
    pub(super) fn assert_values(schedule: &dyn Schedule, expected: &[(u64, f64)]) {
        schedule.validate().unwrap();
        for &(step, expected) in expected {
            let value = schedule.at(step);
            assert!((value - expected).abs() < 1e-15, "{schedule:?} at {step}: {value} and not {expected}");
        }
    }

    #[test]
    fn a_table_is_of_a_run_that_is_longer_than_the_warmup() {
        assert_eq!(table(&Constant { lr: 0.1 }, 3).unwrap(), [0.1; 3]);
        assert!(table(&Constant { lr: 0.1 }, 0).unwrap().is_empty());
        assert!(table(&Constant { lr: f64::NAN }, 1).is_err());
        let warmup = || Warmup::linear(Constant { lr: 1.0 }, 5);
        assert_eq!(table(&warmup(), 6).unwrap()[5], 1.0);
        let late = || Join::new(Constant { lr: 0.0 }).then(3, warmup());
        let schedules: [Box<dyn Schedule>; 7] = [
            Box::new(warmup()),
            Box::new(WarmupCosine::new(1.0, 5, 100)),
            Box::new(InverseSqrt { lr: 1.0, warmup_steps: 5 }),
            Box::new(WarmupStableDecay::new(1.0, 5, 100)),
            Box::new(Scaled::new(2.0, Box::new(warmup()) as Box<dyn Schedule>)),
            Box::new(Chain::new(Constant { lr: 0.5 }).times(warmup())),
            Box::new(Join::new(warmup()).then(50, Constant { lr: 0.5 })),
        ];
        for schedule in schedules {
            assert!(table(&schedule, 6).is_ok());
            for steps in [5, 1, 0] {
                let error = table(&schedule, steps).unwrap_err().to_string();
                assert_eq!(error, "warmup_steps = 5, but it must be less than the number of all steps", "{schedule:?}");
            }
        }
        assert_eq!(table(&InverseSqrt { lr: 1.0, warmup_steps: 1 }, 1).unwrap(), [1.0]);
        // A warm-up that does not begin the run may start after its end.
        assert!(table(&late(), 4).is_ok());
    }
}
