//! Normalizations and cosines, of operations that have their own rules.

use thalweg_tensor::Axis;

use crate::{Result, Var};

impl Var<'_> {
    /// Returns (x - mean) / √(variance + eps) of the last axes, times `weight` and plus `bias`; see
    /// [`Tensor::layer_norm`](thalweg_tensor::Tensor::layer_norm).
    ///
    /// # Errors
    /// If the normalized shape is not that of the last axes, or empty, `weight` or `bias` has another one, the elements
    /// are not f32, or the operands are on different devices or tapes.
    pub fn layer_norm(
        self,
        normalized_shape: &[usize],
        weight: Option<Self>,
        bias: Option<Self>,
        eps: f32,
    ) -> Result<Self> {
        let [weight_value, bias_value] = [weight, bias].map(|operand| operand.map(|operand| operand.value()));
        let axes = self.value().layer_norm_axes(normalized_shape, weight_value.as_ref(), bias_value.as_ref())?;
        let centred = self.centred(&axes)?;
        let scale = centred.square()?.mean_along(&axes, true)?.affine(1.0, eps)?.sqrt()?;
        let mut y = centred.div(scale)?;
        if let Some(weight) = weight {
            y = y.mul(weight)?;
        }
        if let Some(bias) = bias {
            y = y.add(bias)?;
        }
        Ok(y)
    }

    /// Returns x / √(mean of x² + eps) of the last axes, times `weight`; see
    /// [`Tensor::rms_norm`](thalweg_tensor::Tensor::rms_norm).
    ///
    /// # Errors
    /// As [`layer_norm`](Self::layer_norm).
    pub fn rms_norm(self, normalized_shape: &[usize], weight: Option<Self>, eps: f32) -> Result<Self> {
        let axes = self.value().rms_norm_axes(normalized_shape, weight.map(|weight| weight.value()).as_ref())?;
        let y = self.div(self.square()?.mean_along(&axes, true)?.affine(1.0, eps)?.sqrt()?)?;
        weight.map_or(Ok(y), |weight| y.mul(weight))
    }

    /// Returns x / max(‖x‖ₚ, eps) along an axis; see [`Tensor::normalize`](thalweg_tensor::Tensor::normalize).
    ///
    /// # Errors
    /// If p is NaN, it is no axis of the variable, or the elements are not f32.
    pub fn normalize(self, p: f32, axis: impl Axis, eps: f32) -> Result<Self> {
        let axis = axis.of("normalize", &self.shape())?;
        self.div(self.norm_along(p, axis, true)?.clamp(eps, f32::INFINITY)?)
    }

    /// Returns the cosines of the angles between vectors along an axis; see
    /// [`Tensor::cosine_similarity`](thalweg_tensor::Tensor::cosine_similarity).
    ///
    /// # Errors
    /// If the shapes do not broadcast, it is no axis of their common shape, the elements are not f32, or the operands are
    /// on different devices or tapes.
    pub fn cosine_similarity(self, other: Self, axis: impl Axis, eps: f32) -> Result<Self> {
        let (shape, axis) = self.value().cosine_shape(&other.value(), axis)?;
        let [x, y] = [self.broadcast_to(&shape)?, other.broadcast_to(&shape)?];
        x.normalize(2.0, axis, eps)?.mul(y.normalize(2.0, axis, eps)?)?.sum_along(axis, false)
    }
}
