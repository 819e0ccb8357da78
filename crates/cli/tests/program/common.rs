//! The built program, run as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the program with these arguments.
pub(crate) fn thalweg(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_thalweg")).args(arguments).output().expect("the program starts")
}

/// Runs the program in a folder.
pub(crate) fn thalweg_in(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.current_dir(folder).args(arguments).output().expect("the program starts")
}

/// Copies a table of the project into a folder, and returns its name there.
pub(crate) fn example(folder: &Path, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data").join(name);
    std::fs::copy(&path, folder.join(name)).expect("the table ships with the project");
    name.to_string()
}

/// Returns standard output of a run that must have succeeded.
pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// Returns the error line of a run that must have ended with this status and nothing on standard output.
pub(crate) fn error_line(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].starts_with("error: ") && !text.contains("panicked"), "{text}");
    lines[0].to_string()
}

/// Returns the adapters that `thalweg devices` lists, without the CPU. Fails if there is none but one is required.
pub(crate) fn adapters() -> Vec<serde_json::Value> {
    let listing: serde_json::Value =
        serde_json::from_str(&stdout(&thalweg(&["devices", "--json"]))).expect("the listing is JSON");
    let devices = listing["devices"].as_array().expect("a list").clone();
    let adapters: Vec<_> = devices.into_iter().filter(|device| device["kind"] != "cpu").collect();
    assert!(
        !adapters.is_empty() || std::env::var("THALWEG_REQUIRE_GPU").as_deref() != Ok("1"),
        "THALWEG_REQUIRE_GPU=1, but there is no adapter"
    );
    adapters
}
