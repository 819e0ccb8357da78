//! Normalizations: of layers, by the root of the mean square, by a norm; and cosines of vectors.

use crate::tensor::expect_dtype;
use crate::{Axis, DType, Error, Result, Tensor, shape};

/// Checks that a shape is that of the last axes of a tensor, and returns the numbers of these.
fn last_axes(op: &'static str, x: &Tensor, normalized: &[usize]) -> Result<Vec<usize>> {
    if normalized.is_empty() || !x.shape().ends_with(normalized) {
        return Err(Error::Shape {
            op,
            rule: "the normalized shape must be the last extents of the tensor",
            left: x.shape().to_vec(),
            right: normalized.to_vec(),
        });
    }
    Ok((x.rank() - normalized.len()..x.rank()).collect())
}

/// Checks that a factor or a summand has the normalized shape.
fn expect_shape(op: &'static str, operand: Option<&Tensor>, normalized: &[usize]) -> Result<()> {
    match operand {
        Some(operand) if operand.shape() != normalized => Err(Error::Shape {
            op,
            rule: "weight and bias must have the normalized shape",
            left: operand.shape().to_vec(),
            right: normalized.to_vec(),
        }),
        _ => Ok(()),
    }
}

impl Tensor {
    /// Returns (x - mean) / √(variance + eps) of the last axes, times `weight` and plus `bias` where they are given. The
    /// variance is that of the elements themselves, with a correction of 0.
    ///
    /// # Shapes
    /// `[…, n, m]` with a normalized shape of `[n, m]` → `[…, n, m]`. `weight` and `bias` have the normalized shape.
    ///
    /// # Errors
    /// If the normalized shape is not that of the last axes, or empty, `weight` or `bias` has another one, the elements
    /// are not f32, or the devices differ.
    pub fn layer_norm(
        &self,
        normalized_shape: &[usize],
        weight: Option<&Self>,
        bias: Option<&Self>,
        eps: f32,
    ) -> Result<Self> {
        let axes = self.layer_norm_axes(normalized_shape, weight, bias)?;
        let centred = self.centred(&axes)?;
        let scale = centred.square()?.mean_along(&axes, true)?.affine(1.0, eps)?.sqrt()?;
        let mut y = centred.div(&scale)?;
        if let Some(weight) = weight {
            y = y.mul(weight)?;
        }
        if let Some(bias) = bias {
            y = y.add(bias)?;
        }
        Ok(y)
    }

    /// Checks the arguments of [`layer_norm`](Self::layer_norm) and returns the axes.
    #[doc(hidden)]
    pub fn layer_norm_axes(
        &self,
        normalized_shape: &[usize],
        weight: Option<&Self>,
        bias: Option<&Self>,
    ) -> Result<Vec<usize>> {
        expect_dtype("layer_norm", self, DType::F32)?;
        expect_shape("layer_norm", weight, normalized_shape)?;
        expect_shape("layer_norm", bias, normalized_shape)?;
        last_axes("layer_norm", self, normalized_shape)
    }

    /// Returns x / √(mean of x² + eps) of the last axes, times `weight` where it is given.
    ///
    /// # Shapes
    /// As of [`layer_norm`](Self::layer_norm).
    ///
    /// # Errors
    /// As of [`layer_norm`](Self::layer_norm).
    pub fn rms_norm(&self, normalized_shape: &[usize], weight: Option<&Self>, eps: f32) -> Result<Self> {
        let axes = self.rms_norm_axes(normalized_shape, weight)?;
        let y = self.div(&self.square()?.mean_along(&axes, true)?.affine(1.0, eps)?.sqrt()?)?;
        weight.map_or(Ok(y.clone()), |weight| y.mul(weight))
    }

    /// Checks the arguments of [`rms_norm`](Self::rms_norm) and returns the axes.
    #[doc(hidden)]
    pub fn rms_norm_axes(&self, normalized_shape: &[usize], weight: Option<&Self>) -> Result<Vec<usize>> {
        expect_dtype("rms_norm", self, DType::F32)?;
        expect_shape("rms_norm", weight, normalized_shape)?;
        last_axes("rms_norm", self, normalized_shape)
    }

    /// Returns x / max(‖x‖ₚ, eps) along an axis. Common are a p of 2 and an eps of 1e-12.
    ///
    /// # Shapes
    /// `[a, d, b]` along axis 1 → `[a, d, b]`.
    ///
    /// # Errors
    /// If p is NaN, it is no axis of the tensor, or the elements are not f32.
    pub fn normalize(&self, p: f32, axis: impl Axis, eps: f32) -> Result<Self> {
        let axis = axis.of("normalize", self.shape())?;
        self.div(&self.norm_along(p, axis, true)?.clamp(eps, f32::INFINITY)?)
    }

    /// Returns the cosines of the angles between vectors along an axis, x y / (max(‖x‖, eps) max(‖y‖, eps)). A common eps
    /// is 1e-8.
    ///
    /// # Shapes
    /// The shapes broadcast by NumPy's rule, to `[a, d, b]`; along axis 1 → `[a, b]`.
    ///
    /// # Errors
    /// If the shapes do not broadcast, it is no axis of their common shape, the elements are not f32, or the devices
    /// differ.
    pub fn cosine_similarity(&self, other: &Self, axis: impl Axis, eps: f32) -> Result<Self> {
        let (shape, axis) = self.cosine_shape(other, axis)?;
        let [x, y] = [self.broadcast_to(&shape)?, other.broadcast_to(&shape)?];
        x.normalize(2.0, axis, eps)?.mul(&y.normalize(2.0, axis, eps)?)?.sum_along(axis, false)
    }

    /// Returns the common shape of the operands of [`cosine_similarity`](Self::cosine_similarity), and the axis in it.
    #[doc(hidden)]
    pub fn cosine_shape(&self, other: &Self, axis: impl Axis) -> Result<(Vec<usize>, usize)> {
        self.same_device("cosine_similarity", other)?;
        let shape = shape::broadcast("cosine_similarity", self.shape(), other.shape())?;
        let axis = axis.of("cosine_similarity", &shape)?;
        Ok((shape, axis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn tensor(elements: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(&Device::cpu(), elements, shape).unwrap()
    }

    fn floats(result: Result<Tensor>) -> Vec<f32> {
        result.unwrap().to_vec().unwrap()
    }

    #[test]
    fn rows_are_normalized() {
        let x = tensor(&[1.0, 3.0, 1e6, 1e6 + 2.0, 7.1, 7.1], &[3, 2]);
        let (weight, bias) = (tensor(&[2.0, 3.0], &[2]), tensor(&[0.5, -0.5], &[2]));
        assert_eq!(floats(x.layer_norm(&[2], None, None, 0.0))[..4], [-1.0, 1.0, -1.0, 1.0]);
        assert_eq!(floats(x.layer_norm(&[2], Some(&weight), Some(&bias), 1e-5))[4..], [0.5, -0.5]);
        assert_eq!(floats(tensor(&[3.0, 3.0], &[1, 2]).rms_norm(&[2], Some(&weight), 0.0)), [2.0, 3.0]);
        assert!(x.layer_norm(&[3], None, None, 0.0).is_err() && x.rms_norm(&[], None, 0.0).is_err());
        assert!(x.layer_norm(&[2], Some(&tensor(&[1.0], &[1])), None, 0.0).is_err());
    }

    #[test]
    fn vectors_of_any_length_have_a_direction() {
        let x = tensor(&[3e30, -4e30, 0.0, 0.0], &[2, 2]);
        let close = |got: Vec<f32>, expected: &[f32]| {
            assert!(got.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-6), "{got:?}");
        };
        close(floats(x.normalize(2.0, 1, 1e-12)), &[0.6, -0.8, 0.0, 0.0]);
        let y = tensor(&[1e-3, 0.0], &[2]);
        close(floats(x.cosine_similarity(&y, -1, 1e-8)), &[0.6, 0.0]);
        assert!(x.cosine_similarity(&tensor(&[1.0; 3], &[3]), 1, 1e-8).is_err());
    }
}
