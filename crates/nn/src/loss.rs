//! [`Loss`]: what training makes small.

use thalweg_autograd::Var;
use thalweg_tensor::Tensor;

use crate::Result;

/// A loss: the mean over a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// -ln softmax(logits)[target]; logits `[n, classes]`, targets u32 `[n]`.
    CrossEntropy,
    /// (output - target)², over all elements; both of one shape.
    Mse,
}

impl Loss {
    /// The mean loss of a batch, one number; fused with its gradient.
    ///
    /// # Errors
    /// Where shapes or types do not fit, or the devices differ.
    pub fn of<'t>(self, output: Var<'t>, targets: &Tensor) -> Result<Var<'t>> {
        Ok(match self {
            Self::CrossEntropy => output.cross_entropy(targets)?,
            Self::Mse => output.mse(targets)?,
        })
    }
}
