//! [`Var`]: a tensor on a tape.

use std::fmt;

use thalweg_tensor::{DType, Tensor};

use crate::{Result, Tape};

/// A tensor on a [`Tape`]: a reference and a number, so it is `Copy`. It has the operations of [`Tensor`], with the
/// same names; each appends its result to the tape.
#[derive(Clone, Copy)]
pub struct Var<'t> {
    tape: &'t Tape,
    index: usize,
}

impl<'t> Var<'t> {
    pub(crate) fn new(tape: &'t Tape, index: usize) -> Self {
        Self { tape, index }
    }

    /// Returns its tape.
    #[must_use]
    pub fn tape(&self) -> &'t Tape {
        self.tape
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Returns its value; an empty tensor if [`Tape::backward_and_free`] has freed it.
    #[must_use]
    pub fn value(&self) -> Tensor {
        self.tape.value(self.index)
    }

    /// Returns the extents of its value.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.value().shape().to_vec()
    }

    /// Returns the type of its elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.value().dtype()
    }

    /// Returns whether gradients flow to it.
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.tape.is_tracked(self.index)
    }

    /// Returns the same value as a constant: no gradient flows through it.
    #[must_use]
    pub fn detach(&self) -> Self {
        self.tape.constant(&self.value())
    }

    /// Returns the one f32 element of its value. Waits for the device.
    ///
    /// # Errors
    /// If it has another number of elements, or work on the device has failed.
    pub fn item(&self) -> Result<f32> {
        Ok(self.value().item()?)
    }
}

impl fmt::Debug for Var<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Var({:?})", self.value())
    }
}
