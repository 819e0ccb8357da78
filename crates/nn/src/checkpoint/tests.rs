use std::fs;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::format::MAX_HEADER;
use super::{Checkpoint, CheckpointTensor, Values};
use crate::Error;

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

/// Returns a checkpoint with tensors of all types.
fn example_of_all_types() -> Checkpoint {
    let mut checkpoint = example();
    let payload = f32::from_bits(0x7fa0_0001);
    for (name, values) in [
        ("words", Values::U32(vec![7, u32::MAX])),
        ("double", Values::F64(vec![0.1, -1e300])),
        ("half", Values::F16(vec![f16::from_bits(0x7e01), f16::MIN_POSITIVE_SUBNORMAL])),
        ("upper half", Values::BF16(vec![bf16::MAX, bf16::from_bits(0xffc1)])),
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
    for name in ["half", "upper half"] {
        let (loaded, expected) = (&loaded.get(name).unwrap().values, &example_of_all_types());
        let expected = &expected.get(name).unwrap().values;
        assert_eq!((loaded.type_name(), loaded.bytes()), (expected.type_name(), expected.bytes()));
    }
    let payload = loaded.get("not numbers").unwrap().values.f32().unwrap()[0];
    assert_eq!(payload.to_bits(), 0x7fa0_0001);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let dtypes = ["words", "double", "half", "upper half"].map(|name| file.tensor(name).unwrap().dtype());
    assert_eq!(dtypes, [Dtype::U32, Dtype::F64, Dtype::F16, Dtype::BF16]);
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

/// Returns the file as another program writes it after converting every tensor to another type.
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
    let views = parts.iter().map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
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
                // A blank at the end of the header may become another blank; no other change may pass.
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
        r#"{"__metadata__":{"thalweg":"{\"format\":3,\"metadata\":null,\"metadata_crc32\":0,\"tensors\":[]}"}}"#;
    assert!(problem(&with_header(version, &[])).contains("format 3"));
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

/// Returns a file of a program whose build keeps the keys of JSON objects in the order of insertion.
fn with_metadata(format: u32, metadata: &str) -> Vec<u8> {
    let crc = super::format::crc32(metadata.as_bytes());
    let text = format!(r#"{{"format":{format},"metadata":{metadata},"metadata_crc32":{crc},"tensors":[]}}"#);
    let none: [(&str, TensorView<'_>); 0] = [];
    safetensors::serialize(none, Some([("thalweg".to_string(), text)].into())).unwrap()
}

#[test]
fn the_order_of_keys_in_the_metadata_does_not_matter() {
    let metadata = r#"{"b":1,"a":{"d":[0.5,{"z":1,"y":2}],"c":2}}"#;
    for format in [1, 2] {
        let loaded = Checkpoint::from_bytes(&with_metadata(format, metadata)).unwrap();
        assert_eq!(loaded.metadata["a"]["d"][1]["y"], 2);
        // In the new file, keys are sorted at every depth.
        let bytes = loaded.to_bytes().unwrap();
        let text = String::from_utf8_lossy(&bytes).replace('\\', "");
        assert!(text.contains(r#"{"a":{"c":2,"d":[0.5,{"y":2,"z":1}]},"b":1}"#), "{text}");
    }
    let mut altered = with_metadata(2, metadata);
    let place = altered.windows(3).position(|bytes| bytes == b"0.5").unwrap();
    altered[place + 2] = b'6';
    assert!(problem(&altered).contains("the metadata were altered"));
}
