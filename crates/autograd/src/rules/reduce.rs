//! Sums, running sums, means, extremes and softmax. With x the input, y the output and g the gradient of y.

use thalweg_tensor::{Axes, Axis, Tensor};

use crate::walk::Pull;
use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Returns the sum of all elements, of shape `[]`.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn sum(self) -> Result<Self> {
        let y = self.tape().record("sum", self.value().sum()?, &[self], |pull| stretch(pull, 1.0))?;
        Ok(y.with_linear(|x| x.sum()))
    }

    /// Returns the mean of all elements, of shape `[]`.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn mean(self) -> Result<Self> {
        let scale = 1.0 / self.value().len() as f32;
        let y = self.tape().record("mean", self.value().mean()?, &[self], move |pull| stretch(pull, scale))?;
        Ok(y.with_linear(|x| x.mean()))
    }

    /// Returns the largest of all elements, of shape `[]`; equal ones share the gradient.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn max(self) -> Result<Self> {
        self.tape().record("max", self.value().max()?, &[self], |pull| extreme(pull, Tensor::sum))
    }

    /// Returns the smallest of all elements, of shape `[]`; equal ones share the gradient.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn min(self) -> Result<Self> {
        self.tape().record("min", self.value().min()?, &[self], |pull| extreme(pull, Tensor::sum))
    }

    /// Returns the sums over some axes; see [`Tensor::sum_along`].
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the variable's.
    pub fn sum_along(self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        let kept = Kept::of("sum_along", self, axes)?;
        let y = self.value().sum_along(&kept.axes, keepdim)?;
        let axes = kept.axes.clone();
        let y = self.tape().record("sum_along", y, &[self], move |pull| kept.stretch(pull, 1.0))?;
        Ok(y.with_linear(move |x| x.sum_along(&axes, keepdim)))
    }

    /// Returns the means over some axes; see [`Tensor::mean_along`].
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the variable's.
    pub fn mean_along(self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        let kept = Kept::of("mean_along", self, axes)?;
        let y = self.value().mean_along(&kept.axes, keepdim)?;
        let extent: usize = kept.axes.iter().map(|&axis| self.value().shape()[axis]).product();
        let axes = kept.axes.clone();
        let y = self.tape().record("mean_along", y, &[self], move |pull| kept.stretch(pull, 1.0 / extent as f32))?;
        Ok(y.with_linear(move |x| x.mean_along(&axes, keepdim)))
    }

    /// Returns the largest elements over some axes; equal ones share the gradient; see [`Tensor::max_along`].
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the variable's.
    pub fn max_along(self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        let kept = Kept::of("max_along", self, axes)?;
        let y = self.value().max_along(&kept.axes, keepdim)?;
        self.tape().record("max_along", y, &[self], move |pull| kept.extreme(pull))
    }

    /// Returns the smallest elements over some axes; equal ones share the gradient; see [`Tensor::min_along`].
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the variable's.
    pub fn min_along(self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        let kept = Kept::of("min_along", self, axes)?;
        let y = self.value().min_along(&kept.axes, keepdim)?;
        self.tape().record("min_along", y, &[self], move |pull| kept.extreme(pull))
    }

    /// Sums over the dimensions in which `shape` was broadcast; see [`Tensor::sum_to`].
    ///
    /// # Errors
    /// If `shape` does not broadcast to the variable's, or the elements are not f32.
    pub fn sum_to(self, shape: &[usize]) -> Result<Self> {
        if self.value().shape() == shape {
            return Ok(self);
        }
        let y = self.tape().record("sum_to", self.value().sum_to(shape)?, &[self], |pull| stretch(pull, 1.0))?;
        let shape = shape.to_vec();
        Ok(y.with_linear(move |x| x.sum_to(&shape)))
    }

    /// Returns the running sums along an axis; see [`Tensor::cumsum`].
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the variable's.
    pub fn cumsum(self, axis: impl Axis) -> Result<Self> {
        let y = self.value().cumsum(axis)?;
        // A variable without axes has the axis 0.
        let axis = axis.place(self.shape().len()).unwrap_or(0);
        let y = self.tape().record("cumsum", y, &[self], move |pull| {
            // An element of x is in its own sum and in all after it.
            pull.give(0, pull.cotangent()?.cumsum_reversed(axis)?)
        })?;
        Ok(y.with_linear(move |x| x.cumsum(axis)))
    }

    /// Returns the running sums from the end of an axis; see [`Tensor::cumsum_reversed`].
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the variable's.
    pub fn cumsum_reversed(self, axis: impl Axis) -> Result<Self> {
        let y = self.value().cumsum_reversed(axis)?;
        // A variable without axes has the axis 0.
        let axis = axis.place(self.shape().len()).unwrap_or(0);
        self.tape().record("cumsum_reversed", y, &[self], move |pull| pull.give(0, pull.cotangent()?.cumsum(axis)?))
    }

    /// Returns the softmax along an axis; see [`Tensor::softmax`].
    ///
    /// # Errors
    /// If it is no axis of the variable, or the elements are not f32.
    pub fn softmax(self, axis: impl Axis) -> Result<Self> {
        if self.shape().is_empty() {
            // A variable without axes has the axis 0.
            return self.reshape(&[1])?.softmax(axis)?.reshape(&[]);
        }
        let axis = axis.of("softmax", &self.shape())?;
        self.tape().record("softmax", self.value().softmax(axis)?, &[self], move |pull| {
            // y (g - Σ g y)
            let (y, g) = (pull.output(), pull.cotangent()?);
            pull.give(0, y.mul(g.sub(g.mul(y)?.sum_along(axis, true)?)?)?)
        })
    }

    /// Returns the logarithm of the softmax along an axis; see [`Tensor::log_softmax`].
    ///
    /// # Errors
    /// If it is no axis of the variable, or the elements are not f32.
    pub fn log_softmax(self, axis: impl Axis) -> Result<Self> {
        if self.shape().is_empty() {
            // A variable without axes has the axis 0.
            return self.reshape(&[1])?.log_softmax(axis)?.reshape(&[]);
        }
        let axis = axis.of("log_softmax", &self.shape())?;
        self.tape().record("log_softmax", self.value().log_softmax(axis)?, &[self], move |pull| {
            // g - softmax Σ g
            let (y, g) = (pull.output(), pull.cotangent()?);
            pull.give(0, g.sub(y.exp()?.mul(g.sum_along(axis, true)?)?)?)
        })
    }

    /// Returns the indices of the largest elements along an axis; see [`Tensor::argmax`]. They have no gradient.
    ///
    /// # Errors
    /// As [`Tensor::argmax`].
    pub fn argmax(self, axis: impl Axis, keepdim: bool) -> Result<Tensor> {
        Ok(self.value().argmax(axis, keepdim)?)
    }

    /// Returns the indices of the smallest elements along an axis; see [`Tensor::argmin`]. They have no gradient.
    ///
    /// # Errors
    /// As [`Tensor::argmin`].
    pub fn argmin(self, axis: impl Axis, keepdim: bool) -> Result<Tensor> {
        Ok(self.value().argmin(axis, keepdim)?)
    }

    /// Returns the index of the largest of all elements; see [`Tensor::argmax_all`]. It has no gradient.
    ///
    /// # Errors
    /// As [`Tensor::argmax_all`].
    pub fn argmax_all(self) -> Result<Tensor> {
        Ok(self.value().argmax_all()?)
    }

    /// Returns the index of the smallest of all elements; see [`Tensor::argmin_all`]. It has no gradient.
    ///
    /// # Errors
    /// As [`Tensor::argmin_all`].
    pub fn argmin_all(self) -> Result<Tensor> {
        Ok(self.value().argmin_all()?)
    }
}

/// The axes of a reduction, and the shape of its result with extents of 1 in their place.
pub(super) struct Kept {
    pub(super) axes: Vec<usize>,
    pub(super) shape: Vec<usize>,
}

impl Kept {
    pub(super) fn of(op: &'static str, x: Var<'_>, axes: impl Axes) -> Result<Self> {
        let mut shape = x.shape();
        let axes = axes.of(op, &shape)?;
        axes.iter().for_each(|&axis| shape[axis] = 1);
        Ok(Self { axes, shape })
    }

    /// Every element of x gets the gradient of the sum it went into, times a scale.
    fn stretch(&self, pull: &Pull<'_, '_>, scale: f32) -> Result<()> {
        let mut g = pull.cotangent()?.reshape(&self.shape)?;
        if scale != 1.0 {
            g = g.affine(scale, 0.0)?;
        }
        pull.give(0, g.broadcast_to(&pull.input(0).shape())?)
    }

    /// The elements that equal the extreme get the gradient in equal shares.
    fn extreme(&self, pull: &Pull<'_, '_>) -> Result<()> {
        let ties = pull.input(0).value().eq(&pull.output().value().reshape(&self.shape)?)?;
        let shares = ties.div(&ties.sum_along(&self.axes, true)?)?;
        pull.give(0, pull.constant(&shares).mul(pull.cotangent()?.reshape(&self.shape)?)?)
    }
}

/// Every element of x gets the gradient of the sum it went into, times a scale.
fn stretch(pull: &Pull<'_, '_>, scale: f32) -> Result<()> {
    let mut g = pull.cotangent()?;
    if scale != 1.0 {
        g = g.affine(scale, 0.0)?;
    }
    pull.give(0, g.broadcast_to(&pull.input(0).shape())?)
}

/// Divides the gradient equally among the elements that equal the extreme.
fn extreme(
    pull: &Pull<'_, '_>,
    count: impl Fn(&Tensor) -> std::result::Result<Tensor, thalweg_tensor::Error>,
) -> Result<()> {
    let ties = pull.input(0).value().eq(&pull.output().value())?;
    let shares = ties.div(&count(&ties)?)?;
    pull.give(0, pull.constant(&shares).mul(pull.cotangent()?)?)
}
