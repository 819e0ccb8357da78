//! Schedules that combine others.

use super::{Schedule, setting};
use crate::Result;
use crate::setting::{check, not_negative};

/// Schedules in sequence. Each counts from its own step 0.
///
/// PyTorch's `SequentialLR`, and optax's `join_schedules` with the boundaries as starts.
///
/// ```
/// use thalweg_nn::{Constant, Exponential, Join, Schedule};
/// let schedule = Join::new(Constant { lr: 0.1 }).then(20, Exponential::new(0.8, 0.5));
/// assert_eq!([0, 19, 20, 21].map(|step| schedule.at(step)), [0.1, 0.1, 0.8, 0.4]);
/// ```
#[derive(Debug)]
pub struct Join {
    /// The first step of each schedule, in rising order from 0, and the schedules.
    pub schedules: Vec<(u64, Box<dyn Schedule>)>,
}

impl Join {
    /// Begins with a schedule.
    #[must_use]
    pub fn new(first: impl Schedule + 'static) -> Self {
        Self { schedules: vec![(0, Box::new(first))] }
    }

    /// Appends a schedule that begins at a step.
    #[must_use]
    pub fn then(mut self, start: u64, next: impl Schedule + 'static) -> Self {
        self.schedules.push((start, Box::new(next)));
        self
    }
}

impl Schedule for Join {
    fn at(&self, step: u64) -> f64 {
        let come = self.schedules.partition_point(|&(start, _)| start <= step);
        // `validate` refuses an empty list; this must not panic without it.
        self.schedules[..come].last().map_or(0.0, |(start, schedule)| schedule.at(step - start))
    }

    fn validate(&self) -> Result<()> {
        let starts: Vec<u64> = self.schedules.iter().map(|&(start, _)| start).collect();
        if starts.first() != Some(&0) || !starts.is_sorted_by(|a, b| a < b) {
            return Err(setting("schedules", format!("{starts:?}"), "from 0 on in rising order of their steps"));
        }
        self.schedules.iter().try_for_each(|(_, schedule)| schedule.validate())?;
        for pair in self.schedules.windows(2) {
            let warmup_steps = pair[0].1.warmup_steps();
            let fits = warmup_steps <= pair[1].0 - pair[0].0;
            check("warmup_steps", warmup_steps, fits, "at most the steps up to the next schedule")?;
        }
        Ok(())
    }

    fn warmup_steps(&self) -> u64 {
        self.schedules.first().map_or(0, |(_, schedule)| schedule.warmup_steps())
    }
}

/// The product of schedules: the first gives values, the others factors.
///
/// PyTorch's `ChainedScheduler` of schedules that multiply the rate, such as `ConstantLR` and `ExponentialLR`.
///
/// ```
/// use thalweg_nn::{Chain, Exponential, LinearRamp, Schedule};
/// let warmup = LinearRamp { initial_lr: 0.25, final_lr: 1.0, steps: 3 };
/// let schedule = Chain::new(Exponential::new(0.8, 0.5)).times(warmup);
/// assert!((schedule.at(1) - 0.2).abs() < 1e-15);
/// ```
#[derive(Debug)]
pub struct Chain {
    /// The factors.
    pub schedules: Vec<Box<dyn Schedule>>,
}

impl Chain {
    /// Begins with a schedule.
    #[must_use]
    pub fn new(first: impl Schedule + 'static) -> Self {
        Self { schedules: vec![Box::new(first)] }
    }

    /// Multiplies by another schedule.
    #[must_use]
    pub fn times(mut self, factor: impl Schedule + 'static) -> Self {
        self.schedules.push(Box::new(factor));
        self
    }
}

impl Schedule for Chain {
    fn at(&self, step: u64) -> f64 {
        self.schedules.iter().map(|schedule| schedule.at(step)).product()
    }

    fn validate(&self) -> Result<()> {
        check("schedules", self.schedules.len(), !self.schedules.is_empty(), "at least one")?;
        self.schedules.iter().try_for_each(|schedule| schedule.validate())
    }

    fn warmup_steps(&self) -> u64 {
        self.schedules.iter().map(|schedule| schedule.warmup_steps()).max().unwrap_or(0)
    }
}

/// A schedule times a constant: `factor · schedule`.
///
/// ```
/// use thalweg_nn::{Cosine, Scaled, Schedule};
/// let lr = Cosine { lr: 0.1, min_lr: 0.0, steps: 100 };
/// let weight_decay = Scaled::new(0.5, lr);
/// assert_eq!(weight_decay.at(50), 0.5 * lr.at(50));
/// ```
#[derive(Debug)]
pub struct Scaled {
    /// The factor.
    pub factor: f64,
    /// The schedule to multiply.
    pub schedule: Box<dyn Schedule>,
}

impl Scaled {
    /// Makes the product of a factor and a schedule.
    #[must_use]
    pub fn new(factor: f64, schedule: impl Schedule + 'static) -> Self {
        Self { factor, schedule: Box::new(schedule) }
    }
}

impl Schedule for Scaled {
    fn at(&self, step: u64) -> f64 {
        self.factor * self.schedule.at(step)
    }

    fn validate(&self) -> Result<()> {
        not_negative("factor", self.factor)?;
        self.schedule.validate()
    }

    fn warmup_steps(&self) -> u64 {
        self.schedule.warmup_steps()
    }

    fn settles(&self) -> Option<u64> {
        self.schedule.settles()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_values, message};
    use super::super::{Constant, Exponential, LinearRamp, Step, Warmup};
    use super::*;

    #[test]
    fn schedules_are_made_of_schedules() {
        let halves = || Step { lr: 0.4, step_size: 2, gamma: 0.5 };
        let joined = Join::new(LinearRamp { initial_lr: 0.0, final_lr: 0.3, steps: 3 })
            .then(2, Chain::new(halves()).times(Exponential::new(1.0, 0.5)))
            .then(6, Scaled::new(2.0, Join::new(Constant { lr: 0.1 }).then(1, halves())));
        assert_values(
            &joined,
            &[(0, 0.0), (1, 0.1), (2, 0.4), (3, 0.2), (4, 0.05), (5, 0.025), (6, 0.2), (7, 0.8), (9, 0.4)],
        );
    }

    #[test]
    fn wrong_settings_are_named_however_deep() {
        let good = || Constant { lr: 0.1 };
        let bad = || Constant { lr: -0.1 };
        let deep = Join::new(good()).then(5, Chain::new(good()).times(Scaled::new(1.0, Warmup::linear(bad(), 3))));
        assert!(message(&deep).starts_with("lr = -0.1"));
        assert!(message(&Scaled::new(f64::NAN, good())).starts_with("factor = NaN"));
        assert!(message(&Chain { schedules: vec![] }).starts_with("schedules = 0, but it must be at least one"));
        let rule = "but it must be from 0 on in rising order of their steps";
        assert_eq!(message(&Join { schedules: vec![] }), format!("schedules = [], {rule}"));
        let late = Join { schedules: vec![(1, Box::new(good()))] };
        assert_eq!(message(&late), format!("schedules = [1], {rule}"));
        assert_eq!(late.at(0), 0.0);
        assert_eq!(message(&Join::new(good()).then(0, good())), format!("schedules = [0, 0], {rule}"));
        let cut = Join::new(Warmup::linear(good(), 6)).then(5, good());
        assert_eq!(message(&cut), "warmup_steps = 6, but it must be at most the steps up to the next schedule");
    }
}
