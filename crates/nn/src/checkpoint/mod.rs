//! [`Checkpoint`]: named tensors and a JSON text in one safetensors file.

mod format;
mod values;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::Path;

pub(crate) use format::{read_state, state_to_bytes};
pub use values::{CheckpointTensor, Values};

use crate::{Error, Result, write_whole};

/// The key of the note of the program that started the run.
pub(crate) const NOTE: &str = "note";

/// Named tensors and their metadata, as in a file.
///
/// The file is a safetensors file, which other programs can read. Its metadata have one key, `thalweg`, whose text is a
/// JSON object: the version of the format, [`metadata`](Self::metadata), and the name, the shape and a checksum of
/// every tensor. The same content always gives the same bytes. To read files of other programs, see
/// [`StateDict`](crate::StateDict).
///
/// # Numerics
/// Tensors are stored with their type, bit by bit. A file whose F32 tensors were converted to F16 or BF16 by another
/// program loads too. They are widened, which is exact, and their checksums no longer apply. F64 in their place is refused,
/// because narrowing it would change the model silently.
///
/// ```
/// use thalweg_nn::{Checkpoint, CheckpointTensor};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model.safetensors");
/// let weight = CheckpointTensor { name: "weight".into(), shape: vec![1, 2], values: vec![0.5f32, -1.0].into() };
/// let checkpoint = Checkpoint { metadata: serde_json::json!({ "step": 10 }), tensors: vec![weight] };
/// checkpoint.save(&path)?;
/// assert_eq!(Checkpoint::load(&path)?, checkpoint);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The metadata of the tensors: the architecture, the state of the optimizer, the step.
    pub metadata: serde_json::Value,
    /// The tensors, in an order that saving and loading preserve.
    pub tensors: Vec<CheckpointTensor>,
}

impl Checkpoint {
    /// Writes the file, whole or not at all; see [`write_whole`].
    ///
    /// # Errors
    /// [`Error::Io`] with the path if the file cannot be written; [`Error::Model`] if two tensors have the same name, or
    /// the number of elements does not fit the shape.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = self.to_bytes().map_err(|problem| Error::model(path, problem))?;
        write_whole(path, &bytes)
    }

    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Model`] if it is truncated, altered, from another program or a
    /// later version, or has elements of another type.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = format::read_safetensors(path)?;
        Self::from_bytes(&bytes).map_err(|problem| Error::model(path, problem))
    }

    /// Returns the tensor with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&CheckpointTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Returns the note that [`Trainer::set_note`](crate::Trainer::set_note) stored in it.
    #[must_use]
    pub fn note(&self) -> Option<&serde_json::Value> {
        self.metadata.get(NOTE)
    }

    /// Adds the tensors and the metadata of another checkpoint, so that both are saved as one file.
    ///
    /// # Errors
    /// [`Error::State`] if the metadata of either are not an object, or a key or the name of a tensor is taken.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        let (Some(own), serde_json::Value::Object(metadata)) = (self.metadata.as_object_mut(), other.metadata) else {
            return Err(Error::state("metadata", "both must be objects to be merged"));
        };
        if let Some(key) = metadata.keys().find(|key| own.contains_key(*key)) {
            return Err(Error::state(key, "both metadata have this key"));
        }
        let names: HashSet<&str> = self.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        if let Some(tensor) = other.tensors.iter().find(|tensor| names.contains(tensor.name.as_str())) {
            return Err(Error::state(&tensor.name, "both have a tensor of this name"));
        }
        own.extend(metadata);
        self.tensors.extend(other.tensors);
        Ok(())
    }
}
