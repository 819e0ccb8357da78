//! Sums, means, extremes and softmax. x is the input, y the output and g the gradient of y.

use thalweg_tensor::Tensor;

use crate::walk::Pull;
use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Returns the sum of all elements, of shape `[]`.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn sum(self) -> Result<Self> {
        self.tape().record("sum", self.value().sum()?, &[self], |pull| stretch(pull, 1.0))
    }

    /// Returns the mean of all elements, of shape `[]`.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn mean(self) -> Result<Self> {
        let scale = 1.0 / self.value().len() as f32;
        self.tape().record("mean", self.value().mean()?, &[self], move |pull| stretch(pull, scale))
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

    /// Returns the sum along a dimension, which is kept with extent 1.
    ///
    /// # Errors
    /// If the elements are not f32, or the dimension is out of range.
    pub fn sum_along(self, dimension: usize) -> Result<Self> {
        let y = self.value().sum_along(dimension)?;
        self.tape().record("sum_along", y, &[self], |pull| stretch(pull, 1.0))
    }

    /// Returns the mean along a dimension, which is kept with extent 1.
    ///
    /// # Errors
    /// If the elements are not f32, or the dimension is out of range.
    pub fn mean_along(self, dimension: usize) -> Result<Self> {
        let y = self.value().mean_along(dimension)?;
        let scale = 1.0 / self.value().shape()[dimension] as f32;
        self.tape().record("mean_along", y, &[self], move |pull| stretch(pull, scale))
    }

    /// Returns the largest along a dimension, which is kept with extent 1; equal ones share the gradient.
    ///
    /// # Errors
    /// If the elements are not f32, or the dimension is out of range.
    pub fn max_along(self, dimension: usize) -> Result<Self> {
        let y = self.value().max_along(dimension)?;
        self.tape().record("max_along", y, &[self], move |pull| extreme(pull, |ties| ties.sum_along(dimension)))
    }

    /// Returns the smallest along a dimension, which is kept with extent 1; equal ones share the gradient.
    ///
    /// # Errors
    /// If the elements are not f32, or the dimension is out of range.
    pub fn min_along(self, dimension: usize) -> Result<Self> {
        let y = self.value().min_along(dimension)?;
        self.tape().record("min_along", y, &[self], move |pull| extreme(pull, |ties| ties.sum_along(dimension)))
    }

    /// Sums over the dimensions in which `shape` was broadcast; see [`Tensor::sum_to`].
    ///
    /// # Errors
    /// If `shape` does not broadcast to the variable's, or the elements are not f32.
    pub fn sum_to(self, shape: &[usize]) -> Result<Self> {
        if self.value().shape() == shape {
            return Ok(self);
        }
        self.tape().record("sum_to", self.value().sum_to(shape)?, &[self], |pull| stretch(pull, 1.0))
    }

    /// Returns softmax along the last dimension.
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

    /// Returns the logarithm of softmax along the last dimension.
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

/// Passes every element of x the gradient of its sum, times a scale.
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
