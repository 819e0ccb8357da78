//! What the program writes: standard output, and files whole or not at all.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use thalweg::nn::{self, check_writable, write_whole};

use crate::error::{Error, Result};

/// Prints to standard output. A reader that has closed its end has seen enough: that is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Stdout(error)),
        _ => Ok(()),
    }
}

/// A value as JSON, indented, with a line feed at its end.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value)
        .unwrap_or_else(|error| unreachable!("structures of numbers and texts are JSON: {error}"));
    text.push('\n');
    text
}

/// A file that a flag names, and that is written at the end.
#[derive(Debug)]
pub(crate) struct OutputFile {
    flag: &'static str,
    path: PathBuf,
}

impl OutputFile {
    /// Finds out whether the file can be written, before the work whose result goes there.
    pub(crate) fn create(flag: &'static str, path: &Path) -> Result<Self> {
        let file = Self { flag, path: path.to_path_buf() };
        check_writable(path).map_err(|error| file.failed(error))?;
        Ok(file)
    }

    /// Writes the content, whole or not at all.
    pub(crate) fn finish(&self, content: &[u8]) -> Result<()> {
        write_whole(&self.path, content).map_err(|error| self.failed(error))
    }

    /// The error of a file, with the flag that names it.
    fn failed(&self, error: nn::Error) -> Error {
        match error {
            nn::Error::Io { source, .. } => Error::Output { flag: self.flag, path: self.path.clone(), source },
            other => Error::Nn(other),
        }
    }
}
