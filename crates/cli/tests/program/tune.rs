//! `thalweg tune` and its file.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::{adapters, error_line, stdout};

/// Runs the program with its caches in a folder.
fn with_caches(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.env("THALWEG_CACHE_DIR", folder).args(arguments).output().expect("the program starts")
}

#[test]
fn the_cpu_has_nothing_to_tune() {
    let folder = tempfile::tempdir().unwrap();
    let text = stdout(&with_caches(folder.path(), &["tune", "--device", "cpu"]));
    assert!(text.contains("nothing to tune"), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_gpu_gets_a_table_and_a_file_and_trains_the_same_with_it() {
    if adapters().is_empty() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let caches = folder.path().join("caches");
    let train = |out: &str| {
        let data = crate::common::example(folder.path(), "iris.csv");
        let data = folder.path().join(data);
        let out = folder.path().join(out);
        let arguments = ["train", data.to_str().unwrap(), "--device", "gpu", "--epochs", "1", "--hidden", "64,64"];
        let text = stdout(&with_caches(&caches, &[&arguments[..], &["--out", out.to_str().unwrap()]].concat()));
        (std::fs::read(out).unwrap(), text.contains("3 tuned choices") && text.contains("THALWEG_TUNE=off"))
    };
    let (before, says_so) = train("before.safetensors");
    assert!(!says_so, "there are no choices yet");
    let text = stdout(&with_caches(&caches, &["tune", "--device", "gpu", "--quick"]));
    for word in ["GFLOP/s", "strided", "chosen", "products.json"] {
        assert!(text.contains(word), "{text}");
    }
    // A line for each of the three products has the choice.
    assert_eq!(text.lines().filter(|line| line.contains("chosen")).count(), 3, "{text}");
    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(caches.join("products.json")).unwrap()).unwrap();
    let device = &file["devices"][0];
    assert!(text.contains(device["adapter"].as_str().unwrap()), "{text}");
    assert_eq!(device["products"].as_array().unwrap().len(), 3, "{file}");
    // The software driver does not contract, so that no choice changes a bit; but a run reports its choices.
    let (after, says_so) = train("after.safetensors");
    assert!(says_so, "a run by tuned choices does not say so");
    assert!(after == before, "tuning has changed a result");
    // A broken file counts as missing.
    std::fs::write(caches.join("products.json"), "{").unwrap();
    assert!(train("broken.safetensors") == (before, false));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    if adapters().is_empty() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let line = error_line(&with_caches(&file, &["tune", "--device", "gpu", "--quick"]), 2);
    assert!(line.contains("products.json") && line.contains("THALWEG_CACHE_DIR"), "{line}");
    assert!(!line.contains(".thalweg-"), "{line}");
}
