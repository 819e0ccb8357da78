//! [`Mse`].

use std::f32::consts::FRAC_1_SQRT_2;

use thalweg_autograd::Var;
use thalweg_tensor::{Tensor, ValueLog};

use super::{Loss, Sampler, expect_same_shape};
use crate::Result;

/// The mean squared error of numbers: `1/N Σ (output - target)²` over all N elements.
///
/// # Shapes
/// Output and targets f32 of one shape → `[]`. The loss and its gradient are one launch.
///
/// PyTorch's `MSELoss`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mse;

impl Loss for Mse {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        expect_same_shape("mse", output, targets)?;
        output.sub(targets)?.square()
    }

    fn of_logged<'t>(
        &self,
        output: Var<'t>,
        targets: &Tensor,
        log: Option<&ValueLog>,
    ) -> thalweg_autograd::Result<Var<'t>> {
        output.mse_logged(targets, log)
    }

    /// Draws from a normal density with variance 1/2: up to a constant, (output - target)² is its -ln.
    fn sample_targets(&self, output: &Tensor, sampler: &Sampler<'_>) -> Result<(Tensor, f64)> {
        Ok((sampler.normal(output, FRAC_1_SQRT_2)?, output.len() as f64))
    }
}
