//! Dropout.

use thalweg_tensor::DropoutState;

use crate::{Result, Var};

impl Var<'_> {
    /// Applies dropout: zero with probability p, else x / (1 - p); see
    /// [`Tensor::dropout`](thalweg_tensor::Tensor::dropout). The gradient is multiplied by the same mask. Every call
    /// advances `state`.
    ///
    /// # Errors
    /// If the probability is not in [0, 1), the elements are not f32, or the devices differ.
    pub fn dropout(self, probability: f32, state: &DropoutState) -> Result<Self> {
        let (y, mask) = self.value().dropout(probability, state)?;
        self.tape()
            .record("dropout", y, &[self], move |pull| pull.give(0, pull.cotangent()?.mul(pull.constant(&mask))?))
    }
}
