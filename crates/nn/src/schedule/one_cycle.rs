//! The one-cycle policy.

use super::curve::Curve;
use super::cyclic::{Momentum, check_momenta};
use super::{Schedule, check_positive};
use crate::Result;
use crate::setting::{check, not_negative};

/// A value that rises once to `max_lr` and falls far below its first value, while the [momentum](Self::momentum) moves
/// the other way.
///
/// It rises from `max_lr / div_factor` to `max_lr` at step r = `pct_start · steps` − 1, falls to
/// `max_lr / div_factor / final_div_factor` at step `steps` − 1, and stays there. With three phases it first falls back
/// to `max_lr / div_factor` at step 2 r. Between these steps it follows the curve. If r is not a whole number, no step
/// has exactly the peak.
///
/// The momentum moves from `max_momentum` to `base_momentum` at step r and back, and stays in a third phase.
///
/// PyTorch's `OneCycleLR`, with its defaults, up to the last step; PyTorch fails after it. A rise of less than a step
/// is left out here: step 0 uses `max_lr`. Optax's `cosine_onecycle_schedule` and `linear_onecycle_schedule` reach the
/// peak at step ⌊`pct_start · steps`⌋ and the end at step `steps`: use an [`Interpolated`](super::Interpolated) for
/// them.
///
/// Source: Smith, Topin: Super-convergence, very fast training of neural networks using large learning rates (2018).
///
/// ```
/// use thalweg_nn::{OneCycle, Schedule};
/// let schedule = OneCycle::new(0.25, 100);
/// assert!((schedule.at(0) - 0.01).abs() < 1e-15);
/// assert_eq!(schedule.at(29), 0.25);
/// assert!((schedule.at(99) - 1e-6).abs() < 1e-18);
/// let momentum = schedule.momentum();
/// assert_eq!([0, 29, 99].map(|step| momentum.at(step)), [0.95, 0.85, 0.95]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneCycle {
    /// The highest value.
    pub max_lr: f64,
    /// The total number of steps.
    pub steps: u64,
    /// The fraction of the steps that rise.
    pub pct_start: f64,
    /// The curve between the values.
    pub curve: Curve,
    /// The highest value divided by the first one.
    pub div_factor: f64,
    /// The first value divided by the last one.
    pub final_div_factor: f64,
    /// Whether the fall mirrors the rise and a third phase leads to the last value.
    pub three_phase: bool,
    /// The lowest momentum, where the learning rate is highest.
    pub base_momentum: f64,
    /// The highest momentum, at the beginning and the end.
    pub max_momentum: f64,
}

impl OneCycle {
    /// PyTorch's defaults: 30 % of the steps rise, by cosines, from a 25th of the highest value; two phases; the last
    /// value is a 10,000th of the first; momenta from 0.85 to 0.95.
    #[must_use]
    pub fn new(max_lr: f64, steps: u64) -> Self {
        Self {
            max_lr,
            steps,
            pct_start: 0.3,
            curve: Curve::Cosine,
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
            base_momentum: 0.85,
            max_momentum: 0.95,
        }
    }

    /// Returns the momentum that moves opposite to the learning rate.
    #[must_use]
    pub fn momentum(&self) -> Momentum<Self> {
        Momentum(*self)
    }

    /// Returns the value at a step of a cycle with these values at the beginning, at the peak and at the end.
    fn along(&self, step: u64, first: f64, peak: f64, last: f64) -> f64 {
        let rise = (self.pct_start * self.steps as f64 - 1.0).max(0.0);
        let end = self.steps.saturating_sub(1) as f64;
        let three = [(rise, peak), (2.0 * rise, first), (end, last)];
        let two = [(rise, peak), (end, last)];
        let phases: &[(f64, f64)] = if self.three_phase { &three } else { &two };
        let step = step as f64;
        let (mut start, mut from) = (0.0, first);
        for &(end, to) in phases {
            if step <= end {
                let share = if end > start { (step - start) / (end - start) } else { 1.0 };
                return self.curve.between(from, to, share);
            }
            (start, from) = (end, to);
        }
        last
    }
}

impl Schedule for OneCycle {
    fn at(&self, step: u64) -> f64 {
        let first = self.max_lr / self.div_factor;
        self.along(step, first, self.max_lr, first / self.final_div_factor)
    }

    fn validate(&self) -> Result<()> {
        not_negative("max_lr", self.max_lr)?;
        self.curve.check_end("max_lr", self.max_lr)?;
        check_positive("steps", self.steps)?;
        if self.three_phase {
            check("pct_start", self.pct_start, (0.0..=0.5).contains(&self.pct_start), "a number from 0 to 0.5")?;
        }
        super::check_factor("pct_start", self.pct_start)?;
        for (field, factor) in [("div_factor", self.div_factor), ("final_div_factor", self.final_div_factor)] {
            check(field, factor, factor.is_finite() && factor >= 1.0, "a finite number of at least 1")?;
        }
        check_momenta(self.base_momentum, self.max_momentum)
    }

    fn settles(&self) -> Option<u64> {
        Some(self.steps)
    }
}

impl Schedule for Momentum<OneCycle> {
    fn at(&self, step: u64) -> f64 {
        let OneCycle { base_momentum, max_momentum, .. } = self.0;
        self.0.along(step, max_momentum, base_momentum, max_momentum)
    }

    fn validate(&self) -> Result<()> {
        self.0.validate()
    }

    fn settles(&self) -> Option<u64> {
        Some(self.0.steps)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_values, message};
    use super::*;

    #[test]
    fn closed_forms() {
        let cycle = OneCycle {
            pct_start: 0.4,
            curve: Curve::Linear,
            div_factor: 4.0,
            final_div_factor: 10.0,
            three_phase: true,
            ..OneCycle::new(0.8, 10)
        };
        let values = [(0, 0.2), (1, 0.4), (3, 0.8), (4, 0.6), (6, 0.2), (7, 0.14), (9, 0.02), (u64::MAX, 0.02)];
        assert_values(&cycle, &values);
        assert_values(&cycle.momentum(), &[(0, 0.95), (3, 0.85), (6, 0.95), (8, 0.95), (u64::MAX, 0.95)]);
        // As few as one step, and no rise.
        for steps in 1..20 {
            for pct_start in [0.0, 0.1, 0.3, 0.5, 1.0] {
                for three_phase in [false, true] {
                    let cycle = OneCycle { pct_start, three_phase, ..OneCycle::new(0.8, steps) };
                    assert!(three_phase && pct_start > 0.5 || cycle.validate().is_ok());
                    assert!((0..2 * steps).all(|step| (0.0..=0.8).contains(&cycle.at(step))), "{cycle:?}");
                }
            }
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        let cycle = OneCycle::new(0.1, 10);
        assert!(message(&OneCycle { max_lr: -0.1, ..cycle }).starts_with("max_lr = -0.1"));
        assert!(message(&OneCycle { steps: 0, ..cycle }).starts_with("steps = 0, but it must be at least 1"));
        for pct_start in [f64::NAN, -0.1, 1.1] {
            let rule = format!("pct_start = {pct_start}, but it must be a number from 0 to 1");
            assert_eq!(message(&OneCycle { pct_start, ..cycle }), rule);
        }
        let long = OneCycle { pct_start: 0.6, three_phase: true, ..cycle };
        assert_eq!(message(&long), "pct_start = 0.6, but it must be a number from 0 to 0.5");
        assert!(message(&OneCycle { div_factor: 0.5, ..cycle }).starts_with("div_factor = 0.5"));
        assert!(message(&OneCycle { final_div_factor: f64::INFINITY, ..cycle }).starts_with("final_div_factor = inf"));
        assert!(message(&OneCycle { max_momentum: 1.0, ..cycle }).starts_with("max_momentum = 1, but it must be at"));
        assert!(message(&OneCycle { base_momentum: 0.99, ..cycle }.momentum()).starts_with("base_momentum = 0.99"));
        // None of them panics without the check.
        assert!(OneCycle { steps: 0, ..cycle }.at(3).is_finite() && long.at(9).is_finite());
    }
}
