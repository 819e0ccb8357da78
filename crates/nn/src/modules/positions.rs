//! [`PositionalEncoding`].

use std::fmt;
use std::sync::{Mutex, PoisonError};

use thalweg_autograd::{Parameter, Var};
use thalweg_tensor::{Device, Error as TensorError, Tensor};

use crate::setting::check;
use crate::{Init, Module, ParamsBuilder, Parts, Result, Visitor};

/// Adds to each vector of a sequence one that tells its position.
///
/// # Shapes
/// `[…, l, width]` → `[…, l, width]`, with l at most the longest length.
#[derive(Debug)]
pub struct PositionalEncoding {
    length: usize,
    width: usize,
    /// The vectors if they are learned.
    weight: Option<Parameter>,
    /// Sinusoids on the last device.
    sinusoids: Mutex<Option<Tensor>>,
}

impl Parts for PositionalEncoding {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        if let Some(weight) = &self.weight {
            visitor.part("weight", weight);
        }
    }
}

impl PositionalEncoding {
    /// Makes the encoding by sinusoids, without parameters: see [`Tensor::sinusoidal_positions`]. On a new device the first
    /// forward pass computes them.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the length or the width is 0.
    pub fn sinusoidal(length: usize, width: usize) -> Result<Self> {
        check("length", length, length > 0, "at least 1")?;
        check("width", width, width > 0, "at least 1")?;
        Ok(Self { length, width, weight: None, sinusoids: Mutex::default() })
    }

    /// Makes the encoding by learned vectors, `name.weight` of the shape `[length, width]`, which start as those of
    /// PyTorch's `Embedding`: normal, with deviation 1.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the length or the width is 0, or the name is taken.
    pub fn learned(builder: &mut ParamsBuilder, name: impl fmt::Display, length: usize, width: usize) -> Result<Self> {
        let weight = Init::Normal { mean: 0.0, deviation: 1.0 };
        let weight = builder.path(name).add("weight", &[length, width], weight)?;
        Ok(Self { weight: Some(weight), ..Self::sinusoidal(length, width)? })
    }

    fn table(&self, device: &Device) -> Result<Tensor> {
        let mut kept = self.sinusoids.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(table) if table.device() == device => Ok(table.clone()),
            _ => Ok(kept.insert(Tensor::sinusoidal_positions(device, self.length, self.width)?).clone()),
        }
    }
}

impl Module for PositionalEncoding {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let (shape, tape) = (input.shape(), input.tape());
        let [.., length, width] = shape[..] else {
            return Err(TensorError::Rank { op: "positional_encoding", expected: "2 dimensions or more", shape }.into());
        };
        if width != self.width || length > self.length {
            let rule = "sequences may be as long as the encoding, and must be as wide";
            let right = vec![self.length, self.width];
            return Err(TensorError::Shape { op: "positional_encoding", rule, left: shape, right }.into());
        }
        let table = match &self.weight {
            Some(weight) => tape.parameter(weight)?,
            None => tape.constant(&self.table(input.value().device())?),
        };
        input.add(if length == self.length { table } else { table.slice(0, 0, length)? })
    }
}
