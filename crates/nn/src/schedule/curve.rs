//! Curves from one value to another.

use std::f64::consts::PI;

use super::setting;
use crate::Result;

/// A curve from a value `a` to a value `b`, for a fraction x from 0 to 1.
///
/// ```
/// use thalweg_nn::schedule::Curve;
/// assert_eq!(Curve::Linear.between(1.0, 0.0, 0.25), 0.75);
/// assert_eq!(Curve::SquareRoot.between(1.0, 0.0, 0.25), 0.5);
/// assert_eq!(Curve::Exponential.between(1.0, 0.01, 0.5), 0.1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Curve {
    /// `a + (b − a) x`.
    #[default]
    Linear,
    /// Half a cosine: `b + (a − b) (1 + cos(π x)) / 2`.
    Cosine,
    /// `a (b / a)^x`; both must be greater than 0.
    Exponential,
    /// `a + (b − a) √x`, steep first. With b = 0 it is the "1-sqrt" of Hägele et al.: Scaling laws and compute-optimal
    /// training beyond fixed training durations (NeurIPS 2024).
    SquareRoot,
}

impl Curve {
    /// Returns the value at a fraction; exactly `a` up to 0, and `b` from 1 on.
    #[must_use]
    pub fn between(self, a: f64, b: f64, x: f64) -> f64 {
        match self {
            _ if x <= 0.0 => a,
            _ if x >= 1.0 => b,
            Self::Linear => a + (b - a) * x,
            Self::Cosine => b + (a - b) * 0.5 * (1.0 + (PI * x).cos()),
            Self::Exponential => a * (b / a).powf(x),
            Self::SquareRoot => a + (b - a) * x.sqrt(),
        }
    }

    /// Returns the value after `step` of `steps`; the last one if there are no steps.
    pub(super) fn step(self, a: f64, b: f64, step: u64, steps: u64) -> f64 {
        if step >= steps { b } else { self.between(a, b, step as f64 / steps as f64) }
    }

    /// Checks that the curve can begin or end at a value that is at least 0.
    pub(super) fn check_end(self, field: &'static str, value: f64) -> Result<()> {
        if self == Self::Exponential && value == 0.0 {
            return Err(setting(field, value, "greater than 0 where the curve is exponential"));
        }
        Ok(())
    }
}
