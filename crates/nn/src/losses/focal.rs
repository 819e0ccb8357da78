//! [`Focal`].

use thalweg_autograd::{Reduction, Var};
use thalweg_tensor::{DType, Tensor};

use super::{CrossEntropy, Loss, Sampler};
use crate::Result;

/// The cross-entropy of classes, times (1 - p)^gamma, with p the probability of the class: rows that are nearly right count
/// less, and training turns to the others.
///
/// # Shapes
/// Logits f32 `[n, classes, …]`, targets u32 `[n, …]` → `[]`. A target that is no class gives NaN.
///
/// (T.-Y. Lin et al., "Focal loss for dense object detection", 2017.)
///
/// # Errors
/// If shapes or types do not match, or gamma is negative or not finite.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{Focal, Loss};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let tape = Tape::new();
/// let logits = tape.input(&Tensor::from_slice(&device, &[0.0, 0.0], &[1, 2])?);
/// let loss = Focal::new().of(logits, &Tensor::from_slice(&device, &[1u32], &[1])?)?;
/// assert!((loss.item()? - 2f32.ln() / 4.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Focal {
    gamma: f32,
    weights: Option<Tensor>,
}

impl Default for Focal {
    fn default() -> Self {
        Self { gamma: 2.0, weights: None }
    }
}

impl Focal {
    /// Returns the loss with a gamma of 2.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the exponent, at least 0; with 0 the loss is [`CrossEntropy`]. Default 2.
    #[must_use]
    pub fn gamma(self, gamma: f32) -> Self {
        Self { gamma, ..self }
    }

    /// Sets a factor for each class, the alpha of the paper: f32 `[classes]` on the device of the model. The mean is still
    /// over the rows. Default none.
    #[must_use]
    pub fn class_weights(self, weights: &Tensor) -> Self {
        Self { weights: Some(weights.clone()), ..self }
    }
}

impl Loss for Focal {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        output.focal_loss(&targets.value(), self.gamma, self.weights.as_ref(), Reduction::None)
    }

    fn target_type(&self) -> DType {
        DType::U32
    }

    fn check_classes(&self, output: &[usize], largest_class: Option<u32>) -> Result<()> {
        CrossEntropy.check_classes(output, largest_class)
    }

    fn sample_targets(&self, output: &Tensor, sampler: &Sampler<'_>) -> Result<(Tensor, f64)> {
        CrossEntropy.sample_targets(output, sampler)
    }
}
