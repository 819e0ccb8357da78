//! [`Buffer`]: a tensor of a model that is saved but not trained.

use std::sync::{Arc, OnceLock};

use thalweg_tensor::{Error as TensorError, Tensor};

use crate::{Error, Result};

/// A tensor of a model that is saved but not trained, such as the running mean of a normalisation: a name, a shape,
/// and, after [`ParamsBuilder::build`](crate::ParamsBuilder::build), a value on the device. A clone is cheap and refers
/// to the same buffer.
///
/// A forward pass reads it as a constant of the tape and replaces it with [`set`](Self::set), which is part of a
/// recorded step. The tape keeps no copy, so read the value before replacing it.
///
/// ```
/// use thalweg_nn::{Init, ParamsBuilder};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let mean = builder.path("norm").buffer("running_mean", &[2], Init::Zeros)?;
/// let params = builder.build(&Device::cpu())?;
/// let batch = Tensor::from_slice(params.device(), &[1.0, 2.0], &[2])?;
/// mean.set(&mean.value()?.affine(0.9, 0.0)?.add(&batch.affine(0.1, 0.0)?)?)?;
/// assert_eq!((mean.name(), mean.value()?.to_vec::<f32>()?), ("norm.running_mean", vec![0.1, 0.2]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Buffer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    shape: Vec<usize>,
    value: OnceLock<Tensor>,
}

impl Buffer {
    pub(super) fn declare(name: String, shape: &[usize]) -> Self {
        Self(Arc::new(Inner { name, shape: shape.to_vec(), value: OnceLock::new() }))
    }

    pub(super) fn bind(&self, value: Tensor) -> Result<()> {
        let bound = self.0.value.set(value);
        bound.map_err(|_| Error::state(self.name(), "the buffer has memory already"))
    }

    /// Returns the name, unique in a model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// Returns the value.
    ///
    /// # Errors
    /// [`Error::State`] if it has no memory yet.
    pub fn value(&self) -> Result<&Tensor> {
        self.0
            .value
            .get()
            .ok_or_else(|| Error::state(self.name(), "the buffer has no memory yet; build the parameters"))
    }

    /// Copies a tensor over the value, on the device, without waiting.
    ///
    /// # Errors
    /// [`Error::Tensor`] if shapes, types or devices differ; [`Error::State`] if it has no memory yet.
    pub fn set(&self, value: &Tensor) -> Result<()> {
        if value.shape() != self.shape() {
            return Err(TensorError::Shape {
                op: "buffer",
                rule: "the value must have the shape that was declared",
                left: self.shape().to_vec(),
                right: value.shape().to_vec(),
            }
            .into());
        }
        Ok(value.copy_into(self.value()?)?)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
