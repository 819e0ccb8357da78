//! [`Rate`]: a learning rate, or another value per step.

use super::{Schedule, table};
use crate::setting::check;
use crate::{Error, Result};

/// The maximum number of steps of a rate: a table on the device has 16 bytes for each.
const MOST_STEPS: u64 = 1 << 25;

/// A learning rate: a number, or a schedule for the steps of a run. Weight decay and momentum use it too.
///
/// ```
/// use thalweg_nn::{Adam, Cosine, Exponential, Linear, Optimizer, ParamsBuilder, Schedule};
/// use thalweg_tensor::Device;
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// Linear::new(&mut builder, "line", 2, 1)?;
/// let params = builder.build(&Device::cpu())?;
/// let constant = Optimizer::new(&params, Adam::new(), 1e-3)?;
/// let cosine = Optimizer::new(&params, Adam::new(), Cosine { lr: 1e-3, min_lr: 0.0, steps: 500 })?;
/// // A schedule that never settles needs the number of steps of the run.
/// let falling = Exponential::new(1e-3, 0.99);
/// let exponential = Optimizer::new(&params, Adam::new(), falling.over(500))?;
/// assert_eq!(exponential.schedule().learning_rates.len(), 500);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Rate(Result<Vec<f64>>);

impl From<f64> for Rate {
    fn from(rate: f64) -> Self {
        Self(Ok(vec![rate]))
    }
}

impl<S: Schedule> From<S> for Rate {
    fn from(schedule: S) -> Self {
        match schedule.settles() {
            Some(step) => schedule.over(step.saturating_add(1)),
            None => Self(Err(Error::Setting {
                field: "rate",
                value: format!("{schedule:?}"),
                rule: "given the steps of the run, as in schedule.over(steps), since it never settles",
            })),
        }
    }
}

impl Rate {
    /// Returns the rate of a schedule over a run of `steps` steps. After them the last value stays.
    pub(super) fn over<S: Schedule + ?Sized>(schedule: &S, steps: u64) -> Self {
        let steps = steps.max(1);
        let is_few =
            check("steps", steps, steps <= MOST_STEPS, "at most 33554432, since the device has a table of them");
        Self(is_few.and_then(|()| table(schedule, steps)))
    }

    /// Returns the values of the first steps; the last one stays.
    ///
    /// # Errors
    /// If the settings of the schedule are not valid, or if it never settles and has no number of steps.
    pub(crate) fn into_table(self) -> Result<Vec<f64>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Constant, Cosine, Exponential};

    fn table_of(rate: impl Into<Rate>) -> Result<Vec<f64>> {
        rate.into().into_table()
    }

    #[test]
    fn numbers_and_schedules_are_rates() {
        assert_eq!(table_of(0.5).unwrap(), [0.5]);
        assert_eq!(table_of(Constant { lr: 0.5 }).unwrap(), [0.5]);
        let cosine = Cosine { lr: 0.2, min_lr: 0.1, steps: 2 };
        assert_eq!(table_of(cosine).unwrap().len(), 3);
        assert_eq!(table_of(cosine.over(2)).unwrap().len(), 2);
        let by_reference: &dyn Schedule = &cosine;
        assert_eq!(table_of(by_reference).unwrap(), table_of(cosine).unwrap());
    }

    #[test]
    fn a_schedule_that_never_settles_or_is_too_long_or_wrong_is_refused() {
        let message = |rate: Rate| rate.into_table().unwrap_err().to_string();
        assert!(message(Exponential::new(0.1, 0.9).into()).contains("schedule.over(steps)"));
        assert!(message(Constant { lr: 0.1 }.over(u64::MAX)).starts_with("steps = 18446744073709551615, but"));
        assert!(message(Cosine { lr: 0.1, min_lr: 0.2, steps: 3 }.into()).starts_with("min_lr = 0.2"));
    }
}
