//! The bytes of a checkpoint: a safetensors file with a manifest in its metadata. Writes format 2, reads 1 and 2.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::values::Kind;
use super::{Checkpoint, CheckpointTensor, Values};
use crate::{Error, Result};

/// The key in the metadata of the safetensors file. It is the only one: the order of several keys in the file would
/// vary.
const KEY: &str = "thalweg";

/// The version of the format that is written. Version 1 can be read; it differs in the metadata of optimizers.
const FORMAT: u32 = 2;

/// The longest header that the safetensors format allows, in bytes.
pub(super) const MAX_HEADER: u64 = 100_000_000;

/// The JSON text under [`KEY`].
#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// Raw text, because its checksum is that of the bytes in the file.
    metadata: Box<RawValue>,
    metadata_crc32: u32,
    tensors: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    /// Omitted for F32, the type of all tensors in the file of a model.
    #[serde(default, skip_serializing_if = "Kind::is_f32")]
    dtype: Kind,
    crc32: u32,
}

/// A JSON value whose objects are written in the order of their keys. The order in a [`Value`] depends on a feature of
/// serde_json that any crate of a program can enable.
struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let sorted: BTreeMap<&String, Sorted<'_>> =
                    fields.iter().map(|(key, value)| (key, Sorted(value))).collect();
                serializer.collect_map(sorted)
            }
            Value::Array(values) => serializer.collect_seq(values.iter().map(Sorted)),
            other => other.serialize(serializer),
        }
    }
}

impl Checkpoint {
    /// Returns the bytes of the file.
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
        let to_problem = |error: serde_json::Error| error.to_string();
        let metadata = serde_json::to_string(&Sorted(&self.metadata)).map_err(to_problem)?;
        let manifest = Manifest {
            format: FORMAT,
            metadata_crc32: crc32(metadata.as_bytes()),
            metadata: RawValue::from_string(metadata).map_err(to_problem)?,
            tensors: entries.collect(),
        };
        let text = serde_json::to_string(&manifest).map_err(to_problem)?;
        serialize(&self.tensors, &parts, Some(HashMap::from([(KEY.to_string(), text)])))
    }

    /// Parses the content of a file.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| describe(&error))?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| describe(&error))?;
        let text = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let text = text.ok_or("the safetensors file is of another program: it has no metadata of thalweg")?;
        let damaged = |error: serde_json::Error| format!("the metadata of thalweg are damaged ({error})");
        let manifest: Manifest = serde_json::from_str(text).map_err(damaged)?;
        if !(1..=FORMAT).contains(&manifest.format) {
            return Err(format!(
                "the file has format {}, but this version reads formats 1 to {FORMAT}; use the version that wrote it",
                manifest.format
            ));
        }
        if crc32(manifest.metadata.get().as_bytes()) != manifest.metadata_crc32 {
            return Err("the metadata were altered: the checksum differs; take another copy of the file".into());
        }
        if manifest.tensors.len() != file.len() {
            return Err(format!("the file has {} tensors, but must have {}", file.len(), manifest.tensors.len()));
        }
        let tensors = manifest.tensors.into_iter().map(|entry| load_tensor(&file, entry)).collect::<Result<_, _>>()?;
        Ok(Self { metadata: serde_json::from_str(manifest.metadata.get()).map_err(damaged)?, tensors })
    }
}

/// Returns a safetensors file of these tensors, whose bytes are `parts`.
fn serialize(
    tensors: &[CheckpointTensor],
    parts: &[Vec<u8>],
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>, String> {
    let views = tensors.iter().zip(parts).map(|(tensor, bytes)| {
        let dtype = match tensor.values {
            Values::F32(_) => Dtype::F32,
            Values::U32(_) => Dtype::U32,
            Values::F64(_) => Dtype::F64,
            Values::F16(_) => Dtype::F16,
            Values::BF16(_) => Dtype::BF16,
        };
        TensorView::new(dtype, tensor.shape.clone(), bytes).map(|view| (tensor.name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    safetensors::serialize(views, metadata).map_err(|error| error.to_string())
}

fn load_tensor(file: &SafeTensors<'_>, entry: Entry) -> Result<CheckpointTensor, String> {
    let Entry { name, shape, dtype, crc32: expected } = entry;
    let view = file.tensor(&name).map_err(|_| format!("tensor {name:?} is missing"))?;
    if view.shape() != shape {
        return Err(format!("tensor {name:?} has shape {:?}, but must have {shape:?}", view.shape()));
    }
    let stored_as = match dtype {
        Kind::F32 => Dtype::F32,
        Kind::U32 => Dtype::U32,
        Kind::F64 => Dtype::F64,
        Kind::F16 => Dtype::F16,
        Kind::BF16 => Dtype::BF16,
    };
    if view.dtype() == stored_as && crc32(view.data()) != expected {
        return Err(format!("tensor {name:?} was altered: its checksum differs; take another copy of the file"));
    }
    let widened = matches!((dtype, view.dtype()), (Kind::F32, Dtype::F16 | Dtype::BF16));
    if view.dtype() != stored_as && !widened {
        let found = view.dtype();
        return Err(match dtype {
            Kind::F32 => format!("tensor {name:?} has elements of type {found:?}; F32, F16 and BF16 can be loaded"),
            _ => format!("tensor {name:?} has elements of type {found:?}, but must have {dtype:?}"),
        });
    }
    let values = match dtype {
        Kind::F16 => Values::F16(of_bytes(view.data(), f16::from_le_bytes)),
        Kind::BF16 => Values::BF16(of_bytes(view.data(), bf16::from_le_bytes)),
        _ => values_of(&view).map_err(|problem| format!("tensor {name:?} {problem}"))?,
    };
    Ok(CheckpointTensor { name, shape, values })
}

fn of_bytes<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|bytes| convert(*bytes)).collect()
}

/// Returns the elements of a tensor. Half types are widened to F32, and whole numbers of other types become U32 if they
/// fit.
fn values_of(view: &TensorView<'_>) -> Result<Values, String> {
    fn whole<T: TryInto<u32>>(values: Vec<T>) -> Result<Values, String> {
        let values = values.into_iter().map(TryInto::try_into).collect::<Result<Vec<u32>, _>>();
        values.map(Values::U32).map_err(|_| "has a whole number that is no u32".to_string())
    }
    let bytes = view.data();
    Ok(match view.dtype() {
        Dtype::F32 => Values::F32(of_bytes(bytes, f32::from_le_bytes)),
        Dtype::F16 => Values::F32(of_bytes(bytes, |bytes| f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Values::F32(of_bytes(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32())),
        Dtype::F64 => Values::F64(of_bytes(bytes, f64::from_le_bytes)),
        Dtype::U32 => Values::U32(of_bytes(bytes, u32::from_le_bytes)),
        Dtype::BOOL | Dtype::U8 => whole(bytes.to_vec())?,
        Dtype::I8 => whole(of_bytes(bytes, i8::from_le_bytes))?,
        Dtype::U16 => whole(of_bytes(bytes, u16::from_le_bytes))?,
        Dtype::I16 => whole(of_bytes(bytes, i16::from_le_bytes))?,
        Dtype::I32 => whole(of_bytes(bytes, i32::from_le_bytes))?,
        Dtype::U64 => whole(of_bytes(bytes, u64::from_le_bytes))?,
        Dtype::I64 => whole(of_bytes(bytes, i64::from_le_bytes))?,
        other => return Err(format!("has elements of type {other:?}, which cannot be loaded")),
    })
}

/// Returns the tensors of a safetensors file of any program, with their names.
pub(crate) fn read_state(path: &Path) -> Result<Vec<CheckpointTensor>> {
    let bytes = read_safetensors(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| Error::model(path, describe(&error)))?;
    let tensor = |(name, view): (String, TensorView<'_>)| {
        let values = values_of(&view).map_err(|problem| Error::model(path, format!("tensor {name:?} {problem}")))?;
        Ok(CheckpointTensor { shape: view.shape().to_vec(), values, name })
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// Returns a safetensors file of these tensors only, as other programs write it.
pub(crate) fn state_to_bytes(tensors: &[CheckpointTensor]) -> Result<Vec<u8>, String> {
    let parts: Vec<Vec<u8>> = tensors.iter().map(|tensor| tensor.values.bytes()).collect();
    serialize(tensors, &parts, None)
}

/// Reads a file that begins like a safetensors file; others are refused before they are read.
pub(super) fn read_safetensors(path: &Path) -> Result<Vec<u8>> {
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

pub(super) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
