//! Gradient accumulation.

use serde::{Deserialize, Serialize};

use super::Optimizer;
use super::state_dict::{Plan, check_same, from_json, read, to_json};
use crate::setting::check;
use crate::{Checkpoint, Result};

/// The key in the metadata, and the name of gradients in the midst of a step.
const KEY: &str = "gradient_accumulation";
const GRAD: &str = "grad";

/// Steps with the mean of the gradients of several micro-batches, for batches that are larger than memory: gradients add up
/// over so many backward passes, are divided by their number, and the optimizer steps once, with its clipping behind the
/// division. The mean is that of the whole batch where micro-batches have the same size and losses are means.
///
/// # Launches
/// One beside those of the optimizer, at each step; 8 bytes moved per parameter. Without micro-batches (1) none.
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
/// In a recording all micro-batches of a step must be done, so that every replay is a whole step.
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
    /// Over so many micro-batches a step.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if their number is 0.
    pub fn new(optimizer: Optimizer, micro_batches: u32) -> Result<Self> {
        check("micro_batches", micro_batches, micro_batches > 0, "at least 1")?;
        Ok(Self { optimizer, micro_batches, done: 0 })
    }

    /// The gradients of a micro-batch, which `gradients` adds by a backward pass; before the first of a step they are made
    /// zero, and behind the last the optimizer steps. Returns whether it has.
    ///
    /// # Errors
    /// Those of `gradients`, and of [`Optimizer::step`]. After an error, and after a panic of `gradients`, the micro-batches
    /// so far are discarded, since a part of one may have been added to their gradients: the next call begins a new step.
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

    /// Returns the number of micro-batches of a step.
    #[must_use]
    pub fn micro_batches(&self) -> u32 {
        self.micro_batches
    }

    /// Micro-batches of a step that is not done yet.
    #[must_use]
    pub fn pending(&self) -> u32 {
        self.done
    }

    /// Returns the optimizer inside.
    #[must_use]
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// Returns the optimizer inside, to set its schedule and the like.
    #[must_use]
    pub fn optimizer_mut(&mut self) -> &mut Optimizer {
        &mut self.optimizer
    }

    /// As [`Optimizer::state_dict`], also in the midst of a step: then with the gradients so far as `state.PARAMETER.grad`.
    ///
    /// # Errors
    /// As [`Optimizer::state_dict`].
    pub fn state_dict(&self) -> Result<Checkpoint> {
        let mut saved = self.optimizer.state_dict()?;
        saved.metadata[KEY] = to_json(&Manifest { micro_batches: self.micro_batches.to_string(), done: self.done })?;
        if self.done > 0 {
            let params = &self.optimizer.params;
            saved.tensors.extend(read(params, GRAD, params.settled_grads()?)?);
        }
        Ok(saved)
    }

    /// As [`Optimizer::load_state_dict`].
    ///
    /// # Errors
    /// As [`Optimizer::load_state_dict`].
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
