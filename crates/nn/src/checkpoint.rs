//! [`Checkpoint`]: named tensors and a JSON text as one safetensors file.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use flate2::Crc;
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use thalweg_tensor::{DType, Tensor};

use crate::{Error, Result, write_whole};

/// The key of the note of whoever started the run.
pub(crate) const NOTE: &str = "note";

/// Named tensors and what belongs to them, as a file keeps them.
///
/// The file is a safetensors file, which other programs can read. Its metadata have one key, `thalweg`, whose text is a
/// JSON object: the version of the format, [`metadata`](Self::metadata), and for every tensor its name, its shape and a
/// checksum. The same content always gives the same bytes.
///
/// # Numerics
/// Tensors are stored with the type that they have, bit by bit. Files whose tensors of F32 were turned into F16 or BF16 by
/// another program load too, and are widened, which is exact; those tensors have no checksum any more. F64 in their place
/// is refused: narrowing it would change the model without a word.
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
    /// What belongs to the tensors: the architecture, the state of the optimizer, the step.
    pub metadata: serde_json::Value,
    /// The tensors, in an order that saving and loading keep.
    pub tensors: Vec<CheckpointTensor>,
}

/// A tensor of a [`Checkpoint`].
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointTensor {
    /// Its name, different from all others.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, in row-major order.
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
    /// Double precision: what the host computes, such as schedules.
    F64(Vec<f64>),
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
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, where they are of single precision.
    #[must_use]
    pub fn f32(&self) -> Option<&[f32]> {
        if let Self::F32(values) = self { Some(values) } else { None }
    }

    /// The type, as safetensors calls it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::U32(_) => "U32",
            Self::F64(_) => "F64",
        }
    }

    pub(crate) fn crc32(&self) -> u32 {
        crc32(&self.bytes())
    }

    fn kind(&self) -> Kind {
        match self {
            Self::F32(_) => Kind::F32,
            Self::U32(_) => Kind::U32,
            Self::F64(_) => Kind::F64,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::U32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

impl CheckpointTensor {
    /// A tensor of a device, read back. Waits for the device.
    ///
    /// # Errors
    /// Where work on the device has failed.
    pub fn read(name: impl Into<String>, tensor: &Tensor) -> Result<Self> {
        let values = match tensor.dtype() {
            DType::F32 => tensor.to_vec::<f32>()?.into(),
            DType::U32 => tensor.to_vec::<u32>()?.into(),
        };
        Ok(Self { name: name.into(), shape: tensor.shape().to_vec(), values })
    }

    /// Checks that shape and type are those of a tensor of a device.
    ///
    /// # Errors
    /// [`Error::State`], which names the tensor and both shapes.
    pub fn check(&self, tensor: &Tensor) -> Result<()> {
        let expected = match tensor.dtype() {
            DType::F32 => Kind::F32,
            DType::U32 => Kind::U32,
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

    /// Writes the elements over those of a tensor of a device.
    ///
    /// # Errors
    /// As [`check`](Self::check), or where work on the device has failed.
    pub fn write(&self, tensor: &Tensor) -> Result<()> {
        self.check(tensor)?;
        match &self.values {
            Values::F32(values) => tensor.write(values)?,
            Values::U32(values) => tensor.write(values)?,
            // `check` has refused it.
            Values::F64(_) => {}
        }
        Ok(())
    }

    /// Whether all of its elements are.
    pub(crate) fn is_finite(&self) -> bool {
        match &self.values {
            Values::F32(values) => values.iter().all(|value| value.is_finite()),
            Values::F64(values) => values.iter().all(|value| value.is_finite()),
            Values::U32(_) => true,
        }
    }
}

/// The key in the metadata of the safetensors file. There must be no other: their order in the file would vary.
const KEY: &str = "thalweg";

/// The version of the format that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// The longest header that the safetensors format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// The JSON text under [`KEY`].
#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    metadata: serde_json::Value,
    metadata_crc32: u32,
    tensors: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    /// Left out of what is F32, as all is in the file of a model.
    #[serde(default, skip_serializing_if = "Kind::is_f32")]
    dtype: Kind,
    crc32: u32,
}

/// The type of the elements that were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Kind {
    #[default]
    F32,
    U32,
    F64,
}

impl Kind {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_f32(&self) -> bool {
        *self == Self::F32
    }
}

impl Checkpoint {
    /// Writes the file whole or not at all; see [`write_whole`].
    ///
    /// # Errors
    /// [`Error::Io`] with the path where it cannot be written; [`Error::Model`] where two tensors have the same name, or
    /// the number of elements is not the shape's.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = self.to_bytes().map_err(|problem| Error::model(path, problem))?;
        write_whole(path, &bytes)
    }

    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read; [`Error::Model`] where it is truncated, altered, of another program or a
    /// later version, or holds elements of another type.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read_safetensors(path)?;
        Self::from_bytes(&bytes).map_err(|problem| Error::model(path, problem))
    }

    /// The tensor with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&CheckpointTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Returns the note that [`Trainer::set_note`](crate::Trainer::set_note) has left in it.
    #[must_use]
    pub fn note(&self) -> Option<&serde_json::Value> {
        self.metadata.get(NOTE)
    }

    /// Takes in the tensors and the metadata of another one, so that both are saved as one file.
    ///
    /// # Errors
    /// [`Error::State`] where the metadata of either are no object, or a key or the name of a tensor is taken.
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

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut names = HashSet::new();
        let mut parts = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            let count = tensor.shape.iter().try_fold(1usize, |count, extent| count.checked_mul(*extent));
            if count != Some(tensor.values.len()) {
                return Err(format!(
                    "tensor {:?} has {} elements, but shape {:?}",
                    tensor.name,
                    tensor.values.len(),
                    tensor.shape
                ));
            }
            if !names.insert(&tensor.name) || tensor.name == "__metadata__" {
                return Err(format!("the name {:?} is taken; every tensor needs its own", tensor.name));
            }
            parts.push(tensor.values.bytes());
        }
        let entries = self.tensors.iter().zip(&parts).map(|(tensor, bytes)| Entry {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            dtype: tensor.values.kind(),
            crc32: crc32(bytes),
        });
        let manifest = Manifest {
            format: FORMAT,
            metadata: self.metadata.clone(),
            metadata_crc32: crc32(self.metadata.to_string().as_bytes()),
            tensors: entries.collect(),
        };
        let text = serde_json::to_string(&manifest).map_err(|error| error.to_string())?;
        let views = self.tensors.iter().zip(&parts).map(|(tensor, bytes)| {
            let dtype = match tensor.values {
                Values::F32(_) => Dtype::F32,
                Values::U32(_) => Dtype::U32,
                Values::F64(_) => Dtype::F64,
            };
            TensorView::new(dtype, tensor.shape.clone(), bytes).map(|view| (tensor.name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        safetensors::serialize(views, Some(HashMap::from([(KEY.to_string(), text)]))).map_err(|error| error.to_string())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| describe(&error))?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| describe(&error))?;
        let text = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let text = text.ok_or("the safetensors file is of another program: it has no metadata of thalweg")?;
        let manifest: Manifest =
            serde_json::from_str(text).map_err(|error| format!("the metadata of thalweg are damaged ({error})"))?;
        if manifest.format != FORMAT {
            return Err(format!(
                "the file has format {}, but this version reads format {FORMAT}; use the version that wrote it",
                manifest.format
            ));
        }
        if crc32(manifest.metadata.to_string().as_bytes()) != manifest.metadata_crc32 {
            return Err("the metadata were altered: the checksum differs; take another copy of the file".into());
        }
        if manifest.tensors.len() != file.len() {
            return Err(format!("the file has {} tensors, but must have {}", file.len(), manifest.tensors.len()));
        }
        let tensors = manifest.tensors.into_iter().map(|entry| load_tensor(&file, entry)).collect::<Result<_, _>>()?;
        Ok(Self { metadata: manifest.metadata, tensors })
    }
}

fn load_tensor(file: &SafeTensors<'_>, entry: Entry) -> Result<CheckpointTensor, String> {
    let Entry { name, shape, dtype, crc32: expected } = entry;
    let view = file.tensor(&name).map_err(|_| format!("tensor {name:?} is missing"))?;
    if view.shape() != shape {
        return Err(format!("tensor {name:?} has shape {:?}, but must have {shape:?}", view.shape()));
    }
    let bytes = view.data();
    let is_as_stored =
        matches!((dtype, view.dtype()), (Kind::F32, Dtype::F32) | (Kind::U32, Dtype::U32) | (Kind::F64, Dtype::F64));
    if is_as_stored && crc32(bytes) != expected {
        return Err(format!("tensor {name:?} was altered: its checksum differs; take another copy of the file"));
    }
    let values = match (dtype, view.dtype()) {
        (Kind::F32, Dtype::F32) => {
            Values::F32(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
        (Kind::F32, Dtype::F16) => {
            Values::F32(bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect())
        }
        (Kind::F32, Dtype::BF16) => {
            Values::F32(bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect())
        }
        (Kind::U32, Dtype::U32) => {
            Values::U32(bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
        }
        (Kind::F64, Dtype::F64) => {
            Values::F64(bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
        }
        (Kind::F32, other) => {
            return Err(format!("tensor {name:?} has elements of type {other:?}; F32, F16 and BF16 can be loaded"));
        }
        (dtype, other) => {
            return Err(format!("tensor {name:?} has elements of type {other:?}, but must have {dtype:?}"));
        }
    };
    Ok(CheckpointTensor { name, shape, values })
}

/// The bytes of a file that begins like a safetensors file; others are refused before they are read.
fn read_safetensors(path: &Path) -> Result<Vec<u8>> {
    let fail = |source| Error::read(path, source);
    let found = fs::metadata(path).map_err(fail)?;
    if found.is_dir() {
        return Err(fail(io::ErrorKind::IsADirectory.into()));
    }
    if !found.is_file() {
        return Err(Error::model(path, "a model must be a regular file"));
    }
    let mut file = File::open(path).map_err(fail)?;
    let length = found.len();
    if length < 9 {
        return Err(Error::model(path, format!("the file is truncated: it has {length} bytes only")));
    }
    let mut start = [0; 9];
    file.read_exact(&mut start).map_err(fail)?;
    let [header @ .., brace] = start;
    let header = u64::from_le_bytes(header);
    if brace != b'{' || header > MAX_HEADER {
        return Err(Error::model(path, "this is not a safetensors file; give a model that `thalweg train` wrote"));
    }
    if header > length - 8 {
        return Err(Error::model(path, "the file is truncated within its header; take another copy of it"));
    }
    let mut bytes = Vec::new();
    usize::try_from(length)
        .ok()
        .and_then(|length| bytes.try_reserve_exact(length).ok())
        .ok_or_else(|| fail(io::ErrorKind::OutOfMemory.into()))?;
    bytes.extend(start);
    file.take(length - start.len() as u64).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

fn describe(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::MetadataIncompleteBuffer => {
            "the file is truncated, or longer than its header says; take another copy of it".into()
        }
        other => format!("the header of the safetensors file is damaged ({other}); take another copy of the file"),
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Checkpoint {
        let tensor = |name: &str, shape: &[usize], values: &[f32]| CheckpointTensor {
            name: name.into(),
            shape: shape.into(),
            values: values.to_vec().into(),
        };
        Checkpoint {
            metadata: serde_json::json!({ "task": "regression", "mean": [0.1f32, 1e-30f32, 3.0], "layers": { "b": 1, "a": "ü\"" } }),
            tensors: vec![
                tensor("1.weight", &[2, 3], &[0.5, -1.25, 3.0, 1e-8, f32::MAX, -0.0]),
                tensor("0.bias", &[1], &[7.0]),
                tensor("empty", &[0, 4], &[]),
                tensor("scalar", &[], &[2.0]),
            ],
        }
    }

    /// With tensors of all types.
    fn example_of_all_types() -> Checkpoint {
        let mut checkpoint = example();
        let payload = f32::from_bits(0x7fa0_0001);
        for (name, values) in [
            ("words", Values::U32(vec![7, u32::MAX])),
            ("double", Values::F64(vec![0.1, -1e300])),
            ("not numbers", Values::F32(vec![payload, f32::NEG_INFINITY])),
        ] {
            checkpoint.tensors.push(CheckpointTensor { name: name.into(), shape: vec![2], values });
        }
        checkpoint
    }

    fn floats(tensor: &mut CheckpointTensor) -> &mut Vec<f32> {
        let Values::F32(values) = &mut tensor.values else { panic!("{} is not F32", tensor.name) };
        values
    }

    #[test]
    fn types_and_bits_survive() {
        let bytes = example_of_all_types().to_bytes().unwrap();
        let loaded = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(loaded.to_bytes().unwrap(), bytes);
        for name in ["words", "double"] {
            assert_eq!(loaded.get(name), example_of_all_types().get(name));
        }
        let payload = loaded.get("not numbers").unwrap().values.f32().unwrap()[0];
        assert_eq!(payload.to_bits(), 0x7fa0_0001);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(
            (file.tensor("words").unwrap().dtype(), file.tensor("double").unwrap().dtype()),
            (Dtype::U32, Dtype::F64)
        );
    }

    fn problem(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        fs::write(&path, bytes).unwrap();
        let error = Checkpoint::load(&path).unwrap_err();
        assert!(matches!(error, Error::Model { .. }) && error.is_user_error(), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(&path.display().to_string()) && !text.contains('\n'), "{text}");
        text
    }

    /// The file as another program writes it after turning every tensor into another type.
    fn converted(dtype: Dtype, convert: impl Fn(f32) -> Vec<u8>) -> Vec<u8> {
        let bytes = example().to_bytes().unwrap();
        let metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone();
        let parts: Vec<(String, Vec<usize>, Vec<u8>)> = example()
            .tensors
            .into_iter()
            .map(|mut tensor| {
                let bytes = floats(&mut tensor).iter().copied().flat_map(&convert).collect();
                (tensor.name, tensor.shape, bytes)
            })
            .collect();
        let views =
            parts.iter().map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
        safetensors::serialize(views, metadata).unwrap()
    }

    #[test]
    fn content_survives_and_gives_the_same_bytes_each_time() {
        let checkpoint = example();
        let bytes = checkpoint.to_bytes().unwrap();
        let loaded = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(loaded, checkpoint);
        assert!(loaded.tensors[0].values.f32().unwrap()[5].is_sign_negative());
        for _ in 0..20 {
            assert_eq!(example().to_bytes().unwrap(), bytes);
        }
        assert_eq!(loaded.to_bytes().unwrap(), bytes);
        assert_eq!(SafeTensors::deserialize(&bytes).unwrap().tensor("0.bias").unwrap().shape(), [1]);
    }

    #[test]
    fn half_types_are_widened_and_others_refused() {
        let widen = |convert: fn(f32) -> f32| {
            let mut expected = example();
            expected.tensors.iter_mut().for_each(|t| floats(t).iter_mut().for_each(|v| *v = convert(*v)));
            expected
        };
        let bytes = converted(Dtype::F16, |v| f16::from_f32(v).to_le_bytes().to_vec());
        assert_eq!(Checkpoint::from_bytes(&bytes).unwrap(), widen(|v| f16::from_f32(v).to_f32()));
        let bytes = converted(Dtype::BF16, |v| bf16::from_f32(v).to_le_bytes().to_vec());
        assert_eq!(Checkpoint::from_bytes(&bytes).unwrap(), widen(|v| bf16::from_f32(v).to_f32()));
        let bytes = converted(Dtype::F64, |v| f64::from(v).to_le_bytes().to_vec());
        assert!(problem(&bytes).contains("\"1.weight\" has elements of type F64"));
        let bytes = converted(Dtype::F32, |v| v.to_le_bytes().to_vec());
        assert_eq!(bytes, example().to_bytes().unwrap());
    }

    #[test]
    fn every_truncation_and_every_altered_byte_is_found() {
        let bytes = example().to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(Checkpoint::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
        for length in [0, 1, 8, 9, 10, 40, bytes.len() / 2, bytes.len() - 1] {
            assert!(problem(&bytes[..length]).contains("truncated"), "{length}");
        }
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for place in 0..bytes.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut altered = bytes.clone();
                altered[place] ^= flip;
                match Checkpoint::from_bytes(&altered) {
                    Err(_) => {}
                    // A blank at the end of the header may turn into another blank; nothing else may pass.
                    Ok(loaded) => assert!(place < header && loaded == example(), "byte {place} ^ {flip}"),
                }
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(problem(&longer).contains("longer than its header says"));
        let mut altered = bytes.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert!(problem(&altered).contains("\"scalar\" was altered"));
    }

    #[test]
    fn foreign_and_hostile_files_are_refused() {
        assert!(problem(b"a,b\n1,2\n3,4\n5,6\n").contains("not a safetensors file"));
        assert!(problem(&[0; 64]).contains("not a safetensors file"));
        for header in [u64::MAX, 1 << 60, MAX_HEADER + 1] {
            let mut bytes = header.to_le_bytes().to_vec();
            bytes.extend(b"{\"a\":1}");
            assert!(problem(&bytes).contains("not a safetensors file"));
        }
        let mut bytes = 50_000_000u64.to_le_bytes().to_vec();
        bytes.extend(b"{\"a\":1}");
        assert!(problem(&bytes).contains("truncated"));
        let with_header = |header: &str, data: &[u8]| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes.extend(data);
            bytes
        };
        assert!(problem(&with_header("{}", &[])).contains("another program"));
        let tensor = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        assert!(problem(&with_header(tensor, &[0; 4])).contains("another program"));
        let huge = r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#;
        assert!(problem(&with_header(huge, &[])).contains("damaged"));
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert!(problem(&with_header(&deep, &[])).contains("damaged"));
        let version =
            r#"{"__metadata__":{"thalweg":"{\"format\":2,\"metadata\":null,\"metadata_crc32\":0,\"tensors\":[]}"}}"#;
        assert!(problem(&with_header(version, &[])).contains("format 2"));
        let junk = r#"{"__metadata__":{"thalweg":"[]"}}"#;
        assert!(problem(&with_header(junk, &[])).contains("metadata of thalweg are damaged"));
    }

    #[test]
    fn wrong_content_is_not_saved_and_the_old_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        example().save(&path).unwrap();
        let mut wrong = example();
        floats(&mut wrong.tensors[0]).pop();
        assert!(wrong.save(&path).unwrap_err().to_string().contains("5 elements, but shape [2, 3]"));
        let mut wrong = example();
        wrong.tensors[0].name = "0.bias".into();
        assert!(wrong.save(&path).unwrap_err().to_string().contains("\"0.bias\" is taken"));
        let mut wrong = example();
        wrong.tensors[0].shape = vec![usize::MAX, usize::MAX];
        assert!(wrong.save(&path).is_err());
        assert_eq!(Checkpoint::load(&path).unwrap(), example());
    }

    #[test]
    fn missing_files_and_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("none.safetensors"), folder.path().to_path_buf()] {
            let error = Checkpoint::load(&path).unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(&path.display().to_string()), "{error}");
        }
        let path = folder.path().join("none/m.safetensors");
        assert!(example().save(&path).unwrap_err().to_string().starts_with("cannot write"));
    }
}
