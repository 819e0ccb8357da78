//! Variances, logarithms of sums of exponentials, truth values and counts, over all axes or some.

use crate::tensor::expect_dtype;
use crate::{Axes, DType, Result, Tensor};

/// The number of elements that go into each result.
pub(super) fn extent_of(shape: &[usize], axes: &[usize]) -> usize {
    axes.iter().map(|&d| shape[d]).product()
}

impl Tensor {
    /// Returns the variance of all elements, Σ (x - mean)² / (n - correction).
    ///
    /// # Shapes
    /// `[…]` → `[]`.
    ///
    /// # Numerics
    /// As of [`var_along`](Self::var_along).
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn var(&self, correction: f32) -> Result<Self> {
        self.variance("var", &(0..self.rank()).collect::<Vec<_>>(), correction, false)
    }

    /// Returns the standard deviation of all elements, the square root of [`var`](Self::var).
    ///
    /// # Shapes
    /// `[…]` → `[]`.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn std(&self, correction: f32) -> Result<Self> {
        self.variance("std", &(0..self.rank()).collect::<Vec<_>>(), correction, false)?.sqrt()
    }

    /// Returns the variances over some axes, Σ (x - mean)² / (n - correction). A correction of 1 estimates that of a
    /// population from a sample and is PyTorch's default; 0 gives that of the elements themselves.
    ///
    /// # Shapes
    /// As of [`sum_along`](Self::sum_along).
    ///
    /// # Numerics
    /// The mean is subtracted first, then the mean of the differences, so large means cost no digits. If n is not
    /// larger than the correction, the divisor is 0, as in PyTorch: one element with a correction of 1 gives NaN.
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the tensor's.
    pub fn var_along(&self, axes: impl Axes, correction: f32, keepdim: bool) -> Result<Self> {
        self.variance("var_along", &axes.of("var_along", self.shape())?, correction, keepdim)
    }

    /// Returns the standard deviations over some axes, the square roots of [`var_along`](Self::var_along).
    ///
    /// # Shapes
    /// As of [`sum_along`](Self::sum_along).
    ///
    /// # Errors
    /// As of [`var_along`](Self::var_along).
    pub fn std_along(&self, axes: impl Axes, correction: f32, keepdim: bool) -> Result<Self> {
        self.variance("std_along", &axes.of("std_along", self.shape())?, correction, keepdim)?.sqrt()
    }

    fn variance(&self, op: &'static str, axes: &[usize], correction: f32, keepdim: bool) -> Result<Self> {
        if let Some(result) = self.through_f32(|x| x.variance(op, axes, correction, keepdim)) {
            return result;
        }
        expect_dtype(op, self, DType::F32)?;
        let divisor = (extent_of(self.shape(), axes) as f32 - correction).max(0.0);
        self.centred(axes)?.square()?.sum_along(axes, keepdim)?.affine(1.0 / divisor, 0.0)
    }

    /// Subtracts the mean over some axes, then the mean of the differences, which corrects the rounding of the first.
    pub(super) fn centred(&self, axes: &[usize]) -> Result<Self> {
        let centred = self.sub(&self.mean_along(axes, true)?)?;
        centred.sub(&centred.mean_along(axes, true)?)
    }

    /// Returns the logarithms of the sums of exponentials over some axes, ln Σ eˣ.
    ///
    /// # Shapes
    /// As of [`sum_along`](Self::sum_along).
    ///
    /// # Numerics
    /// The largest element is subtracted first, so that nothing overflows. The result is -∞ of nothing and of elements
    /// that are all -∞.
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the tensor's.
    pub fn logsumexp_along(&self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        let axes = axes.of("logsumexp_along", self.shape())?;
        if let Some(result) = self.through_f32(|x| x.logsumexp_along(&axes, keepdim)) {
            return result;
        }
        expect_dtype("logsumexp_along", self, DType::F32)?;
        // Infinite ones are made finite, for the difference of two of them is NaN.
        let largest = self.max_along(&axes, true)?.clamp(f32::MIN, f32::MAX)?;
        let sum = self.sub(&largest)?.exp()?.sum_along(&axes, keepdim)?;
        sum.log()?.add(&largest.reshape(sum.shape())?)
    }

    /// Returns 1 if no element is zero, else 0; 1 of nothing. NaN is not zero.
    ///
    /// # Shapes
    /// `[…]` → `[]`.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn all(&self) -> Result<Self> {
        self.all_along(.., false)
    }

    /// Returns 1 if an element is not zero, else 0; 0 of nothing. NaN is not zero.
    ///
    /// # Shapes
    /// `[…]` → `[]`.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn any(&self) -> Result<Self> {
        self.any_along(.., false)
    }

    /// Returns the number of elements that are not zero, as an f32; NaN is not zero.
    ///
    /// # Shapes
    /// `[…]` → `[]`.
    ///
    /// # Numerics
    /// Exact up to 2²⁴ = 16,777,216; larger numbers are rounded.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn count_nonzero(&self) -> Result<Self> {
        self.count_nonzero_along(.., false)
    }

    /// Returns 1 where no element over some axes is zero, else 0; 1 of nothing. NaN is not zero.
    ///
    /// # Shapes
    /// As of [`sum_along`](Self::sum_along).
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the tensor's.
    pub fn all_along(&self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        let one = Self::scalar(self.device(), 1f32)?;
        self.is_zero("all_along")?.max_along(axes, keepdim)?.lt(&one)
    }

    /// Returns 1 where an element over some axes is not zero, else 0; 0 of nothing. NaN is not zero.
    ///
    /// # Shapes
    /// As of [`sum_along`](Self::sum_along).
    ///
    /// # Errors
    /// As of [`all_along`](Self::all_along).
    pub fn any_along(&self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        let one = Self::scalar(self.device(), 1f32)?;
        self.is_zero("any_along")?.min_along(axes, keepdim)?.lt(&one)
    }

    /// Returns the numbers of elements over some axes that are not zero, as f32; NaN is not zero.
    ///
    /// # Shapes
    /// As of [`sum_along`](Self::sum_along).
    ///
    /// # Numerics
    /// As of [`count_nonzero`](Self::count_nonzero).
    ///
    /// # Errors
    /// As of [`all_along`](Self::all_along).
    pub fn count_nonzero_along(&self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        self.is_zero("count_nonzero_along")?.affine(-1.0, 1.0)?.sum_along(axes, keepdim)
    }

    fn is_zero(&self, op: &'static str) -> Result<Self> {
        expect_dtype(op, self, DType::F32)?;
        self.eq(&Self::scalar(self.device(), 0f32)?)
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
    fn variances_keep_their_digits_at_large_means() {
        let x = tensor(&[1.0, 2.0, 3.0, 4.0, 4.0, 4.0], &[2, 3]);
        assert_eq!(floats(x.var_along(1, 1.0, false)), [1.0, 0.0]);
        assert_eq!(floats(x.std_along(0, 0.0, true)), [1.5, 1.0, 0.5]);
        assert_eq!((floats(x.var(0.0)), floats(x.t().unwrap().std(1.0))), (vec![4.0 / 3.0], vec![1.6f32.sqrt()]));
        let far: Vec<f32> = (0..1000).map(|i| 1e6 + (i % 2) as f32).collect();
        assert_eq!(floats(tensor(&far, &[1000]).var(0.0)), [0.25]);
        // The mean of seven equal numbers is rounded.
        assert_eq!(floats(tensor(&[0.1; 7], &[7]).std(0.0)), [0.0]);
        let one = tensor(&[3.0], &[1]);
        assert!(floats(one.var(1.0))[0].is_nan() && floats(one.var(2.0))[0].is_nan());
        assert_eq!(floats(one.var(0.0)), [0.0]);
        assert!(floats(tensor(&[], &[0]).var(0.0))[0].is_nan());
    }

    #[test]
    fn logarithms_of_sums_neither_overflow_nor_turn_to_nan() {
        let (infinity, nan) = (f32::INFINITY, f32::NAN);
        let x = [1e4, 1e4, -infinity, -infinity, infinity, 0.0, nan, infinity, -1e4, -infinity];
        let y = floats(tensor(&x, &[5, 2]).logsumexp_along(1, false));
        approx::assert_relative_eq!(y[0], 1e4 + std::f32::consts::LN_2);
        assert_eq!((y[1], y[2], y[4]), (-infinity, infinity, -1e4));
        assert!(y[3].is_nan());
        assert_eq!(floats(tensor(&[], &[2, 0]).logsumexp_along(-1, true)), [-infinity; 2]);
        assert_eq!(floats(tensor(&[2.5], &[]).logsumexp_along(.., false)), [2.5]);
    }

    #[test]
    fn what_is_not_zero_counts() {
        let x = tensor(&[0.0, 1.0, -0.0, f32::NAN, -2.0, 1e-40, 0.0, 0.0, 0.0], &[3, 3]);
        assert_eq!(floats(x.count_nonzero_along(1, false)), [1.0, 3.0, 0.0]);
        assert_eq!(floats(x.any_along(1, false)), [1.0, 1.0, 0.0]);
        assert_eq!(floats(x.all_along(-1, true)), [0.0, 1.0, 0.0]);
        assert_eq!((floats(x.all()), floats(x.any()), floats(x.count_nonzero())), (vec![0.0], vec![1.0], vec![4.0]));
        let nothing = tensor(&[], &[0, 2]);
        assert_eq!((floats(nothing.all()), floats(nothing.any())), (vec![1.0], vec![0.0]));
        assert_eq!(floats(nothing.count_nonzero_along(0, false)), [0.0; 2]);
    }
}
