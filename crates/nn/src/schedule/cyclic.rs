//! Cyclic values, and the momentum that moves opposite to a learning rate.

use super::{Schedule, check_positive};
use crate::Result;
use crate::setting::{check, fraction, not_negative, positive};

/// The momentum of a cyclic learning rate: low where the rate is high.
///
/// [`Cyclic::momentum`] and [`OneCycle::momentum`](super::OneCycle::momentum) return it.
///
/// ```
/// use thalweg_nn::{AdamW, Linear, OneCycle, Optimizer, ParamsBuilder};
/// # fn main() -> thalweg_nn::Result<()> {
/// # let mut builder = ParamsBuilder::new(0);
/// # let model = Linear::new(&mut builder, "line", 1, 1)?;
/// # let params = builder.build(&thalweg_tensor::Device::cpu())?;
/// let cycle = OneCycle::new(0.01, 500);
/// let mut optimizer = Optimizer::new(&params, AdamW::new(), cycle)?;
/// optimizer.set_momentum(cycle.momentum())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Momentum<S>(pub(super) S);

/// A value that repeatedly rises along a line from `base_lr` to `max_lr` and falls back.
///
/// With u = `step_size_up`, d = `step_size_down`, cycle c = ⌊step / (u + d)⌋ and t = step mod (u + d), the height h is
/// `t / u` on the way up (t ≤ u) and `(u + d − t) / d` on the way down, times the factor of the [mode](CyclicMode):
/// `base_lr + (max_lr − base_lr) h`. The [momentum](Self::momentum) moves the other way:
/// `max_momentum − (max_momentum − base_momentum) h`.
///
/// PyTorch's `CyclicLR`. It uses whole numbers to find the position in the cycle, where PyTorch divides floats.
///
/// Source: Smith: Cyclical learning rates for training neural networks (WACV 2017).
///
/// ```
/// use thalweg_nn::{Cyclic, CyclicMode, Schedule};
/// let schedule = Cyclic { mode: CyclicMode::Triangular2, ..Cyclic::new(0.0, 1.0, 10) };
/// assert_eq!([0, 5, 10, 15, 20, 30].map(|step| schedule.at(step)), [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]);
/// let momentum = schedule.momentum();
/// assert!((momentum.at(0) - 0.9).abs() < 1e-15 && (momentum.at(10) - 0.8).abs() < 1e-15);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cyclic {
    /// The lowest value.
    pub base_lr: f64,
    /// The highest value.
    pub max_lr: f64,
    /// The number of steps of a rise.
    pub step_size_up: u64,
    /// The number of steps of a fall.
    pub step_size_down: u64,
    /// The change of the height from cycle to cycle.
    pub mode: CyclicMode,
    /// The lowest momentum, where the learning rate is highest.
    pub base_momentum: f64,
    /// The highest momentum, where the learning rate is lowest.
    pub max_momentum: f64,
}

/// The change of the height of a [`Cyclic`] schedule with time.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum CyclicMode {
    /// All cycles have the same height.
    Triangular,
    /// Each cycle is half as high as the one before: `2^−c`.
    Triangular2,
    /// The height falls at every step: `gamma^step`.
    ExpRange {
        /// The factor per step.
        gamma: f64,
    },
}

impl Cyclic {
    /// Rises and falls in `step_size` steps each, all cycles alike, with PyTorch's momenta of 0.8 to 0.9.
    #[must_use]
    pub fn new(base_lr: f64, max_lr: f64, step_size: u64) -> Self {
        Self {
            base_lr,
            max_lr,
            step_size_up: step_size,
            step_size_down: step_size,
            mode: CyclicMode::Triangular,
            base_momentum: 0.8,
            max_momentum: 0.9,
        }
    }

    /// Returns the momentum that moves opposite to the learning rate.
    #[must_use]
    pub fn momentum(&self) -> Momentum<Self> {
        Momentum(*self)
    }

    /// Returns the height, from 0 to 1, times the mode's factor.
    fn height(&self, step: u64) -> f64 {
        // `validate` refuses sizes of 0; without it this must not divide by 0.
        let (up, down) = (self.step_size_up.max(1), self.step_size_down.max(1));
        let cycle = up.saturating_add(down);
        let place = step % cycle;
        let height = if place <= up { place as f64 / up as f64 } else { (cycle - place) as f64 / down as f64 };
        height
            * match self.mode {
                CyclicMode::Triangular => 1.0,
                CyclicMode::Triangular2 => 0.5f64.powf((step / cycle) as f64),
                CyclicMode::ExpRange { gamma } => gamma.powf(step as f64),
            }
    }
}

impl Schedule for Cyclic {
    fn at(&self, step: u64) -> f64 {
        self.base_lr + (self.max_lr - self.base_lr) * self.height(step)
    }

    fn validate(&self) -> Result<()> {
        not_negative("base_lr", self.base_lr)?;
        not_negative("max_lr", self.max_lr)?;
        check("base_lr", self.base_lr, self.base_lr <= self.max_lr, "at most max_lr")?;
        check_positive("step_size_up", self.step_size_up)?;
        check_positive("step_size_down", self.step_size_down)?;
        if let CyclicMode::ExpRange { gamma } = self.mode {
            positive("gamma", gamma)?;
            check("gamma", gamma, gamma <= 1.0, "greater than 0 and at most 1")?;
        }
        check_momenta(self.base_momentum, self.max_momentum)
    }
}

impl Schedule for Momentum<Cyclic> {
    fn at(&self, step: u64) -> f64 {
        let cyclic = &self.0;
        cyclic.max_momentum - (cyclic.max_momentum - cyclic.base_momentum) * cyclic.height(step)
    }

    fn validate(&self) -> Result<()> {
        self.0.validate()
    }
}

pub(super) fn check_momenta(base_momentum: f64, max_momentum: f64) -> Result<()> {
    fraction("base_momentum", base_momentum)?;
    fraction("max_momentum", max_momentum)?;
    check("base_momentum", base_momentum, base_momentum <= max_momentum, "at most max_momentum")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_values, message};
    use super::*;

    #[test]
    fn closed_forms() {
        let cyclic = Cyclic { step_size_up: 2, step_size_down: 4, ..Cyclic::new(0.1, 0.5, 0) };
        assert_values(&cyclic, &[(0, 0.1), (1, 0.3), (2, 0.5), (3, 0.4), (5, 0.2), (6, 0.1), (7, 0.3)]);
        assert_values(&cyclic.momentum(), &[(0, 0.9), (1, 0.85), (2, 0.8), (3, 0.825), (6, 0.9)]);
        let range = Cyclic { mode: CyclicMode::ExpRange { gamma: 0.5 }, base_lr: 0.0, max_lr: 1.0, ..cyclic };
        assert_values(&range, &[(1, 0.25), (2, 0.25), (4, 0.03125)]);
        let huge = Cyclic { step_size_up: u64::MAX, step_size_down: u64::MAX, ..cyclic };
        assert!(huge.at(u64::MAX).is_finite());
    }

    #[test]
    fn wrong_settings_are_named() {
        let cyclic = Cyclic::new(0.1, 1.0, 10);
        assert!(
            message(&Cyclic { max_lr: 0.05, ..cyclic }).starts_with("base_lr = 0.1, but it must be at most max_lr")
        );
        assert!(message(&Cyclic { base_lr: -0.1, ..cyclic }).starts_with("base_lr = -0.1"));
        assert!(message(&Cyclic { max_lr: f64::NAN, ..cyclic }).starts_with("max_lr = NaN"));
        assert!(message(&Cyclic { step_size_up: 0, ..cyclic }).starts_with("step_size_up = 0"));
        assert!(message(&Cyclic { step_size_down: 0, ..cyclic }).starts_with("step_size_down = 0"));
        for gamma in [0.0, 1.5, f64::NAN] {
            let mode = CyclicMode::ExpRange { gamma };
            assert!(message(&Cyclic { mode, ..cyclic }).starts_with(&format!("gamma = {gamma}")));
        }
        let momenta = Cyclic { base_momentum: 0.95, ..cyclic };
        assert!(message(&momenta).starts_with("base_momentum = 0.95, but it must be at most max_momentum"));
        assert!(message(&Cyclic { max_momentum: 1.0, ..cyclic }.momentum()).starts_with("max_momentum = 1"));
        // None of them panics without the check.
        assert_eq!(Cyclic { step_size_up: 0, step_size_down: 0, ..cyclic }.at(0), 0.1);
    }
}
