//! Parameters that a model is evaluated with, where they are others than those that are trained: averages.

use thalweg_tensor::{Arena, hold_as};

use super::Optimizer;
use crate::{Error, Result};

/// Where the parameters lie that a model is to be evaluated with.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum EvaluationPoint {
    /// In the parameters.
    Parameters,
    /// At param + weight (state - param); with a weight of 1 in the state itself.
    Blend {
        /// The number of the arena of state.
        state: usize,
        /// How far on the way to it.
        weight: f64,
    },
}

/// Other values in the place of the parameters, while these are kept.
#[derive(Debug, Default)]
pub(super) struct Swap {
    kept: Option<Arena>,
    is_in: bool,
}

impl Swap {
    /// Whether other values stand in the place of the parameters.
    pub(super) fn is_in(&self) -> bool {
        self.is_in
    }

    /// Puts others in their place, unless there are some; `put` does, and keeps the parameters in the arena that it gets.
    pub(super) fn put_in(
        &mut self,
        values: &Arena,
        put: impl FnOnce(&Arena) -> thalweg_tensor::Result<()>,
    ) -> Result<()> {
        if self.is_in {
            return Ok(());
        }
        let kept = match self.kept.take() {
            Some(kept) => kept,
            None => hold_as("optimizer state", || values.zeros_like())?,
        };
        let done = put(&kept);
        self.kept = Some(kept);
        self.is_in = done.is_ok();
        Ok(done?)
    }

    /// Puts the parameters back, to the bit: one copy.
    pub(super) fn take_out(&mut self, values: &Arena) -> Result<()> {
        if let (true, Some(kept)) = (self.is_in, &self.kept) {
            values.copy_from(kept)?;
        }
        self.is_in = false;
        Ok(())
    }
}

impl Optimizer {
    /// Puts the parameters that the model is to be evaluated with in the place of those that are trained: the averages of
    /// [`Asgd`](crate::Asgd), the x of [`ScheduleFreeSgd`](crate::ScheduleFreeSgd) and
    /// [`ScheduleFreeAdamW`](crate::ScheduleFreeAdamW). For other methods, and before the first step, they are the same.
    /// Those that are trained are kept, bit by bit, until [`train`](Self::train). One launch, and 4 bytes of memory per
    /// parameter, kept from the first call on; 16 bytes moved per parameter.
    ///
    /// ```
    /// use thalweg_nn::{Linear, Optimizer, ParamsBuilder, ScheduleFreeAdamW};
    /// use thalweg_tensor::Device;
    /// # fn main() -> thalweg_nn::Result<()> {
    /// # let mut builder = ParamsBuilder::new(0);
    /// # Linear::new(&mut builder, "line", 2, 1)?;
    /// # let params = builder.build(&Device::cpu())?;
    /// let mut optimizer = Optimizer::new(&params, ScheduleFreeAdamW::default())?;
    /// optimizer.step()?;
    /// optimizer.eval()?;
    /// // Evaluate, or save the model.
    /// optimizer.train()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the device has no room, or work on it has failed.
    pub fn eval(&mut self) -> Result<()> {
        let EvaluationPoint::Blend { state, weight } = self.method.evaluation_point() else { return Ok(()) };
        let other = self.state.get(state).unwrap_or_else(|| unreachable!("a method names a state that it has")).clone();
        self.swap_in(&other, weight)
    }

    /// Whether [`eval`](Self::eval) has put other parameters in place.
    #[must_use]
    pub fn is_evaluating(&self) -> bool {
        self.evaluation.is_in()
    }

    /// Puts param + weight (other - param) in the place of the parameters.
    pub(super) fn swap_in(&mut self, other: &Arena, weight: f64) -> Result<()> {
        let Self { params, clock, evaluation, .. } = self;
        let values = params.values();
        evaluation.put_in(values, |kept| clock.swap_in(values, other, weight, kept))
    }

    /// Puts the parameters that are trained back, to the bit: one copy.
    ///
    /// # Errors
    /// Where work on the device has failed.
    pub fn train(&mut self) -> Result<()> {
        self.evaluation.take_out(self.params.values())
    }

    /// That no other values stand in the place of the parameters.
    pub(super) fn check_is_training(&self) -> Result<()> {
        if self.evaluation.is_in() {
            return Err(Error::Setting {
                field: "mode",
                value: "evaluation".to_string(),
                rule: "training: call train() first",
            });
        }
        Ok(())
    }
}
