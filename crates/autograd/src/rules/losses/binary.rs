//! Losses of two classes: cross-entropies of probabilities and of logits, hinges, margins.

use thalweg_tensor::Tensor;

use super::functions::{BINARY, HINGE, HINGE_EMBEDDING, LOGISTIC, SOFT_MARGIN, WEIGHTED_LOGISTIC};
use super::{Reduction, check, of_one_shape, weighted};
use crate::{Result, Var};

impl Var<'_> {
    /// Returns the cross-entropy of probabilities with targets between 0 and 1: -target ln x - (1 - target) ln(1 - x).
    ///
    /// Logarithms are at least -100, and x (1 - x) in the gradient at least 1e-12, as in PyTorch. A probability that is
    /// none gives NaN, where PyTorch fails. `weight` multiplies the losses and does not change the divisor of a mean.
    ///
    /// # Shapes
    /// Both of one shape; the weight broadcasts to it.
    ///
    /// # Errors
    /// If the shapes do not fit, the elements are not f32, or the operands are on different devices or tapes.
    pub fn binary_cross_entropy(self, target: Self, weight: Option<&Tensor>, reduction: Reduction) -> Result<Self> {
        let op = "binary_cross_entropy";
        let [x, target] = of_one_shape(op, self, target)?;
        reduction.of(weighted(op, x.apply_with(&BINARY, &[target], &[])?, weight)?)
    }

    /// Returns the cross-entropy of logits with targets between 0 and 1: that of their sigmoids, without overflow and
    /// accurate for large logits.
    ///
    /// `pos_weight` multiplies the part of the target, -target ln σ(x). `weight` multiplies the losses and does not change
    /// the divisor of a mean.
    ///
    /// # Shapes
    /// Both of one shape; the weights broadcast to it.
    ///
    /// # Errors
    /// As of [`binary_cross_entropy`](Self::binary_cross_entropy).
    pub fn binary_cross_entropy_with_logits(
        self,
        target: Self,
        weight: Option<&Tensor>,
        reduction: Reduction,
        pos_weight: Option<&Tensor>,
    ) -> Result<Self> {
        let op = "binary_cross_entropy_with_logits";
        let [x, target] = of_one_shape(op, self, target)?;
        let losses = match pos_weight {
            None => x.apply_with(&LOGISTIC, &[target], &[])?,
            Some(positive) => {
                let positive = self.tape().constant(&positive.broadcast_to(&self.shape())?);
                x.apply_with(&WEIGHTED_LOGISTIC, &[target, positive], &[])?
            }
        };
        reduction.of(weighted(op, losses, weight)?)
    }

    /// Returns the focal loss of logits with targets between 0 and 1: their cross-entropy times (1 - p)^γ, p being the
    /// probability of the target (Lin et al., 2017).
    ///
    /// It is also multiplied by `alpha` of the targets of 1 and 1 - `alpha` of those of 0, unless alpha is negative. It is
    /// torchvision's `sigmoid_focal_loss`, where alpha is 0.25 and gamma 2 by default.
    ///
    /// # Shapes
    /// Both of one shape.
    ///
    /// # Errors
    /// As of [`binary_cross_entropy`](Self::binary_cross_entropy), or if gamma is negative or alpha more than 1.
    pub fn sigmoid_focal_loss(self, target: Self, alpha: f32, gamma: f32, reduction: Reduction) -> Result<Self> {
        let op = "sigmoid_focal_loss";
        check(op, "gamma", gamma, gamma >= 0.0 && gamma.is_finite(), "a finite number of at least 0")?;
        check(op, "alpha", alpha, alpha <= 1.0, "at most 1")?;
        let [x, target] = of_one_shape(op, self, target)?;
        let entropy = x.binary_cross_entropy_with_logits(target, None, Reduction::None, None)?;
        // 1 - p: the target's share of σ(-x), and the rest's of σ(x).
        let missed = target.mul(x.neg()?.sigmoid()?)?.add(target.affine(-1.0, 1.0)?.mul(x.sigmoid()?)?)?;
        let mut losses = entropy.mul(focus(missed, gamma)?)?;
        if alpha >= 0.0 {
            losses = losses.mul(target.affine(2.0 * alpha - 1.0, 1.0 - alpha)?)?;
        }
        reduction.of(losses)
    }

    /// Returns the hinge loss of a score and a target of 1 or -1: max(0, 1 - x target).
    ///
    /// # Shapes
    /// Both of one shape.
    ///
    /// # Errors
    /// As of [`binary_cross_entropy`](Self::binary_cross_entropy).
    pub fn hinge_loss(self, target: Self, reduction: Reduction) -> Result<Self> {
        let [x, target] = of_one_shape("hinge_loss", self, target)?;
        reduction.of(x.apply_with(&HINGE, &[target], &[])?)
    }

    /// Returns the loss of distances: x where the target is 1, and max(0, `margin` - x) where it is -1. The target has no
    /// gradient.
    ///
    /// # Shapes
    /// Both of one shape.
    ///
    /// # Errors
    /// As of [`binary_cross_entropy`](Self::binary_cross_entropy).
    pub fn hinge_embedding_loss(self, target: Self, margin: f32, reduction: Reduction) -> Result<Self> {
        let [x, target] = of_one_shape("hinge_embedding_loss", self, target)?;
        reduction.of(x.apply_with(&HINGE_EMBEDDING, &[target], &[margin])?)
    }

    /// Returns the logistic loss of a score and a target of 1 or -1: ln(1 + e^(-x target)).
    ///
    /// # Shapes
    /// Both of one shape.
    ///
    /// # Errors
    /// As of [`binary_cross_entropy`](Self::binary_cross_entropy).
    pub fn soft_margin_loss(self, target: Self, reduction: Reduction) -> Result<Self> {
        let [x, target] = of_one_shape("soft_margin_loss", self, target)?;
        reduction.of(x.apply_with(&SOFT_MARGIN, &[target], &[])?)
    }
}

/// Returns the factor of a focal loss, (1 - p)^γ, given 1 - p.
pub(super) fn focus(missed: Var<'_>, gamma: f32) -> Result<Var<'_>> {
    // The slope at 0 is infinite if gamma is less than 1, and the loss that it is multiplied by is 0.
    let missed = if gamma < 1.0 { missed.clamp(1e-37, f32::INFINITY)? } else { missed };
    missed.powf(gamma)
}
