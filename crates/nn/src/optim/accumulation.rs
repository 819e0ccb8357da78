//! Gradient accumulation.

use serde::{Deserialize, Serialize};

use super::Optimizer;
use super::state_dict::{Plan, check_same, from_json, read, to_json};
use crate::setting::check;
use crate::{Checkpoint, Result};

/// The key in the metadata, and the name of the gradients of an unfinished step.
const KEY: &str = "gradient_accumulation";
const GRAD: &str = "grad";

/// Steps with the mean gradient of several micro-batches, for batches larger than memory. Gradients add up over the
/// backward passes and are divided by their number; then the optimizer steps once, and clips after the division. The
/// mean is that of the whole batch if micro-batches have the same size and losses are means.
///
/// # Launches
/// One per step in addition to the optimizer's; it moves 8 bytes per parameter. With one micro-batch none.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{GradientAccumulation, Linear, Loss, Module, Mse, Optimizer, ParamsBuilder, Sgd};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let mut builder = ParamsBuilder::new(0);
/// let model = Linear::new(&mut builder, "line", 1, 1)?;
/// let params = builder.build(&device)?;
/// let mut accumulation = GradientAccumulation::new(Optimizer::new(&params, Sgd::new(), 1e-2)?, 2)?;
/// let x = Tensor::from_slice(&device, &[0.0, 1.0, 2.0, 3.0], &[4, 1])?;
/// let y = x.affine(2.0, 1.0)?;
/// for rows in [0..2, 2..4] {
///     let stepped = accumulation.micro_step(|| {
///         let tape = Tape::new();
///         let (x, y) = (x.slice(0, rows.start, rows.end)?.copy()?, y.slice(0, rows.start, rows.end)?.copy()?);
///         Ok(tape.backward(Mse.of(model.forward(tape.constant(&x))?, &y)?)?)
///     })?;
///     assert_eq!(stepped, rows.start == 2);
/// }
/// # Ok(())
/// # }
/// ```
///
/// A recording must contain all micro-batches of a step, so that every replay is a whole step.
#[derive(Debug)]
pub struct GradientAccumulation {
    optimizer: Optimizer,
    micro_batches: u32,
    done: u32,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    micro_batches: String,
    done: u32,
}

impl GradientAccumulation {
    /// Wraps an optimizer, with `micro_batches` micro-batches per step.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if their number is 0.
    pub fn new(optimizer: Optimizer, micro_batches: u32) -> Result<Self> {
        check("micro_batches", micro_batches, micro_batches > 0, "at least 1")?;
        Ok(Self { optimizer, micro_batches, done: 0 })
    }

    /// Adds the gradients of a micro-batch, for which `gradients` runs a backward pass. They are zeroed before the
    /// first micro-batch of a step, and the optimizer steps after the last one. Returns whether it stepped.
    ///
    /// # Errors
    /// Same as `gradients` and [`Optimizer::step`]. After an error, and after a panic of `gradients`, the micro-batches
    /// so far are discarded, because `gradients` may have added a part of one: the next call begins a new step.
    pub fn micro_step<T>(&mut self, gradients: impl FnOnce() -> Result<T>) -> Result<bool> {
        let done = std::mem::take(&mut self.done);
        if done == 0 {
            self.optimizer.params.zero_grad();
        }
        gradients()?;
        self.optimizer.params.check_grads("GradientAccumulation::micro_step")?;
        if done + 1 < self.micro_batches {
            self.done = done + 1;
            return Ok(false);
        }
        if self.micro_batches > 1 {
            self.optimizer.params.settled_grads()?.scale((1.0 / f64::from(self.micro_batches)) as f32)?;
        }
        self.optimizer.step()?;
        Ok(true)
    }

    /// Returns the number of micro-batches per step.
    #[must_use]
    pub fn micro_batches(&self) -> u32 {
        self.micro_batches
    }

    /// Returns the number of micro-batches done of the current step.
    #[must_use]
    pub fn pending(&self) -> u32 {
        self.done
    }

    /// Returns the inner optimizer.
    #[must_use]
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// Returns the inner optimizer, to set its schedule and the like.
    #[must_use]
    pub fn optimizer_mut(&mut self) -> &mut Optimizer {
        &mut self.optimizer
    }

    /// Returns [`Optimizer::state_dict`]. During a step it has the gradients so far as `state.PARAMETER.grad`.
    ///
    /// # Errors
    /// Same as [`Optimizer::state_dict`].
    pub fn state_dict(&self) -> Result<Checkpoint> {
        let mut saved = self.optimizer.state_dict()?;
        saved.metadata[KEY] = to_json(&Manifest { micro_batches: self.micro_batches.to_string(), done: self.done })?;
        if self.done > 0 {
            let params = &self.optimizer.params;
            saved.tensors.extend(read(params, GRAD, params.settled_grads()?)?);
        }
        Ok(saved)
    }

    /// Loads a state: see [`Optimizer::load_state_dict`].
    ///
    /// # Errors
    /// Same as [`Optimizer::load_state_dict`].
    pub fn load_state_dict(&mut self, saved: &Checkpoint) -> Result<()> {
        let manifest: Manifest = from_json(saved, KEY)?;
        check_same("micro_batches", &manifest.micro_batches, &self.micro_batches)?;
        let params = self.optimizer.params.clone();
        let mut plan = Plan::default();
        if manifest.done > 0 {
            plan.add(saved, &params, GRAD, params.settled_grads()?)?;
        }
        self.optimizer.load_state_dict(saved)?;
        plan.write()?;
        self.done = manifest.done;
        if self.done > 0 {
            params.parameters().iter().for_each(thalweg_autograd::Parameter::mark_grad_written);
        }
        Ok(())
    }
}
