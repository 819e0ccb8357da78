//! Sums, running sums, means, extremes and softmax. With x the input, y the output and g the gradient of y.

use thalweg_tensor::Tensor;

use crate::walk::Pull;
use crate::{Result, Var};

impl<'t> Var<'t> {
    /// The sum of all elements, of shape `[]`.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn sum(self) -> Result<Self> {
        self.tape().record("sum", self.value().sum()?, &[self], |pull| stretch(pull, 1.0))
    }

    /// The mean of all elements, of shape `[]`.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn mean(self) -> Result<Self> {
        let scale = 1.0 / self.value().len() as f32;
        self.tape().record("mean", self.value().mean()?, &[self], move |pull| stretch(pull, scale))
    }

    /// The largest of all elements, of shape `[]`; equal ones share the gradient.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn max(self) -> Result<Self> {
        self.tape().record("max", self.value().max()?, &[self], |pull| extreme(pull, Tensor::sum))
    }

    /// The smallest of all elements, of shape `[]`; equal ones share the gradient.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn min(self) -> Result<Self> {
        self.tape().record("min", self.value().min()?, &[self], |pull| extreme(pull, Tensor::sum))
    }

    /// The sum along a dimension, which stays with extent 1.
    ///
    /// # Errors
    /// If the elements are not f32, or the dimension is none of the variable's.
    pub fn sum_along(self, dimension: usize) -> Result<Self> {
        let y = self.value().sum_along(dimension)?;
        self.tape().record("sum_along", y, &[self], |pull| stretch(pull, 1.0))
    }

    /// The mean along a dimension, which stays with extent 1.
    ///
    /// # Errors
    /// If the elements are not f32, or the dimension is none of the variable's.
    pub fn mean_along(self, dimension: usize) -> Result<Self> {
        let y = self.value().mean_along(dimension)?;
        let scale = 1.0 / self.value().shape()[dimension] as f32;
        self.tape().record("mean_along", y, &[self], move |pull| stretch(pull, scale))
    }

    /// The largest along a dimension, which stays with extent 1; equal ones share the gradient.
    ///
    /// # Errors
    /// If the elements are not f32, or the dimension is none of the variable's.
    pub fn max_along(self, dimension: usize) -> Result<Self> {
        let y = self.value().max_along(dimension)?;
        self.tape().record("max_along", y, &[self], move |pull| extreme(pull, |ties| ties.sum_along(dimension)))
    }

    /// The smallest along a dimension, which stays with extent 1; equal ones share the gradient.
    ///
    /// # Errors
    /// If the elements are not f32, or the dimension is none of the variable's.
    pub fn min_along(self, dimension: usize) -> Result<Self> {
        let y = self.value().min_along(dimension)?;
        self.tape().record("min_along", y, &[self], move |pull| extreme(pull, |ties| ties.sum_along(dimension)))
    }

    /// Sums away what was stretched from `shape`; see [`Tensor::sum_to`].
    ///
    /// # Errors
    /// If `shape` does not broadcast to the variable's, or the elements are not f32.
    pub fn sum_to(self, shape: &[usize]) -> Result<Self> {
        if self.value().shape() == shape {
            return Ok(self);
        }
        self.tape().record("sum_to", self.value().sum_to(shape)?, &[self], |pull| stretch(pull, 1.0))
    }

    /// The running sums along an axis; see [`Tensor::cumsum`].
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the variable's.
    pub fn cumsum(self, axis: isize) -> Result<Self> {
        self.tape().record("cumsum", self.value().cumsum(axis)?, &[self], move |pull| {
            // An element of x is in its own sum and in all after it.
            pull.give(0, pull.cotangent()?.cumsum_reversed(axis)?)
        })
    }

    /// The running sums from the end of an axis; see [`Tensor::cumsum_reversed`].
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the variable's.
    pub fn cumsum_reversed(self, axis: isize) -> Result<Self> {
        self.tape().record("cumsum_reversed", self.value().cumsum_reversed(axis)?, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.cumsum(axis)?)
        })
    }

    /// Softmax along the last dimension.
    ///
    /// # Errors
    /// If there is no dimension, or the elements are not f32.
    pub fn softmax(self) -> Result<Self> {
        self.tape().record("softmax", self.value().softmax()?, &[self], |pull| {
            // y (g - Σ g y)
            let (y, g) = (pull.output(), pull.cotangent()?);
            let last = y.value().rank() - 1;
            pull.give(0, y.mul(g.sub(g.mul(y)?.sum_along(last)?)?)?)
        })
    }

    /// The logarithm of softmax along the last dimension.
    ///
    /// # Errors
    /// If there is no dimension, or the elements are not f32.
    pub fn log_softmax(self) -> Result<Self> {
        self.tape().record("log_softmax", self.value().log_softmax()?, &[self], |pull| {
            // g - softmax Σ g
            let (y, g) = (pull.output(), pull.cotangent()?);
            let last = y.value().rank() - 1;
            pull.give(0, g.sub(y.exp()?.mul(g.sum_along(last)?)?)?)
        })
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

/// The elements that equal the extreme get the gradient in equal shares.
fn extreme(
    pull: &Pull<'_, '_>,
    count: impl Fn(&Tensor) -> std::result::Result<Tensor, thalweg_tensor::Error>,
) -> Result<()> {
    let ties = pull.input(0).value().eq(&pull.output().value())?;
    let shares = ties.div(&count(&ties)?)?;
    pull.give(0, pull.constant(&shares).mul(pull.cotangent()?)?)
}
