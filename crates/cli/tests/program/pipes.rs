//! `-` is standard input or standard output, and a pipe that its reader has closed is no error.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{error_line, example, stdout, thalweg_in};

/// Runs the program with a file as its standard input.
fn with_input(folder: &Path, command: &str, input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_thalweg"))
        .current_dir(folder)
        .args(command.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("the program reads it");
    child.wait_with_output().expect("the program ends")
}

#[test]
fn tables_models_predictions_and_figures_go_through_pipes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let iris = fs::read(at(&example(folder.path(), "iris.csv"))).unwrap();
    let run = |command: &str| thalweg_in(folder.path(), &command.split(' ').collect::<Vec<_>>());
    stdout(&run("train iris.csv --epochs 2 --device cpu --metrics metrics.json"));
    stdout(&run("predict model.safetensors iris.csv --device cpu"));
    let (model, predictions) = (fs::read(at("model.safetensors")).unwrap(), fs::read(at("predictions.csv")).unwrap());

    let output = with_input(folder.path(), "train - --epochs 2 --device cpu --out -", &iris);
    assert!(output.status.success() && output.stdout == model, "{output:?}");
    // Messages go to standard error then.
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("standard input: classification") && said.contains("model written to standard output"),
        "{said}"
    );

    let output = with_input(folder.path(), "predict model.safetensors - --out - --device cpu", &iris);
    assert!(output.status.success() && output.stdout == predictions, "{output:?}");

    let output = run("train iris.csv --epochs 2 --device cpu --metrics -");
    let metrics: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(metrics["epochs"], 2);
    let output = run("train iris.csv --device cpu --range-test -");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("<svg"));
    assert!(!at("-").exists());

    let error = with_input(folder.path(), "predict model.safetensors - --out - --device cpu", b"a,b\n1\n");
    assert!(error_line(&error, 2).contains("standard input, line 2: the row has 1 cell"), "{error:?}");
    let error = error_line(&run("train iris.csv --device cpu --epochs 2 --out - --metrics -"), 2);
    assert!(error.contains("--metrics -: this is also the file of --out"), "{error}");
    let error = error_line(&run("train iris.csv --device cpu --epochs 2 --checkpoint -"), 2);
    assert!(error.contains("--checkpoint -: "), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_that_is_closed_is_the_end_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    example(folder.path(), "iris.csv");
    let run = |command: &str| {
        let script = format!("set -o pipefail; {} {command} --device cpu | true", env!("CARGO_BIN_EXE_thalweg"));
        let mut shell = Command::new("bash");
        shell.current_dir(folder.path()).args(["-c", &script]).output().expect("bash")
    };
    let output = run("train iris.csv --epochs 2");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    for out in ["-", "/dev/stdout"] {
        let output = run(&format!("predict model.safetensors iris.csv --out {out}"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !said.contains("error") && !said.contains("Broken"), "{said}");
    }
}
