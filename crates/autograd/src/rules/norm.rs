//! Norms over axes. With x the input, y the output and g the gradient of y.

use thalweg_tensor::Axes;

use super::reduce::Kept;
use crate::{Result, Var};

impl Var<'_> {
    /// Returns the p-norm of all elements, of shape `[]`; see [`norm_along`](Self::norm_along).
    ///
    /// # Errors
    /// If p is NaN, or the elements are not f32.
    pub fn norm(self, p: f32) -> Result<Self> {
        self.norm_along(p, .., false)
    }

    /// Returns the p-norms over some axes; see [`Tensor::norm_along`](thalweg_tensor::Tensor::norm_along). As in PyTorch,
    /// the gradient is 0 where the norm is 0, and elements of equal magnitude share that of the norms for ∞ and -∞.
    ///
    /// # Errors
    /// If p is NaN, the elements are not f32, or one of the axes is none of the variable's.
    pub fn norm_along(self, p: f32, axes: impl Axes, keepdim: bool) -> Result<Self> {
        let kept = Kept::of("norm_along", self, axes)?;
        if p == 0.0 {
            return self.count_nonzero_along(&kept.axes, keepdim);
        }
        if p == 1.0 || kept.extent(self) == 0 && p > 0.0 {
            return self.abs()?.sum_along(&kept.axes, keepdim);
        }
        if p.is_infinite() {
            let magnitudes = self.abs()?;
            return if p > 0.0 {
                magnitudes.max_along(&kept.axes, keepdim)
            } else {
                magnitudes.min_along(&kept.axes, keepdim)
            };
        }
        let y = self.value().norm_along(p, &kept.axes, keepdim)?;
        self.tape().record("norm_along", y, &[self], move |pull| {
            let (x, g) = (pull.input(0), pull.cotangent()?.reshape(&kept.shape)?);
            let y = pull.output().reshape(&kept.shape)?;
            let vanishes = y.is_zero()?;
            let divisor = y.add(vanishes)?;
            if p == 2.0 {
                return pull.give(0, x.div(divisor)?.mul(g)?);
            }
            // sign(x) (|x| / y)^(p - 1) g, and 0 where x or y is
            let mut ratio = x.abs()?.div(divisor)?;
            if p < 2.0 {
                // Powers of 0, or their derivatives, are infinite.
                ratio = ratio.add(x.is_zero()?)?;
            }
            let g = g.mul(vanishes.affine(-1.0, 1.0)?)?;
            pull.give(0, x.sign()?.mul(ratio.powf(p - 1.0)?)?.mul(g)?)
        })
    }
}
