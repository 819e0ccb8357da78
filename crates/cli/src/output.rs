//! Output of the program: messages, and JSON.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::error::{Error, Result};

/// Whether a file of this run goes to standard output, so that messages go to standard error.
static STDOUT_IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Reserves standard output for a file of the user.
pub(crate) fn leave_stdout() {
    STDOUT_IS_TAKEN.store(true, Ordering::Relaxed);
}

/// Prints a message to standard output, or to standard error if a file goes to standard output.
pub(crate) fn print(text: &str) -> Result<()> {
    if STDOUT_IS_TAKEN.load(Ordering::Relaxed) {
        // As with warnings: if this cannot be printed, the message is lost.
        let _ = io::stderr().lock().write_all(text.as_bytes());
        return Ok(());
    }
    print_bytes(text.as_bytes()).map_err(Error::Stdout)
}

/// Writes bytes to standard output. A reader that has closed its end needs no more: this is no error.
pub(crate) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Prints a warning: one line on standard error.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(io::stderr().lock(), "warning: {}", one_line(text));
}

/// Puts a text on one line and escapes control characters: messages of drivers and parsers have several lines, and
/// names of files, columns and classes may contain anything.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Returns a path as written on a command line: in quotes if it has characters with a meaning in the shell.
pub(crate) fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:+,@%=".contains(c) || (cfg!(windows) && c == '\\');
    match path.chars().all(is_plain) && !path.is_empty() {
        true => path.into_owned(),
        false if cfg!(windows) => format!("\"{path}\""),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}

/// Formats a number of things.
pub(crate) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Returns a value as JSON, indented, with a line feed at its end.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value)
        .unwrap_or_else(|error| unreachable!("structures of numbers and texts are JSON: {error}"));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn paths_can_be_pasted_into_a_shell() {
        for (path, expected) in [
            ("model.safetensors", "model.safetensors"),
            ("a-b/../C_1", "a-b/../C_1"),
            ("modèle", "modèle"),
            ("my model", "'my model'"),
            ("it's", "'it'\\''s'"),
            ("$HOME;*", "'$HOME;*'"),
            ("~", "'~'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(Path::new(path)), expected);
        }
        // On Unix a backslash has a meaning in the shell.
        assert_eq!(quoted(Path::new("a\\b")), "'a\\b'");
    }

    #[test]
    fn a_line_has_no_control_characters() {
        assert_eq!(one_line("a\n b\u{1b}[31m"), "a b\\u{1b}[31m");
    }
}
