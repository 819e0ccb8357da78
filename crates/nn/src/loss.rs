//! [`Loss`]: what training makes small.

use thalweg_autograd::Var;
use thalweg_tensor::{Clock, Tensor, ValueLog};

use crate::Result;

/// A loss: the mean over a batch, which is what backward passes start from.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::Loss;
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let tape = Tape::new();
/// let logits = tape.input(&Tensor::from_slice(&device, &[0.0, 0.0], &[1, 2])?);
/// let loss = Loss::CrossEntropy.of(logits, &Tensor::from_slice(&device, &[1u32], &[1])?)?;
/// assert!((loss.item()? - 2f32.ln()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// For classes: `1/n Σ -ln softmax(logits)[target]`, in nats; logits `[n, classes]`, targets u32 `[n]`. A target
    /// that is no class gives NaN.
    CrossEntropy,
    /// For numbers: `1/N Σ (output - target)²` over all N elements; both f32 of one shape.
    Mse,
}

impl Loss {
    /// The mean loss of a batch, of shape `[]`; computed together with its gradient.
    ///
    /// # Errors
    /// Where shapes or types do not fit, or the devices differ.
    pub fn of<'t>(self, output: Var<'t>, targets: &Tensor) -> Result<Var<'t>> {
        self.of_logged(output, targets, None)
    }

    /// As [`of`](Self::of); the value goes into a log on the device too, where possible in the same launch.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_logged<'t>(self, output: Var<'t>, targets: &Tensor, log: Option<&ValueLog>) -> Result<Var<'t>> {
        Ok(match self {
            Self::CrossEntropy => output.cross_entropy_logged(targets, log)?,
            Self::Mse => output.mse_logged(targets, log)?,
        })
    }

    /// Targets drawn from what a model says, at the clock's time, and the number of terms that the mean loss has of them.
    pub(crate) fn sample_targets(
        self,
        output: &Tensor,
        clock: &Clock,
        seed: u64,
        stream: u64,
    ) -> Result<(Tensor, f64)> {
        Ok(match self {
            Self::CrossEntropy => {
                let classes = clock.sample_classes(output, seed, stream)?;
                let terms = classes.len() as f64;
                (classes, terms)
            }
            // (output - target)² is -ln of a Gaussian density of variance 1/2, up to a constant.
            Self::Mse => {
                let numbers = clock.sample_normal(output, std::f32::consts::FRAC_1_SQRT_2, seed, stream)?;
                (numbers, output.len() as f64)
            }
        })
    }
}
