//! Variances, logarithms of sums of exponentials, truth values and counts. With x the input, y the output and g the
//! gradient of y.

use thalweg_tensor::{Axes, Tensor};

use super::reduce::Kept;
use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Returns the variance of all elements, of shape `[]`; see [`Tensor::var`].
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn var(self, correction: f32) -> Result<Self> {
        let y = self.value().var(correction)?;
        self.variance("var", Kept::of("var", self, ..)?, y, correction)
    }

    /// Returns the standard deviation of all elements, of shape `[]`; see [`Tensor::std`]. The gradient is 0 where the
    /// result is 0, as in PyTorch.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn std(self, correction: f32) -> Result<Self> {
        let y = self.value().std(correction)?;
        self.deviation("std", Kept::of("std", self, ..)?, y, correction)
    }

    /// Returns the variances over some axes; see [`Tensor::var_along`].
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the variable's.
    pub fn var_along(self, axes: impl Axes, correction: f32, keepdim: bool) -> Result<Self> {
        let kept = Kept::of("var_along", self, axes)?;
        let y = self.value().var_along(&kept.axes, correction, keepdim)?;
        self.variance("var_along", kept, y, correction)
    }

    /// Returns the standard deviations over some axes; see [`Tensor::std_along`]. The gradient is 0 where the result is 0,
    /// as in PyTorch.
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the variable's.
    pub fn std_along(self, axes: impl Axes, correction: f32, keepdim: bool) -> Result<Self> {
        let kept = Kept::of("std_along", self, axes)?;
        let y = self.value().std_along(&kept.axes, correction, keepdim)?;
        self.deviation("std_along", kept, y, correction)
    }

    fn variance(self, op: &'static str, kept: Kept, y: Tensor, correction: f32) -> Result<Self> {
        let divisor = kept.divisor(self, correction);
        self.tape().record(op, y, &[self], move |pull| {
            // 2 (x - mean) g / divisor
            let g = pull.cotangent()?.reshape(&kept.shape)?.affine(2.0 / divisor, 0.0)?;
            pull.give(0, pull.input(0).centred(&kept.axes)?.mul(g)?)
        })
    }

    fn deviation(self, op: &'static str, kept: Kept, y: Tensor, correction: f32) -> Result<Self> {
        let divisor = kept.divisor(self, correction);
        self.tape().record(op, y, &[self], move |pull| {
            // (x - mean) g / (divisor y), and 0 where y is
            let (g, y) = (pull.cotangent()?.reshape(&kept.shape)?, pull.output().reshape(&kept.shape)?);
            let is_zero = y.is_zero()?;
            let slope = g.mul(is_zero.affine(-1.0, 1.0)?)?.div(y.add(is_zero)?)?.affine(1.0 / divisor, 0.0)?;
            pull.give(0, pull.input(0).centred(&kept.axes)?.mul(slope)?)
        })
    }

    /// Subtracts the mean over some axes, then the mean of the differences, which corrects the rounding of the first.
    pub(super) fn centred(self, axes: &[usize]) -> Result<Self> {
        let centred = self.sub(self.mean_along(axes, true)?)?;
        centred.sub(centred.mean_along(axes, true)?)
    }

    /// Returns the logarithms of the sums of exponentials over some axes; see [`Tensor::logsumexp_along`]. The gradient is
    /// 0 where all elements are -∞, and there PyTorch's is NaN.
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the variable's.
    pub fn logsumexp_along(self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        let kept = Kept::of("logsumexp_along", self, axes)?;
        let y = self.value().logsumexp_along(&kept.axes, keepdim)?;
        self.tape().record("logsumexp_along", y, &[self], move |pull| {
            // softmax(x) g, which has more digits than e^(x - y) where y is large.
            let (x, g) = (pull.input(0), pull.cotangent()?.reshape(&kept.shape)?);
            let largest = x.value().max_along(&kept.axes, true)?.clamp(f32::MIN, f32::MAX)?;
            let powers = x.sub(pull.constant(&largest))?.exp()?;
            let sum = powers.sum_along(&kept.axes, true)?;
            pull.give(0, powers.div(sum.add(sum.is_zero()?)?)?.mul(g)?)
        })
    }

    /// Returns 1 if no element is zero, else 0; see [`Tensor::all`]. The gradient is 0 everywhere.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn all(self) -> Result<Self> {
        self.flat("all", self.value().all()?)
    }

    /// Returns 1 if an element is not zero, else 0; see [`Tensor::any`]. The gradient is 0 everywhere.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn any(self) -> Result<Self> {
        self.flat("any", self.value().any()?)
    }

    /// Returns the number of elements that are not zero; see [`Tensor::count_nonzero`]. The gradient is 0 everywhere.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn count_nonzero(self) -> Result<Self> {
        self.flat("count_nonzero", self.value().count_nonzero()?)
    }

    /// Returns 1 where no element over some axes is zero, else 0; see [`Tensor::all_along`]. The gradient is 0 everywhere.
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the variable's.
    pub fn all_along(self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        self.flat("all_along", self.value().all_along(axes, keepdim)?)
    }

    /// Returns 1 where an element over some axes is not zero, else 0; see [`Tensor::any_along`]. The gradient is 0
    /// everywhere.
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the variable's.
    pub fn any_along(self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        self.flat("any_along", self.value().any_along(axes, keepdim)?)
    }

    /// Returns the numbers of elements over some axes that are not zero; see [`Tensor::count_nonzero_along`]. The gradient
    /// is 0 everywhere.
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the variable's.
    pub fn count_nonzero_along(self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        self.flat("count_nonzero_along", self.value().count_nonzero_along(axes, keepdim)?)
    }

    /// A result that does not change with the variable.
    fn flat(self, op: &'static str, y: Tensor) -> Result<Self> {
        self.tape().record(op, y, &[self], |_| Ok(()))
    }

    /// Returns 1 where an element is zero, else 0, as a constant.
    pub(super) fn is_zero(self) -> Result<Self> {
        let value = self.value();
        Ok(self.tape().constant(&value.eq(&Tensor::scalar(value.device(), 0f32)?)?))
    }
}

impl Kept {
    /// Returns n - correction, and 0 if it is negative.
    fn divisor(&self, x: Var<'_>, correction: f32) -> f32 {
        (self.extent(x) as f32 - correction).max(0.0)
    }

    /// Returns the number of elements that go into each result.
    pub(super) fn extent(&self, x: Var<'_>) -> usize {
        let shape = x.shape();
        self.axes.iter().map(|&axis| shape[axis]).product()
    }
}
