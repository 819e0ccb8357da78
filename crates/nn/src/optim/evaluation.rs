//! Evaluation with other parameters than the trained ones, such as averages.

use thalweg_tensor::Arena;

use super::Optimizer;
use crate::Result;
use crate::params::swap::Calls;

/// The parameters to evaluate a model with.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum EvaluationPoint {
    /// The trained parameters.
    Parameters,
    /// param + weight (state - param); with a weight of 1 the state itself.
    Blend {
        /// The name of the arena of state.
        state: &'static str,
        /// The weight of the state.
        weight: f64,
    },
}

const EVAL: Calls = Calls { put_in: "Optimizer::eval", take_out: "Optimizer::train" };

impl Optimizer {
    /// Replaces the trained parameters by those to evaluate with: the averages of [`Asgd`](crate::Asgd), the x of
    /// [`ScheduleFreeSgd`](crate::ScheduleFreeSgd) and [`ScheduleFreeAdamW`](crate::ScheduleFreeAdamW). For other
    /// methods, and before the first step, they are the same. The trained ones are kept, bit by bit, until
    /// [`train`](Self::train). It takes one launch and moves 16 bytes per parameter. The memory is 4 bytes per
    /// parameter, kept from the first call on.
    ///
    /// ```
    /// use thalweg_nn::{Linear, Optimizer, ParamsBuilder, ScheduleFreeAdamW};
    /// use thalweg_tensor::Device;
    /// # fn main() -> thalweg_nn::Result<()> {
    /// # let mut builder = ParamsBuilder::new(0);
    /// # Linear::new(&mut builder, "line", 2, 1)?;
    /// # let params = builder.build(&Device::cpu())?;
    /// let mut optimizer = Optimizer::new(&params, ScheduleFreeAdamW::new(), 2.5e-3)?;
    /// # params.grads()?;
    /// // After each backward pass:
    /// optimizer.step()?;
    /// optimizer.eval()?;
    /// // Evaluate, or save the model.
    /// optimizer.train()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Order`](crate::Error::Order) if other values already replace the parameters, as after
    /// [`WeightAverage::swap_in`](crate::WeightAverage::swap_in). If the device has no room, or work on it has failed.
    /// [`Error::Setting`](crate::Error::Setting) if the method names a state that it does not keep.
    pub fn eval(&mut self) -> Result<()> {
        let EvaluationPoint::Blend { state, weight } = self.method.capabilities().evaluation else {
            return if self.is_evaluating() { Ok(()) } else { self.params.check_in_place(EVAL.put_in) };
        };
        let other = self.state_arena(state)?.clone();
        self.swap_in(EVAL, &other, weight)
    }

    /// Returns whether [`eval`](Self::eval) has replaced the parameters.
    #[must_use]
    pub fn is_evaluating(&self) -> bool {
        self.swap.is_in()
    }

    /// Replaces the parameters by param + weight (other - param).
    pub(super) fn swap_in(&mut self, calls: Calls, other: &Arena, weight: f64) -> Result<()> {
        self.follow_freezing()?;
        self.swap.put_in(calls, |values, kept| self.clock.swap_in(values, other, weight, kept))
    }

    /// Restores the trained parameters, to the bit, with one copy. Does nothing if they are in place.
    ///
    /// # Errors
    /// [`Error::Order`](crate::Error::Order) if values of another owner replace the parameters. If work on the device
    /// has failed.
    pub fn train(&mut self) -> Result<()> {
        self.swap.take_out(EVAL.take_out)
    }
}
