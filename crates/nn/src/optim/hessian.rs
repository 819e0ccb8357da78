//! The Hessian's diagonal, for methods that go by it: handed in, or estimated.

use thalweg_autograd::Var;
use thalweg_tensor::{Arena, Curvature};

use super::Optimizer;
use crate::losses::{Loss, Sampler};
use crate::{Error, Result};

/// The streams of random numbers that targets are drawn from: behind those of parameters and of dropout.
const STREAM: u64 = 1 << 33;

/// What a method says of the average that it keeps of the Hessian's diagonal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HessianAverage {
    /// The name of the arena of state that holds it.
    pub state: &'static str,
    /// Its decay rate.
    pub beta2: f64,
    /// Steps from one estimate to the next.
    pub interval: u64,
    /// What the targets of estimates are drawn by.
    pub seed: u64,
}

impl Optimizer {
    /// Steps from one estimate of the Hessian's diagonal to the next; `None` for methods that need none.
    #[must_use]
    pub fn hessian_interval(&self) -> Option<u64> {
        self.method.capabilities().hessian.map(|hessian| hessian.interval.max(1))
    }

    /// Takes the average of the Hessian's diagonal one estimate further, by a diagonal that is handed in, in the layout of
    /// the parameters ([`Arena::zeros_like`] of [`Params::values`](crate::Params::values)). One launch; it counts from the
    /// next step on. Elements that are not finite, and those of frozen parameters, are left out.
    ///
    /// # Errors
    /// [`Error::Setting`] if the method keeps no such average; if the layouts differ, or the device fails.
    pub fn update_hessian(&mut self, diagonal: &Arena) -> Result<()> {
        let hessian = self.hessian()?;
        self.follow_freezing()?;
        let average = self.state_arena(hessian.state)?;
        Ok(self.clock.average_hessian(average, diagonal, hessian.beta2, Curvature::Diagonal)?)
    }

    /// Estimates the Hessian's diagonal from a batch by Gauss, Newton and Bartlett, and takes its average further: targets
    /// are drawn from what the model says of the batch, and the estimate is B g², with the gradient g of the mean loss of
    /// the B rows against these targets. Its mean is the diagonal of the Gauss-Newton matrix.
    ///
    /// `output` is that of a fresh forward pass, on a tape of its own, whose values are let go of. Classes are drawn from the
    /// softmax; for squared errors, which are a Gaussian's of variance 1/2, numbers from that around the output, and B is the
    /// number of all elements. The draws follow from the seed of the method and the steps so far, so that a run repeats to
    /// the bit, and a recorded step draws anew. The gradients of the parameters are zero afterwards: step
    /// before it. One
    /// launch to draw and one for the average, beside those of the backward pass.
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
    /// [`Error::Setting`] if the method keeps no such average; if the output does not fit the loss, or the device
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
        // No step may go by the gradients of a sampled loss.
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
