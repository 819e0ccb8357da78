//! The Hessian's diagonal, for methods that use it: given, or estimated.

use thalweg_autograd::Var;
use thalweg_tensor::{Arena, Curvature};

use super::Optimizer;
use crate::losses::{Loss, Sampler};
use crate::{Error, Result};

/// The streams of random numbers for drawing targets, after those of parameters and of dropout.
const STREAM: u64 = 1 << 33;

/// A method's average of the Hessian's diagonal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HessianAverage {
    /// The name of its arena of state.
    pub state: &'static str,
    /// Its decay rate.
    pub beta2: f64,
    /// The number of steps between estimates.
    pub interval: u64,
    /// The seed for drawing the targets of estimates.
    pub seed: u64,
}

impl Optimizer {
    /// Returns the number of steps between estimates of the Hessian's diagonal, or `None` for methods that need none.
    #[must_use]
    pub fn hessian_interval(&self) -> Option<u64> {
        self.method.capabilities().hessian.map(|hessian| hessian.interval.max(1))
    }

    /// Updates the average of the Hessian's diagonal with a given diagonal, in the layout of the parameters
    /// ([`Arena::zeros_like`] of [`Params::values`](crate::Params::values)). It takes one launch and has an effect from
    /// the next step on. Elements that are not finite, and those of frozen parameters, are left out.
    ///
    /// # Errors
    /// [`Error::Setting`] if the method keeps no such average. If the layouts differ, or the device fails.
    pub fn update_hessian(&mut self, diagonal: &Arena) -> Result<()> {
        let hessian = self.hessian()?;
        self.follow_freezing()?;
        let average = self.state_arena(hessian.state)?;
        Ok(self.clock.average_hessian(average, diagonal, hessian.beta2, Curvature::Diagonal)?)
    }

    /// Estimates the Hessian's diagonal from a batch (Gauss-Newton-Bartlett), and updates its average. Targets are
    /// drawn from the model's distribution for the batch. The estimate is B g², with the gradient g of the mean loss of
    /// the B rows for these targets. Its expectation is the diagonal of the Gauss-Newton matrix.
    ///
    /// `output` is that of a fresh forward pass, on its own tape, whose values are freed. Classes are drawn from the
    /// softmax. Squared errors have a normal distribution of variance 1/2, so numbers are drawn from it around the
    /// output, and B is the number of all elements. The draws follow from the seed of the method and the steps so far:
    /// a run repeats to the bit, and a replayed step draws new numbers. The gradients of the parameters are zero
    /// afterwards, so call it after the step. One launch draws and one updates the average, in addition to the backward
    /// pass.
    ///
    /// ```
    /// use thalweg_autograd::Tape;
    /// use thalweg_nn::{CrossEntropy, Linear, Loss, Module, Optimizer, ParamsBuilder, Sophia};
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let device = Device::cpu();
    /// let mut builder = ParamsBuilder::new(0);
    /// let model = Linear::new(&mut builder, "line", 2, 2)?;
    /// let params = builder.build(&device)?;
    /// let mut optimizer = Optimizer::new(&params, Sophia::new(), 0.01)?;
    /// let x = Tensor::from_slice(&device, &[1.0, 0.0, 0.0, 1.0], &[2, 2])?;
    /// let y = Tensor::from_slice(&device, &[0u32, 1], &[2])?;
    /// for step in 0..200 {
    ///     let tape = Tape::new();
    ///     let loss = CrossEntropy.of(model.forward(tape.constant(&x))?, &y)?;
    ///     params.zero_grad();
    ///     tape.backward(loss)?;
    ///     optimizer.step()?;
    ///     if step % 10 == 0 {
    ///         let tape = Tape::new();
    ///         optimizer.estimate_hessian(model.forward(tape.constant(&x))?, &CrossEntropy)?;
    ///     }
    /// }
    /// assert_eq!(model.forward(Tape::inference().constant(&x))?.value().argmax(-1, false)?.to_vec::<u32>()?, [0, 1]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] if the method keeps no such average. If the output does not fit the loss, or the device
    /// fails.
    pub fn estimate_hessian(&mut self, output: Var<'_>, loss: &dyn Loss) -> Result<()> {
        let hessian = self.hessian()?;
        let (targets, terms) =
            loss.sample_targets(&output.value(), &Sampler::new(&self.clock, hessian.seed, STREAM))?;
        let sampled = loss.of(output, &targets)?;
        self.params.zero_grad();
        output.tape().backward_and_free(sampled)?;
        self.follow_freezing()?;
        let (average, grads) = (self.state_arena(hessian.state)?, self.params.settled_grads()?);
        self.clock.average_hessian(average, grads, hessian.beta2, Curvature::SampledGradient(terms))?;
        // No step may use the gradients of a sampled loss.
        self.params.zero_grad();
        Ok(())
    }

    fn hessian(&self) -> Result<HessianAverage> {
        self.method.capabilities().hessian.ok_or_else(|| Error::Setting {
            field: "optimizer",
            value: self.method.name().to_string(),
            rule: "one that keeps the Hessian's diagonal, as sophia does",
        })
    }
}
