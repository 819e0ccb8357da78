//! Losses, each fused with its gradient.

use thalweg_tensor::{DType, Tensor, ValueLog};

use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Returns the mean cross-entropy of rows of logits with their classes, in nats: `1/n Σ -ln
    /// softmax(logits)[target]`.
    ///
    /// Its gradient, (softmax(logits) - one-hot(target)) / n, is computed in the same launch.
    ///
    /// # Shapes
    /// logits `[n, classes]`, targets u32 `[n]` → `[]`.
    ///
    /// # Numerics
    /// The row's maximum is subtracted first, so that large logits do not overflow. An invalid target gives NaN, and
    /// so does a batch without rows.
    ///
    /// # Errors
    /// If shapes or types do not match, or the devices differ.
    pub fn cross_entropy(self, targets: &Tensor) -> Result<Self> {
        self.cross_entropy_logged(targets, None)
    }

    /// Computes the same as [`cross_entropy`](Self::cross_entropy), and appends the value to a log on the device, in
    /// the same launch if possible.
    ///
    /// # Errors
    /// See [`cross_entropy`](Self::cross_entropy).
    pub fn cross_entropy_logged(self, targets: &Tensor, log: Option<&ValueLog>) -> Result<Self> {
        if self.dtype().is_half() {
            return self.to_dtype(DType::F32)?.cross_entropy_logged(targets, log);
        }
        let (mean, grad) = self.value().cross_entropy_mean(targets, log)?;
        self.tape().record("cross_entropy", mean, &[self], move |pull| {
            let rows = grad.shape()[0];
            let scale = 1.0 / rows as f32;
            if pull.is_unit() {
                return pull.give(0, pull.constant(&grad));
            }
            if pull.is_plain() {
                return pull.give(0, pull.constant(&grad).mul(pull.cotangent()?)?);
            }
            let gradient = softmax_less_one_hot(pull.input(0), &grad.affine(rows as f32, 0.0)?)?.affine(scale, 0.0)?;
            pull.give(0, gradient.mul(pull.cotangent()?)?)
        })
    }

    /// Returns the cross-entropy of each row of logits with its class, in nats: `-ln softmax(logits)[target]`.
    ///
    /// # Shapes
    /// logits `[n, classes]`, targets u32 `[n]` → `[n]`.
    ///
    /// # Numerics
    /// See [`cross_entropy`](Self::cross_entropy).
    ///
    /// # Errors
    /// See [`cross_entropy`](Self::cross_entropy).
    pub fn cross_entropy_per_row(self, targets: &Tensor) -> Result<Self> {
        let (losses, grad) = self.value().cross_entropy(targets, 1.0)?;
        self.tape().record("cross_entropy_per_row", losses, &[self], move |pull| {
            let slope =
                if pull.is_plain() { pull.constant(&grad) } else { softmax_less_one_hot(pull.input(0), &grad)? };
            pull.give(0, slope.mul(pull.cotangent()?.unsqueeze(1)?)?)
        })
    }

    /// Returns the mean squared error over all N elements, `1/N Σ (x - target)²`.
    ///
    /// Its gradient, 2 (x - target) / N, is computed in the same launch.
    ///
    /// # Shapes
    /// `self` and `targets` of one shape → `[]`.
    ///
    /// # Numerics
    /// The mean of no elements is NaN.
    ///
    /// # Errors
    /// If the shapes or the devices differ, or the elements are not f32.
    pub fn mse(self, targets: &Tensor) -> Result<Self> {
        self.mse_logged(targets, None)
    }

    /// Computes the same as [`mse`](Self::mse), and appends the value to a log on the device, in the same launch if
    /// possible.
    ///
    /// # Errors
    /// See [`mse`](Self::mse).
    pub fn mse_logged(self, targets: &Tensor, log: Option<&ValueLog>) -> Result<Self> {
        if self.dtype().is_half() {
            return self.to_dtype(DType::F32)?.mse_logged(targets, log);
        }
        let (mean, grad) = self.value().squared_error_mean(targets, log)?;
        let scale = 1.0 / grad.len() as f32;
        let targets = targets.clone();
        self.tape().record("mse", mean, &[self], move |pull| {
            if pull.is_unit() {
                return pull.give(0, pull.constant(&grad));
            }
            let gradient = if pull.is_plain() {
                pull.constant(&grad)
            } else {
                pull.input(0).sub(pull.constant(&targets))?.affine(2.0 * scale, 0.0)?
            };
            pull.give(0, gradient.mul(pull.cotangent()?)?)
        })
    }
}

/// Returns softmax(logits) - one-hot, whose value is given, with operations that can be differentiated again. The
/// one-hot part does not depend on the logits: it is the difference of their softmax and this value.
fn softmax_less_one_hot<'t>(logits: Var<'t>, value: &Tensor) -> Result<Var<'t>> {
    let softmax = logits.softmax(-1)?;
    let one_hot = softmax.tape().constant(&softmax.value().sub(value)?);
    softmax.sub(one_hot)
}
