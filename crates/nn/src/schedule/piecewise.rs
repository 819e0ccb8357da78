//! Schedules by points.

use super::curve::Curve;
use super::{Schedule, setting};
use crate::Result;
use crate::setting::not_negative;

/// A value that jumps at given steps: the value of the last point whose step is reached.
///
/// Optax's `piecewise_constant_schedule`, which has factors instead of values. PyTorch's `ConstantLR` has two points.
///
/// ```
/// use thalweg_nn::{PiecewiseConstant, Schedule};
/// let schedule = PiecewiseConstant { points: vec![(0, 0.1), (100, 0.05), (300, 0.01)] };
/// schedule.validate()?;
/// assert_eq!([0, 99, 100, 400].map(|step| schedule.at(step)), [0.1, 0.1, 0.05, 0.01]);
/// # Ok::<(), thalweg_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PiecewiseConstant {
    /// Steps and values; the first has step 0, the others are in rising order.
    pub points: Vec<(u64, f64)>,
}

impl Schedule for PiecewiseConstant {
    fn at(&self, step: u64) -> f64 {
        let come = self.points.partition_point(|&(start, _)| start <= step);
        // `validate` refuses an empty list; this must not panic without it.
        self.points[..come].last().map_or(0.0, |&(_, value)| value)
    }

    fn validate(&self) -> Result<()> {
        check_points(&self.points)?;
        match self.points[0].0 {
            0 => Ok(()),
            first => Err(setting("points", first, "of step 0 in the beginning")),
        }
    }

    fn settles(&self) -> Option<u64> {
        self.points.last().map(|&(step, _)| step)
    }
}

/// A value that follows a curve between given points. Before the first and after the last point it is constant.
///
/// Optax's `piecewise_interpolate_schedule`, which has factors instead of values. With a cosine and many points it
/// rises and falls as PyTorch's `CosineAnnealingLR` does after `T_max`. With an exponential and two points it is the
/// ramp of a learning-rate range test. It can also raise a weight decay.
///
/// ```
/// use thalweg_nn::schedule::{Curve, Interpolated};
/// use thalweg_nn::Schedule;
/// let schedule = Interpolated { points: vec![(0, 0.04), (100, 0.4)], curve: Curve::Cosine };
/// schedule.validate()?;
/// assert!((schedule.at(50) - 0.22).abs() < 1e-15);
/// assert_eq!(schedule.at(100), 0.4);
/// # Ok::<(), thalweg_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Interpolated {
    /// Steps and values, in rising order of the steps.
    pub points: Vec<(u64, f64)>,
    /// The curve from a point to the next.
    pub curve: Curve,
}

impl Schedule for Interpolated {
    fn at(&self, step: u64) -> f64 {
        let (come, ahead) = self.points.split_at(self.points.partition_point(|&(start, _)| start <= step));
        match (come.last(), ahead.first()) {
            (Some(&(start, from)), Some(&(end, to))) => self.curve.step(from, to, step - start, end - start),
            (Some(&(_, value)), None) | (None, Some(&(_, value))) => value,
            (None, None) => 0.0,
        }
    }

    fn validate(&self) -> Result<()> {
        check_points(&self.points)?;
        self.points.iter().try_for_each(|&(_, value)| self.curve.check_end("points", value))
    }

    fn settles(&self) -> Option<u64> {
        self.points.last().map(|&(step, _)| step)
    }
}

fn check_points(points: &[(u64, f64)]) -> Result<()> {
    if points.is_empty() {
        return Err(setting("points", "[]", "at least one"));
    }
    if let Some(pair) = points.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        return Err(setting("points", format!("{pair:?}"), "in rising order of their steps"));
    }
    points.iter().try_for_each(|&(_, value)| not_negative("points", value))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_values, message};
    use super::*;

    #[test]
    fn closed_forms() {
        let line = Interpolated { points: vec![(2, 0.1), (4, 0.3), (6, 0.0)], curve: Curve::Linear };
        assert_values(&line, &[(0, 0.1), (2, 0.1), (3, 0.2), (4, 0.3), (5, 0.15), (6, 0.0), (u64::MAX, 0.0)]);
        let ramp = Interpolated { points: vec![(0, 1e-6), (6, 1.0)], curve: Curve::Exponential };
        assert_values(&ramp, &[(0, 1e-6), (1, 1e-5), (3, 1e-3), (6, 1.0)]);
    }

    #[test]
    fn wrong_settings_are_named() {
        let constant = |points: &[(u64, f64)]| message(&PiecewiseConstant { points: points.to_vec() });
        assert_eq!(constant(&[]), "points = [], but it must be at least one");
        assert!(constant(&[(1, 0.1)]).starts_with("points = 1, but it must be of step 0"));
        assert!(constant(&[(0, 0.1), (0, 0.2)]).starts_with("points = [(0, 0.1), (0, 0.2)], but it must be in rising"));
        assert!(constant(&[(0, 0.1), (3, f64::NAN)]).starts_with("points = NaN"));
        let ramp = Interpolated { points: vec![(0, 0.0), (9, 1.0)], curve: Curve::Exponential };
        assert!(message(&ramp).starts_with("points = 0, but it must be greater than 0 where the curve is exponential"));
        // None of them panics without the check.
        for points in [vec![], vec![(5, 0.5), (5, 0.1), (0, 0.2)]] {
            for step in [0, 3, 7] {
                let _ = PiecewiseConstant { points: points.clone() }.at(step);
                let _ = Interpolated { points: points.clone(), curve: Curve::Linear }.at(step);
            }
        }
    }
}
