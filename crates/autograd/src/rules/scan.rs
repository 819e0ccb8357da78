//! Running products, logarithms of sums of exponentials, and extremes. With x the input, y the output and g the gradient
//! of y.

use thalweg_tensor::{Axis, DType, Tensor};

use crate::walk::Pull;
use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Returns the running products along an axis; see [`Tensor::cumprod`].
    ///
    /// Zeros have their right gradient. Second derivatives with respect to a zero and a later element are taken as 0.
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the variable's.
    pub fn cumprod(self, axis: impl Axis) -> Result<Self> {
        let y = self.value().cumprod(axis)?;
        // A variable without axes has the axis 0.
        let axis = axis.place(self.shape().len()).unwrap_or(0);
        self.tape().record("cumprod", y, &[self], move |pull| {
            let (x, g) = (pull.input(0), pull.cotangent()?);
            let zero = pull.constant(&Tensor::scalar(&pull.device(), 0f32)?);
            // Before the first zero of a line the products hold x as a factor, from there on they are 0.
            let zeros = x.value().eq(&zero.value())?;
            let seen = zeros.cumsum(axis)?;
            let before = pull.constant(&seen.eq(&zero.value())?);
            let first = pull.constant(&zeros.mul(&seen.eq(&Tensor::scalar(&pull.device(), 1f32)?)?)?);
            let divisor = x.add(pull.constant(&zeros))?;
            let of_before = g.mul(pull.output())?.cumsum_reversed(axis)?.div(divisor)?;
            // The gradient of the first zero has the products without it.
            let of_first = g.mul(x.add(first)?.cumprod(axis)?)?.cumsum_reversed(axis)?;
            pull.give(0, before.where_cond(of_before, first.where_cond(of_first, zero)?)?)
        })
    }

    /// Returns the logarithms of the running sums of exponentials along an axis; see [`Tensor::logcumsumexp`].
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the variable's.
    pub fn logcumsumexp(self, axis: impl Axis) -> Result<Self> {
        let y = self.value().logcumsumexp(axis)?;
        let axis = axis.place(self.shape().len()).unwrap_or(0);
        self.tape().record("logcumsumexp", y, &[self], move |pull| {
            give_shares(pull, |logarithms| logarithms.logcumsumexp_reversed(axis))
        })
    }

    /// Returns the same as [`logcumsumexp`](Self::logcumsumexp) from the end of an axis.
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the variable's.
    pub fn logcumsumexp_reversed(self, axis: impl Axis) -> Result<Self> {
        let y = self.value().logcumsumexp_reversed(axis)?;
        let axis = axis.place(self.shape().len()).unwrap_or(0);
        self.tape().record("logcumsumexp_reversed", y, &[self], move |pull| {
            give_shares(pull, |logarithms| logarithms.logcumsumexp(axis))
        })
    }

    /// Returns the running largest elements along an axis, and their indices along it; see [`Tensor::cummax`].
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the variable's.
    pub fn cummax(self, axis: impl Axis) -> Result<(Self, Tensor)> {
        let (values, indices) = self.value().cummax(axis)?;
        self.running_extremes("cummax", values, indices, axis)
    }

    /// Returns the running smallest elements along an axis, and their indices along it; see [`Tensor::cummin`].
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the variable's.
    pub fn cummin(self, axis: impl Axis) -> Result<(Self, Tensor)> {
        let (values, indices) = self.value().cummin(axis)?;
        self.running_extremes("cummin", values, indices, axis)
    }

    fn running_extremes(
        self,
        op: &'static str,
        values: Tensor,
        indices: Tensor,
        axis: impl Axis,
    ) -> Result<(Self, Tensor)> {
        let (at, axis) = (indices.clone(), axis.place(self.shape().len()));
        let y = self.tape().record(op, values, &[self], move |pull| {
            let g = pull.cotangent()?;
            // A variable without axes is its own extreme.
            let Some(axis) = axis else { return pull.give(0, g) };
            let zeros = pull.constant(&Tensor::zeros(&pull.device(), DType::F32, at.shape())?);
            pull.give(0, zeros.scatter_add(axis, &at, g)?)
        })?;
        Ok((y, indices))
    }
}

/// An element has the share e^(x - y) of each sum that it is in: Σ g e^(x - y), by logarithms of the positive and of the
/// negative gradients, since e^-y alone may overflow.
fn give_shares<'t>(pull: &Pull<'t, '_>, sum: impl Fn(Var<'t>) -> Result<Var<'t>>) -> Result<()> {
    let (x, y, g) = (pull.input(0), pull.output(), pull.cotangent()?);
    let scalar = |value: f32| Ok::<_, crate::Error>(pull.constant(&Tensor::scalar(&pull.device(), value)?));
    let (zero, one, nothing) = (scalar(0.0)?, scalar(1.0)?, scalar(f32::NEG_INFINITY)?);
    // A sum of nothing but zeros has no gradient.
    let has_sum = pull.constant(&y.value().gt(&nothing.value())?);
    let y = has_sum.where_cond(y, zero)?;
    let part = |g: Var<'t>| {
        let is_positive = pull.constant(&g.value().gt(&zero.value())?);
        let logarithm = is_positive.where_cond(g, one)?.log()?.sub(y)?;
        sum(is_positive.where_cond(logarithm, nothing)?)?.add(x)?.exp()
    };
    pull.give(0, part(g)?.sub(part(g.neg()?)?)?)
}
