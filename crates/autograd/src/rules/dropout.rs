//! Dropout.

use thalweg_tensor::{DType, DropoutState};

use crate::{Result, Var};

impl Var<'_> {
    /// Applies dropout: zero with probability p, else x / (1 - p); see
    /// [`Tensor::dropout`](thalweg_tensor::Tensor::dropout). The gradient is multiplied by the same mask. Every call
    /// advances `state`.
    ///
    /// # Errors
    /// If the probability is not in [0, 1), the elements are not f32, or the devices differ.
    pub fn dropout(self, probability: f32, state: &DropoutState) -> Result<Self> {
        if self.dtype().is_half() {
            return self.to_dtype(DType::F32)?.dropout(probability, state)?.to_dtype(self.dtype());
        }
        let (y, mask) = self.value().dropout(probability, state)?;
        self.tape()
            .record("dropout", y, &[self], move |pull| pull.give(0, pull.cotangent()?.mul(pull.constant(&mask))?))
    }
}
