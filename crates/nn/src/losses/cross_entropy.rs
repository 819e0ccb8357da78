//! [`CrossEntropy`].

use thalweg_autograd::Var;
use thalweg_tensor::{DType, Tensor, ValueLog};

use super::{Loss, Sampler};
use crate::{Error, Result};

/// The cross-entropy of classes: `1/n Σ -ln softmax(logits)[target]`, in nats. A target out of range gives NaN.
///
/// # Shapes
/// Logits f32 `[n, classes]`, targets u32 `[n]` → `[]`. The loss and its gradient are one launch.
///
/// PyTorch's `CrossEntropyLoss`.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{CrossEntropy, Loss};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let tape = Tape::new();
/// let logits = tape.input(&Tensor::from_slice(&device, &[0.0, 0.0], &[1, 2])?);
/// let loss = CrossEntropy.of(logits, &Tensor::from_slice(&device, &[1u32], &[1])?)?;
/// assert!((loss.item()? - 2f32.ln()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CrossEntropy;

impl Loss for CrossEntropy {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        output.cross_entropy_per_row(&targets.value())
    }

    fn target_type(&self) -> DType {
        DType::U32
    }

    fn of_logged<'t>(
        &self,
        output: Var<'t>,
        targets: &Tensor,
        log: Option<&ValueLog>,
    ) -> thalweg_autograd::Result<Var<'t>> {
        output.cross_entropy_logged(targets, log)
    }

    fn check_classes(&self, output: &[usize], largest_class: Option<u32>) -> Result<()> {
        match (output, largest_class) {
            (&[_, outputs], Some(class)) if class as usize >= outputs => Err(Error::Class { class, outputs }),
            _ => Ok(()),
        }
    }

    fn sample_targets(&self, output: &Tensor, sampler: &Sampler<'_>) -> Result<(Tensor, f64)> {
        let classes = sampler.classes(output)?;
        let terms = classes.len() as f64;
        Ok((classes, terms))
    }
}
