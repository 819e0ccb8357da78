//! Losses that grow as the absolute error: [`L1`], [`SmoothL1`], [`Quantile`].

use thalweg_autograd::{Reduction, Var};

use super::Loss;

/// The mean absolute error of numbers: `1/N Σ |output - target|` over all N elements. Its best constant is the median.
///
/// # Shapes
/// Output and targets f32 of one shape → `[]`. The loss is one launch, plus the mean.
///
/// PyTorch's `L1Loss`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct L1;

impl Loss for L1 {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        output.l1_loss(targets, Reduction::None)
    }
}

/// The absolute error of numbers, squared near the target: [`Huber`](crate::Huber) divided by its delta.
///
/// ```text
/// loss(d) = d² / (2 beta)     if |d| < beta,    d = output - target
///           |d| - beta / 2    otherwise
/// ```
///
/// # Shapes
/// As of [`L1`].
///
/// PyTorch's `SmoothL1Loss` (R. Girshick, "Fast R-CNN", 2015).
///
/// # Errors
/// If the shapes differ, or beta is negative or not finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmoothL1 {
    beta: f32,
}

impl Default for SmoothL1 {
    fn default() -> Self {
        Self { beta: 1.0 }
    }
}

impl SmoothL1 {
    /// Returns the loss with a beta of 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the distance from the target at which the loss becomes linear; at least 0. Default 1.
    #[must_use]
    pub fn beta(self, beta: f32) -> Self {
        Self { beta }
    }
}

impl Loss for SmoothL1 {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        output.smooth_l1_loss(targets, Reduction::None, self.beta)
    }
}

/// The loss whose best constant is a quantile of the targets, also called the pinball loss.
///
/// ```text
/// loss = tau (target - output)          if the target is larger
///        (1 - tau) (output - target)    otherwise
/// ```
///
/// # Shapes
/// As of [`L1`].
///
/// (R. Koenker, G. Bassett, "Regression quantiles", 1978.)
///
/// # Errors
/// If the shapes differ, or tau is not between 0 and 1.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{Loss, Quantile};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let tape = Tape::new();
/// let output = tape.input(&Tensor::from_slice(&device, &[0.0, 0.0], &[2, 1])?);
/// let loss = Quantile::new().tau(0.9).of(output, &Tensor::from_slice(&device, &[1.0, -1.0], &[2, 1])?)?;
/// assert!((loss.item()? - 0.5).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    tau: f32,
}

impl Default for Quantile {
    fn default() -> Self {
        Self { tau: 0.5 }
    }
}

impl Quantile {
    /// Returns the loss of the median.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the share of the targets below the quantile, between 0 and 1. Default 0.5.
    #[must_use]
    pub fn tau(self, tau: f32) -> Self {
        Self { tau }
    }
}

impl Loss for Quantile {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        output.quantile_loss(targets, self.tau, Reduction::None)
    }
}

#[cfg(test)]
mod tests {
    use thalweg_autograd::Tape;
    use thalweg_tensor::Tensor;

    use super::*;
    use crate::testing::devices;

    #[test]
    fn losses_are_those_of_their_formulas_on_every_device() {
        for device in devices() {
            let of = |loss: &dyn Loss| {
                let tape = Tape::new();
                let output = tape.input(&Tensor::from_slice(&device, &[0.5, -2.0, 3.0, 0.0], &[2, 2]).unwrap());
                let targets = Tensor::from_slice(&device, &[0.25, 1.0, 2.5, 0.0], &[2, 2]).unwrap();
                loss.of(output, &targets).map(|loss| loss.item().unwrap())
            };
            let close = |loss: &dyn Loss, expected: f32| {
                let got = of(loss).unwrap();
                assert!((got - expected).abs() < 1e-6, "{loss:?} on {device}: {got}");
            };
            close(&L1, 3.75 / 4.0);
            close(&SmoothL1::new(), (0.03125 + 2.5 + 0.125) / 4.0);
            close(&SmoothL1::new().beta(0.0), 3.75 / 4.0);
            close(&Quantile::new(), 3.75 / 8.0);
            close(&Quantile::new().tau(0.9), (0.1 * 0.25 + 0.9 * 3.0 + 0.1 * 0.5) / 4.0);
            assert!(of(&Quantile::new().tau(-0.1)).is_err() && of(&SmoothL1::new().beta(f32::NAN)).is_err());
        }
    }
}
