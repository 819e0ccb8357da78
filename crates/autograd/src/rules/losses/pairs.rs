//! Losses of pairs and triples: rankings, cosines, distances.

use thalweg_tensor::Error as TensorError;

use super::functions::{COSINE_EMBEDDING, MARGIN_RANKING};
use super::{Reduction, check, of_one_shape, wide};
use crate::{Result, Var};

/// What PyTorch adds to squared norms of embeddings, so that those of zeros have a cosine.
const LEAST_SQUARE: f32 = 1e-12;

impl Var<'_> {
    /// Returns the loss of two scores whose target says which one is to be larger: max(0, `margin` - target (x - other)).
    /// The target is 1 if it is x, and -1 if it is the other one.
    ///
    /// # Shapes
    /// All of one shape.
    ///
    /// # Errors
    /// If the shapes differ, the elements are not f32, or the operands are on different devices or tapes.
    pub fn margin_ranking_loss(self, other: Self, target: Self, margin: f32, reduction: Reduction) -> Result<Self> {
        let [x, other] = of_one_shape("margin_ranking_loss", self, other)?;
        let [_, target] = of_one_shape("margin_ranking_loss", self, target)?;
        reduction.of(x.apply_with(&MARGIN_RANKING, &[other, target], &[margin])?)
    }

    /// Returns the loss of pairs of vectors: 1 - cos where the target is 1, and max(0, cos - `margin`) where it is -1.
    /// The target is f32 and has no gradient.
    ///
    /// # Shapes
    /// Vectors `[…, d]`, target `[…]` → `[…]`.
    ///
    /// # Numerics
    /// As in PyTorch, 1e-12 is added to the squared norms.
    ///
    /// # Errors
    /// If the shapes do not fit, the elements are not f32, or the operands are on different devices or tapes.
    pub fn cosine_embedding_loss(self, other: Self, target: Self, margin: f32, reduction: Reduction) -> Result<Self> {
        let op = "cosine_embedding_loss";
        let [x, other] = of_one_shape(op, self, other)?;
        expect_rows(op, self, target)?;
        let length = |x: Self| x.square()?.sum_along(-1, false)?.affine(1.0, LEAST_SQUARE)?.sqrt();
        let cosine = x.mul(other)?.sum_along(-1, false)?.div(length(x)?.mul(length(other)?)?)?;
        reduction.of(cosine.apply_with(&COSINE_EMBEDDING, &[wide(target)?], &[margin])?)
    }

    /// Returns the loss of an anchor, a vector that belongs to it and one that does not: max(0, `margin` + d(positive) -
    /// d(negative)), d being the distance from the anchor.
    ///
    /// The distance is the p-norm of the difference, to which `eps` is added. With `swap` the distance of the two vectors
    /// replaces that of the negative one where it is smaller. PyTorch's defaults are a margin of 1, a p of 2 and an eps of
    /// 1e-6.
    ///
    /// # Shapes
    /// All `[…, d]` → `[…]`.
    ///
    /// # Errors
    /// If the shapes differ, p is NaN, the elements are not f32, or the operands are on different devices or tapes.
    #[allow(clippy::too_many_arguments, reason = "they are PyTorch's")]
    pub fn triplet_margin_loss(
        self,
        positive: Self,
        negative: Self,
        margin: f32,
        p: f32,
        eps: f32,
        swap: bool,
        reduction: Reduction,
    ) -> Result<Self> {
        let op = "triplet_margin_loss";
        check(op, "margin", margin, margin > 0.0, "greater than 0")?;
        let [x, positive] = of_one_shape(op, self, positive)?;
        let [_, negative] = of_one_shape(op, self, negative)?;
        let distance = |x: Self, y: Self| x.sub(y)?.affine(1.0, eps)?.norm_along(p, -1, false);
        let near = distance(x, positive)?;
        let mut far = distance(x, negative)?;
        if swap {
            far = far.minimum(distance(positive, negative)?)?;
        }
        reduction.of(near.sub(far)?.affine(1.0, margin)?.clamp(0.0, f32::INFINITY)?)
    }
}

/// Checks that there is a target for each vector along the last axis.
fn expect_rows(op: &'static str, x: Var<'_>, target: Var<'_>) -> Result<()> {
    let (left, right) = (x.shape(), target.shape());
    if left.split_last().is_some_and(|(_, rows)| rows == right) {
        return Ok(());
    }
    Err(TensorError::Shape { op, rule: "there must be a target for each vector", left, right }.into())
}
