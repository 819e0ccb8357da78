//! Wrong usage: one line that names the argument, and status 2.

use std::process::{Command, Stdio};

use crate::common::{error_line, stdout, thalweg};

#[test]
fn wrong_arguments_are_named_in_one_line() {
    for (arguments, named) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["dance"], "dance"),
        (&["bench", "optim", "--sizes"], "--sizes"),
        (&["bench", "optim", "--json"], "--json"),
        (&["bench", "dance"], "dance"),
        (&["devices", "extra"], "extra"),
        (&["devices", "--json=yes"], "--json"),
    ] {
        let line = error_line(&thalweg(arguments), 2);
        assert!(line.contains(named), "{arguments:?}: {line}");
    }
}

#[test]
fn a_number_of_threads_that_cannot_be_is_named() {
    let devices = |threads: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
        command.args(["devices", "--json"]).env("THALWEG_THREADS", threads).output().unwrap()
    };
    for threads in ["0", "many", "-3", "1.5", "513", ""] {
        let line = error_line(&devices(threads), 2);
        assert!(line.contains(&format!("THALWEG_THREADS={threads}:")) && line.contains("from 1 to 512"), "{line}");
    }
    assert!(stdout(&devices("1")).contains("\"1 thread\""));
    assert!(stdout(&devices("3")).contains("\"3 threads\""));
}

#[test]
fn without_arguments_the_help_is_shown_as_an_error() {
    let output = thalweg(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: thalweg"), "{output:?}");
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(stdout(&thalweg(&["--help"])).contains("devices"));
    assert!(stdout(&thalweg(&["bench", "optim", "--help"])).contains("--quick"));
    assert_eq!(stdout(&thalweg(&["--version"])), format!("thalweg {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    // The reading end is closed before the program writes.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_thalweg"))
        .arg("devices")
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
}
