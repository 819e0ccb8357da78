//! Norms over all axes or some.

use super::statistics::extent_of;
use crate::tensor::expect_dtype;
use crate::{Axes, DType, Error, Result, Tensor};

/// The smallest and the largest number that elements are divided by before their powers are added. WGSL leaves quotients by
/// numbers outside of this range to the driver.
const SCALES: (f32, f32) = (f32::MIN_POSITIVE, 8.507_059e37);

impl Tensor {
    /// Returns the p-norm of all elements, (Σ |x|ᵖ)^(1/p); see [`norm_along`](Self::norm_along).
    ///
    /// # Shapes
    /// `[…]` → `[]`.
    ///
    /// # Errors
    /// If p is NaN, or the elements are not f32.
    pub fn norm(&self, p: f32) -> Result<Self> {
        self.norm_along(p, .., false)
    }

    /// Returns the p-norms over some axes, (Σ |x|ᵖ)^(1/p). It is PyTorch's `linalg.vector_norm`.
    ///
    /// The norm for ∞ is the largest magnitude, for -∞ the smallest, and for 0 the number of elements that are not zero.
    ///
    /// # Shapes
    /// As of [`sum_along`](Self::sum_along).
    ///
    /// # Numerics
    /// Magnitudes are divided by the largest one first, or by the smallest one if p is negative. So powers do not overflow
    /// where the norm does not, which PyTorch's do. The norm of nothing is 0, or ∞ if p is negative.
    ///
    /// # Errors
    /// If p is NaN, the elements are not f32, or one of the axes is none of the tensor's.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[3.0, -4.0, 0.0, 2.0], &[2, 2])?;
    /// assert_eq!(x.norm_along(2.0, 1, false)?.to_vec::<f32>()?, [5.0, 2.0]);
    /// assert_eq!(x.norm(1.0)?.item::<f32>()?, 9.0);
    /// assert_eq!(x.norm(f32::INFINITY)?.item::<f32>()?, 4.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn norm_along(&self, p: f32, axes: impl Axes, keepdim: bool) -> Result<Self> {
        let axes = axes.of("norm_along", self.shape())?;
        if let Some(result) = self.through_f32(|x| x.norm_along(p, &axes, keepdim)) {
            return result;
        }
        expect_dtype("norm_along", self, DType::F32)?;
        if p.is_nan() {
            return Err(Error::Argument { op: "norm_along", name: "p", value: "NaN".to_string(), rule: "a number" });
        }
        if p == 0.0 {
            return self.count_nonzero_along(&axes, keepdim);
        }
        let magnitudes = self.abs()?;
        // The largest of nothing is -∞, but the sum is the norm of nothing.
        if p == 1.0 || extent_of(self.shape(), &axes) == 0 && p > 0.0 {
            return magnitudes.sum_along(&axes, keepdim);
        }
        let extreme = |keepdim| {
            if p > 0.0 { magnitudes.max_along(&axes, keepdim) } else { magnitudes.min_along(&axes, keepdim) }
        };
        if p.is_infinite() {
            return extreme(keepdim);
        }
        let scales = extreme(true)?.clamp(SCALES.0, SCALES.1)?;
        let parts = magnitudes.div(&scales)?;
        let root = if p == 2.0 {
            parts.square()?.sum_along(&axes, keepdim)?.sqrt()?
        } else {
            parts.powf(p)?.sum_along(&axes, keepdim)?.powf(1.0 / p)?
        };
        root.mul(&scales.reshape(root.shape())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn norms(elements: &[f32], p: f32) -> f32 {
        Tensor::from_slice(&Device::cpu(), elements, &[elements.len()]).unwrap().norm(p).unwrap().item().unwrap()
    }

    #[test]
    fn every_p_has_its_norm() {
        let x = [3.0, -4.0, 0.0, 12.0];
        assert_eq!([0.0, 1.0, 2.0].map(|p| norms(&x, p)), [3.0, 19.0, 13.0]);
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY, -1.0].map(|p| norms(&x, p)), [12.0, 0.0, 0.0]);
        approx::assert_relative_eq!(norms(&x, 3.0), (27f32 + 64.0 + 1728.0).cbrt(), max_relative = 1e-6);
        approx::assert_relative_eq!(norms(&[2.0, -4.0], -2.0), (0.25f32 + 0.0625).powf(-0.5), max_relative = 1e-6);
        approx::assert_relative_eq!(norms(&[1.0, 4.0], 0.5), 9.0, max_relative = 1e-6);
        assert!(Tensor::scalar(&Device::cpu(), 1f32).unwrap().norm(f32::NAN).is_err());
    }

    #[test]
    fn powers_neither_overflow_nor_vanish() {
        for p in [2.0, 3.0, 7.5] {
            approx::assert_relative_eq!(norms(&[0.0, -3e38, 1.0], p), 3e38, max_relative = 1e-6);
            approx::assert_relative_eq!(norms(&[2e-30, 0.0], p), 2e-30, max_relative = 1e-6);
            assert_eq!(norms(&[0.0, 0.0], p), 0.0);
            assert_eq!(norms(&[1.0, f32::NEG_INFINITY], p), f32::INFINITY);
            assert!(norms(&[1.0, f32::NAN], p).is_nan());
        }
        assert_eq!([0.0, 1.0, 2.0, f32::INFINITY].map(|p| norms(&[], p)), [0.0; 4]);
        assert_eq!([-1.0, f32::NEG_INFINITY].map(|p| norms(&[], p)), [f32::INFINITY; 2]);
    }
}
