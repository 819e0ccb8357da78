//! Losses that are -ln of a probability or a density: [`BceWithLogits`], [`PoissonNll`], [`GaussianNll`].

use thalweg_autograd::{Reduction, Var};
use thalweg_tensor::{Error as TensorError, Tensor};

use super::Loss;
use crate::setting::check;

/// The cross-entropy of two classes, of logits with targets between 0 and 1, in nats:
/// `-target ln σ(output) - (1 - target) ln(1 - σ(output))`. Several columns are several questions.
///
/// # Shapes
/// Output and targets f32 of one shape → `[]`.
///
/// PyTorch's `BCEWithLogitsLoss`. The targets of [`TabularData`](crate::TabularData) are standardised, so this loss is for
/// other data.
///
/// # Errors
/// If the shapes differ, or the weight is negative or not finite.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{BceWithLogits, Loss};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let tape = Tape::new();
/// let output = tape.input(&Tensor::from_slice(&device, &[0.0, 1e4], &[2, 1])?);
/// let loss = BceWithLogits::new().of(output, &Tensor::from_slice(&device, &[0.0, 1.0], &[2, 1])?)?;
/// assert!((loss.item()? - 2f32.ln() / 2.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BceWithLogits {
    pos_weight: f32,
}

impl Default for BceWithLogits {
    fn default() -> Self {
        Self { pos_weight: 1.0 }
    }
}

impl BceWithLogits {
    /// Returns the loss without a weight.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the weight of the targets of 1, at least 0: more than 1 if they are rare. Default 1.
    #[must_use]
    pub fn pos_weight(self, pos_weight: f32) -> Self {
        Self { pos_weight }
    }
}

impl Loss for BceWithLogits {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let weight = self.pos_weight;
        check("pos_weight", weight, weight >= 0.0 && weight.is_finite(), "a finite number of at least 0")?;
        let weight = if weight == 1.0 { None } else { Some(Tensor::full(output.value().device(), weight, &[])?) };
        output.binary_cross_entropy_with_logits(targets, None, Reduction::None, weight.as_ref())
    }
}

/// -ln of the probability of counts under Poisson distributions, up to a constant.
///
/// The output is the logarithm of the rate, and the loss `e^output - target output`.
///
/// # Shapes
/// Output and targets f32 of one shape → `[]`.
///
/// PyTorch's `PoissonNLLLoss`. The targets of [`TabularData`](crate::TabularData) are standardised, so this loss is for
/// other data.
///
/// # Errors
/// If the shapes differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoissonNll {
    log_input: bool,
    full: bool,
}

impl Default for PoissonNll {
    fn default() -> Self {
        Self { log_input: true, full: false }
    }
}

impl PoissonNll {
    /// Returns the loss of the logarithms of rates.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the output is the logarithm of the rate, or else the rate. Default true.
    #[must_use]
    pub fn log_input(self, log_input: bool) -> Self {
        Self { log_input, ..self }
    }

    /// Sets whether Stirling's approximation of ln target! is added. Default false.
    #[must_use]
    pub fn full(self, full: bool) -> Self {
        Self { full, ..self }
    }
}

impl Loss for PoissonNll {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        output.poisson_nll_loss(targets, self.log_input, self.full, 1e-8, Reduction::None)
    }
}

/// -ln of the density of numbers under normal distributions, whose means and variances a model learns.
///
/// The output has two columns for each of the targets': all means, then the logarithms of all variances. With m the mean
/// and s the logarithm, the loss is `(s + (m - target)² / e^s) / 2`, with a variance of at least 1e-6.
///
/// # Shapes
/// Output f32 `[n, 2 d]`, targets f32 `[n, d]` → `[]`.
///
/// PyTorch's `GaussianNLLLoss` has the variances themselves as another input (Nix, Weigend, 1994).
///
/// # Errors
/// If the shapes do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GaussianNll;

impl Loss for GaussianNll {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let (left, right) = (output.shape(), targets.shape());
        match (&left[..], &right[..]) {
            (&[n, outputs], &[rows, columns]) if n == rows && outputs == 2 * columns => {
                let mean = output.slice(1, 0, columns)?;
                let variance = output.slice(1, columns, outputs)?.exp()?;
                mean.gaussian_nll_loss(targets, variance, false, 1e-6, Reduction::None)
            }
            _ => {
                let rule = "needs an output [n, 2 d] and targets [n, d]";
                Err(TensorError::Shape { op: "gaussian_nll_loss", rule, left, right }.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_autograd::Tape;

    use super::*;
    use crate::testing::devices;

    #[test]
    fn losses_are_those_of_their_formulas_on_every_device() {
        for device in devices() {
            let of = |loss: &dyn Loss, output: &[f32], shape: &[usize], targets: &[f32]| {
                let tape = Tape::new();
                let output = tape.input(&Tensor::from_slice(&device, output, shape).unwrap());
                let targets = Tensor::from_slice(&device, targets, &[targets.len(), 1]).unwrap();
                loss.of(output, &targets).map(|loss| loss.item().unwrap())
            };
            let close = |got: thalweg_autograd::Result<f32>, expected: f32| {
                let got = got.unwrap();
                assert!((got - expected).abs() < 2e-6, "{device}: {got} and not {expected}");
            };
            let softplus = |x: f32| x.exp().ln_1p();
            let (x, y) = ([0.5, -1.5], [1.0, 0.0]);
            close(of(&BceWithLogits::new(), &x, &[2, 1], &y), (softplus(-0.5) + softplus(-1.5)) / 2.0);
            let weighted = BceWithLogits::new().pos_weight(3.0);
            close(of(&weighted, &x, &[2, 1], &y), (3.0 * softplus(-0.5) + softplus(-1.5)) / 2.0);
            assert!(of(&BceWithLogits::new().pos_weight(-1.0), &x, &[2, 1], &y).is_err());
            close(of(&PoissonNll::new(), &x, &[2, 1], &y), (0.5f32.exp() - 0.5 + (-1.5f32).exp()) / 2.0);
            let counts = PoissonNll::new().log_input(false).full(true);
            let stirling = 3.0 * 3f32.ln() - 3.0 + 0.5 * (std::f32::consts::TAU * 3.0).ln();
            close(of(&counts, &[2.0], &[1, 1], &[3.0]), 2.0 - 3.0 * 2f32.ln() + stirling);
            close(of(&GaussianNll, &[1.0, 2f32.ln()], &[1, 2], &[4.0]), 0.5 * (2f32.ln() + 4.5));
            assert!(of(&GaussianNll, &[1.0], &[1, 1], &[4.0]).is_err());
        }
    }
}
