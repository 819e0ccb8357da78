//! Losses of numbers: squared and absolute errors and their mixtures, quantiles, densities, divergences.

use std::f32::consts::TAU;

use super::functions::{
    ABSOLUTE_ERROR, GAUSSIAN, HUBER, KL_DIVERGENCE, KL_DIVERGENCE_OF_LOGS, POISSON, POISSON_RATE, QUANTILE, SMOOTH_L1,
    SQUARED_ERROR, STIRLING,
};
use super::{Reduction, check, of_one_shape, wide};
use crate::{Result, Var};

impl Var<'_> {
    /// Returns the squared error, (x - target)².
    ///
    /// A mean whose target is data is fused with its gradient, as in [`mse`](Self::mse).
    ///
    /// # Shapes
    /// Both of one shape → that shape, or `[]` if it is reduced.
    ///
    /// # Errors
    /// If the shapes differ, the elements are not f32, or the operands are on different devices or tapes.
    pub fn mse_loss(self, target: Self, reduction: Reduction) -> Result<Self> {
        let [x, target] = of_one_shape("mse_loss", self, target)?;
        if reduction == Reduction::Mean && !target.is_tracked() {
            return x.mse(&target.value());
        }
        reduction.of(x.apply_with(&SQUARED_ERROR, &[target], &[])?)
    }

    /// Returns the absolute error, |x - target|. The gradient is 0 where both are equal.
    ///
    /// # Shapes
    /// As of [`mse_loss`](Self::mse_loss).
    ///
    /// # Errors
    /// As of [`mse_loss`](Self::mse_loss).
    pub fn l1_loss(self, target: Self, reduction: Reduction) -> Result<Self> {
        let [x, target] = of_one_shape("l1_loss", self, target)?;
        reduction.of(x.apply_with(&ABSOLUTE_ERROR, &[target], &[])?)
    }

    /// Returns Huber's loss: d² / 2 if |d| is at most `delta`, else `delta` (|d| - `delta` / 2), with d = x - target.
    ///
    /// # Shapes
    /// As of [`mse_loss`](Self::mse_loss).
    ///
    /// # Errors
    /// As of [`mse_loss`](Self::mse_loss), or if delta is not a finite number greater than 0.
    pub fn huber_loss(self, target: Self, reduction: Reduction, delta: f32) -> Result<Self> {
        check("huber_loss", "delta", delta, delta > 0.0 && delta.is_finite(), "a number greater than 0")?;
        let [x, target] = of_one_shape("huber_loss", self, target)?;
        reduction.of(x.apply_with(&HUBER, &[target], &[delta])?)
    }

    /// Returns Huber's loss divided by its `delta`, here `beta`; with a beta of 0 it is [`l1_loss`](Self::l1_loss).
    ///
    /// # Shapes
    /// As of [`mse_loss`](Self::mse_loss).
    ///
    /// # Errors
    /// As of [`mse_loss`](Self::mse_loss), or if beta is negative or not finite.
    pub fn smooth_l1_loss(self, target: Self, reduction: Reduction, beta: f32) -> Result<Self> {
        check("smooth_l1_loss", "beta", beta, beta >= 0.0 && beta.is_finite(), "a finite number of at least 0")?;
        // Smaller ones have no inverse.
        if beta < f32::MIN_POSITIVE {
            return self.l1_loss(target, reduction);
        }
        let [x, target] = of_one_shape("smooth_l1_loss", self, target)?;
        reduction.of(x.apply_with(&SMOOTH_L1, &[target], &[beta])?)
    }

    /// Returns the loss whose mean is smallest at a quantile: `tau` (target - x) where the target is larger, else
    /// (1 - `tau`) (x - target). It is also called the pinball loss (Koenker, Bassett, 1978).
    ///
    /// # Shapes
    /// As of [`mse_loss`](Self::mse_loss).
    ///
    /// # Errors
    /// As of [`mse_loss`](Self::mse_loss), or if tau is not between 0 and 1.
    pub fn quantile_loss(self, target: Self, tau: f32, reduction: Reduction) -> Result<Self> {
        check("quantile_loss", "tau", tau, (0.0..=1.0).contains(&tau), "between 0 and 1")?;
        let [x, target] = of_one_shape("quantile_loss", self, target)?;
        reduction.of(x.apply_with(&QUANTILE, &[target], &[tau])?)
    }

    /// Returns -ln of the probability of counts under Poisson distributions, up to a constant.
    ///
    /// With `log_input` the variable is the logarithm of the rates, and the loss eˣ - target x. Otherwise it is the rates,
    /// and the loss x - target ln(x + `eps`). With `full`, Stirling's approximation of ln target! is added where the target
    /// is more than 1. Common is an eps of 1e-8.
    ///
    /// # Shapes
    /// As of [`mse_loss`](Self::mse_loss).
    ///
    /// # Errors
    /// As of [`mse_loss`](Self::mse_loss).
    pub fn poisson_nll_loss(
        self,
        target: Self,
        log_input: bool,
        full: bool,
        eps: f32,
        reduction: Reduction,
    ) -> Result<Self> {
        let [x, target] = of_one_shape("poisson_nll_loss", self, target)?;
        let mut losses = if log_input {
            x.apply_with(&POISSON, &[target], &[])?
        } else {
            x.apply_with(&POISSON_RATE, &[target], &[eps])?
        };
        if full {
            losses = losses.add(target.apply(&STIRLING, &[])?)?;
        }
        reduction.of(losses)
    }

    /// Returns -ln of the density of targets under normal distributions: half of ln v + (x - target)² / v, v being the
    /// variance, or `eps` where that is larger.
    ///
    /// With `full`, ln(2π) / 2 is added. Common is an eps of 1e-6. As in PyTorch the bound passes the gradient. A negative
    /// variance counts as eps, where PyTorch fails: the device does not look at the variances before.
    ///
    /// # Shapes
    /// Input and target of one shape. The variance broadcasts to it, or lacks its last axis.
    ///
    /// # Errors
    /// As of [`mse_loss`](Self::mse_loss), or if eps is not greater than 0.
    pub fn gaussian_nll_loss(
        self,
        target: Self,
        var: Self,
        full: bool,
        eps: f32,
        reduction: Reduction,
    ) -> Result<Self> {
        let op = "gaussian_nll_loss";
        check(op, "eps", eps, eps > 0.0 && eps.is_finite(), "a finite number greater than 0")?;
        let [x, target] = of_one_shape(op, self, target)?;
        let shape = self.shape();
        let lacks_last = shape.len() == var.shape().len() + 1 && shape.starts_with(&var.shape());
        let var = if lacks_last { var.unsqueeze(-1)? } else { var };
        let var = wide(var)?.broadcast_to(&shape)?;
        reduction.of(x.apply_with(&GAUSSIAN, &[target, var], &[eps, if full { 0.5 * TAU.ln() } else { 0.0 }])?)
    }

    /// Returns the terms of the divergence of Kullback and Leibler, target (ln target - x), of log-probabilities x from
    /// the probabilities of the target. A target of 0 gives 0.
    ///
    /// With `log_target` the target holds log-probabilities too. The divergence itself is a sum of terms, so
    /// [`Reduction::BatchMean`] gives the mean of those of the rows.
    ///
    /// # Shapes
    /// As of [`mse_loss`](Self::mse_loss).
    ///
    /// # Errors
    /// As of [`mse_loss`](Self::mse_loss).
    pub fn kl_div(self, target: Self, reduction: Reduction, log_target: bool) -> Result<Self> {
        let [x, target] = of_one_shape("kl_div", self, target)?;
        let function = if log_target { &KL_DIVERGENCE_OF_LOGS } else { &KL_DIVERGENCE };
        reduction.of(x.apply_with(function, &[target], &[])?)
    }
}
