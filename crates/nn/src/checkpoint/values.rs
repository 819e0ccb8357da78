//! [`CheckpointTensor`]: a named tensor in host memory.

use serde::{Deserialize, Serialize};
use thalweg_tensor::{DType, Tensor, bf16, f16};

use crate::{Error, Result};

/// A tensor of a [`Checkpoint`](crate::Checkpoint).
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointTensor {
    /// The name, unique in a checkpoint.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The elements, in row-major order.
    pub values: Values,
}

/// The elements of a [`CheckpointTensor`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// Single precision: parameters and most of the state of optimizers.
    F32(Vec<f32>),
    /// Whole numbers.
    U32(Vec<u32>),
    /// Double precision: results of the host, such as schedules.
    F64(Vec<f64>),
    /// Half precision, for tensors that are stored so.
    F16(Vec<f16>),
    /// The upper halves of single precision, for tensors that are stored so.
    BF16(Vec<bf16>),
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values)
    }
}

impl From<Vec<u32>> for Values {
    fn from(values: Vec<u32>) -> Self {
        Self::U32(values)
    }
}

impl From<Vec<f64>> for Values {
    fn from(values: Vec<f64>) -> Self {
        Self::F64(values)
    }
}

impl Values {
    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::BF16(values) => values.len(),
        }
    }

    /// Returns whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the elements if they are of single precision.
    #[must_use]
    pub fn f32(&self) -> Option<&[f32]> {
        if let Self::F32(values) = self { Some(values) } else { None }
    }

    /// Returns the name of the type in safetensors.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::U32(_) => "U32",
            Self::F64(_) => "F64",
            Self::F16(_) => "F16",
            Self::BF16(_) => "BF16",
        }
    }

    pub(crate) fn crc32(&self) -> u32 {
        super::format::crc32(&self.bytes())
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::F32(_) => Kind::F32,
            Self::U32(_) => Kind::U32,
            Self::F64(_) => Kind::F64,
            Self::F16(_) => Kind::F16,
            Self::BF16(_) => Kind::BF16,
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::U32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::BF16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

impl CheckpointTensor {
    /// Reads a tensor back from its device, and waits for it.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn read(name: impl Into<String>, tensor: &Tensor) -> Result<Self> {
        let values = match tensor.dtype() {
            DType::F32 => tensor.to_vec::<f32>()?.into(),
            DType::U32 => tensor.to_vec::<u32>()?.into(),
            DType::F16 => Values::F16(tensor.to_vec()?),
            DType::BF16 => Values::BF16(tensor.to_vec()?),
        };
        Ok(Self { name: name.into(), shape: tensor.shape().to_vec(), values })
    }

    /// Checks that shape and type match a tensor on a device.
    ///
    /// # Errors
    /// [`Error::State`] if they differ, with the tensor and both shapes.
    pub fn check(&self, tensor: &Tensor) -> Result<()> {
        let expected = match tensor.dtype() {
            DType::F32 => Kind::F32,
            DType::U32 => Kind::U32,
            DType::F16 => Kind::F16,
            DType::BF16 => Kind::BF16,
        };
        if self.shape != tensor.shape() {
            let problem = format!("it has shape {:?}, but must have {:?}", self.shape, tensor.shape());
            return Err(Error::state(&self.name, problem));
        }
        if self.values.kind() != expected || self.values.len() != tensor.len() {
            let (found, count) = (self.values.type_name(), self.values.len());
            let problem =
                format!("it has {count} elements of type {found}, but must have {} of {expected:?}", tensor.len());
            return Err(Error::state(&self.name, problem));
        }
        Ok(())
    }

    /// Writes the elements over those of a tensor on a device.
    ///
    /// # Errors
    /// Same as [`check`](Self::check), or if work on the device has failed.
    pub fn write(&self, tensor: &Tensor) -> Result<()> {
        self.check(tensor)?;
        match &self.values {
            Values::F32(values) => tensor.write(values)?,
            Values::U32(values) => tensor.write(values)?,
            Values::F16(values) => tensor.write(values)?,
            Values::BF16(values) => tensor.write(values)?,
            // `check` refuses it.
            Values::F64(_) => {}
        }
        Ok(())
    }

    /// Returns whether all elements are finite.
    pub(crate) fn is_finite(&self) -> bool {
        match &self.values {
            Values::F32(values) => values.iter().all(|value| value.is_finite()),
            Values::F64(values) => values.iter().all(|value| value.is_finite()),
            Values::F16(values) => values.iter().all(|value| value.is_finite()),
            Values::BF16(values) => values.iter().all(|value| value.is_finite()),
            Values::U32(_) => true,
        }
    }
}

/// The type of stored elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) enum Kind {
    #[default]
    F32,
    U32,
    F64,
    F16,
    BF16,
}

impl Kind {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn is_f32(&self) -> bool {
        *self == Self::F32
    }
}
