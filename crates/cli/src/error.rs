//! The errors of the program: one line, and an exit status.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use thalweg::{nn, tensor};

use crate::output::one_line;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Wrong usage or bad input, which the user can fix.
const USAGE: u8 = 2;

/// The maximum number of threads of the library.
pub(crate) const MOST_THREADS: usize = 512;

/// A failure of the machine: device, memory, disk.
const FAILURE: u8 = 1;

#[derive(Debug)]
pub(crate) enum Error {
    /// The command line is wrong, or requests help or the version.
    Arguments(clap::Error),
    /// `--device` names no device, or one that cannot be opened.
    Device { choice: String, source: tensor::Error },
    /// An error in data, settings, models or training.
    Nn(nn::Error),
    /// `--resume` names no checkpoint of this run.
    Resume(nn::Error),
    /// `--resume` names a checkpoint of a run that had another value of a flag.
    Changed { checkpoint: PathBuf, flag: String, old: String, new: String },
    /// An error in work on the device.
    Tensor(tensor::Error),
    /// A file that a flag names cannot be written.
    Output { flag: &'static str, path: PathBuf, source: io::Error },
    /// Another argument names the same file as an output.
    SameFile { flag: &'static str, path: PathBuf, other: &'static str },
    /// A flag's value is within its range, but does not fit other flags or the device.
    Unfit { flag: &'static str, problem: String },
    /// A flag sets a value that the chosen method does not have.
    NoSetting { flag: &'static str, optimizer: &'static str, others: String },
    /// The model's result for a row is not a number.
    Row { path: PathBuf, line: u64 },
    /// `THALWEG_THREADS` is not a number of threads.
    Threads { value: String },
    /// Standard output cannot be written.
    Stdout(io::Error),
}

impl Error {
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            // Help and version are no errors.
            Self::Arguments(error) if error.exit_code() == 0 => 0,
            Self::Arguments(_) | Self::Device { source: tensor::Error::NoAdapter { .. }, .. } => USAGE,
            Self::Output { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FAILURE,
                _ => USAGE,
            },
            Self::SameFile { .. } | Self::Unfit { .. } | Self::NoSetting { .. } | Self::Changed { .. } => USAGE,
            Self::Row { .. } | Self::Threads { .. } => USAGE,
            Self::Nn(error) | Self::Resume(error) if error.is_user_error() => USAGE,
            Self::Nn(_) | Self::Resume(_) | Self::Device { .. } | Self::Tensor(_) | Self::Stdout(_) => FAILURE,
        }
    }

    /// Prints it: one line on stderr; help and version unchanged.
    pub(crate) fn report(&self) {
        // If this cannot be printed, only the exit status remains.
        let _ = match self {
            Self::Arguments(error) if is_help(error) => error.print(),
            _ => writeln!(io::stderr().lock(), "error: {}", one_line(&self.to_string())),
        };
    }
}

fn is_help(error: &clap::Error) -> bool {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion)
}

/// Returns the parser's message, without its usage lines.
fn without_usage(text: &str) -> String {
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| text.find(mark)).min();
    let text = &text[..end.unwrap_or(text.len())];
    text.strip_prefix("error: ").unwrap_or(text).replace("\n\n  tip: ", "; tip: ")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(error) => f.write_str(&without_usage(&error.to_string())),
            Self::Device { choice, source } => {
                write!(f, "--device {choice}: {source}; `thalweg devices` lists what there is")
            }
            // The fields are those of the library; the flags have the same names.
            Self::Nn(nn::Error::Setting { field, value, rule }) => {
                write!(f, "--{} {value}: it must be {rule}", field.replace('_', "-"))
            }
            Self::Nn(nn::Error::Diverged { epoch }) => write!(
                f,
                "training diverged in epoch {epoch}: losses or weights are no longer finite numbers; no model was \
                 saved; try a lower --lr"
            ),
            Self::Resume(error @ nn::Error::Io { .. }) => {
                write!(f, "--resume: {error}; give a file that --checkpoint wrote")
            }
            Self::Resume(error) => write!(f, "--resume {error}"),
            Self::Changed { checkpoint, flag, old, new } => write!(
                f,
                "--resume {}: the run had {flag} {old}, but now it is {new}; data and flags must be as they were",
                checkpoint.display()
            ),
            Self::Nn(error) => error.fmt(f),
            Self::Tensor(error) => error.fmt(f),
            Self::Output { flag, path, source } => {
                write!(f, "{flag} {}: {source}; choose a file that can be written", path.display())
            }
            Self::SameFile { flag, path, other } => {
                write!(f, "{flag} {}: this is also the file of {other}; choose another one", path.display())
            }
            Self::Unfit { flag, problem } => write!(f, "{flag}: {problem}"),
            Self::NoSetting { flag, optimizer, others } => {
                write!(f, "{flag}: {optimizer} has no use for it; leave it out, or choose {others} by --optimizer")
            }
            Self::Row { path, line } => write!(
                f,
                "{}, line {line}: the prediction is no finite number, since the features are too far from those that \
                 the model was trained on; correct the row, or leave it out",
                path.display()
            ),
            Self::Threads { value } => {
                write!(f, "THALWEG_THREADS={value}: must be a whole number from 1 to {MOST_THREADS}, or not be set")
            }
            Self::Stdout(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Arguments(error) => Some(error),
            Self::SameFile { .. } | Self::Unfit { .. } | Self::NoSetting { .. } | Self::Changed { .. } => None,
            Self::Row { .. } | Self::Threads { .. } => None,
            Self::Nn(error) | Self::Resume(error) => error.source(),
            Self::Device { source, .. } | Self::Tensor(source) => Some(source),
            Self::Output { source, .. } | Self::Stdout(source) => Some(source),
        }
    }
}

impl From<nn::Error> for Error {
    fn from(error: nn::Error) -> Self {
        Self::Nn(error)
    }
}

impl From<tensor::Error> for Error {
    fn from(error: tensor::Error) -> Self {
        Self::Tensor(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_lines_of_the_parser_are_left_out() {
        let text =
            "error: invalid value 'x' for '--y <Z>'\n  [possible values: a]\n\nUsage: thalweg\n\nFor more information";
        assert_eq!(one_line(&without_usage(text)), "invalid value 'x' for '--y <Z>' [possible values: a]");
        let text = "no '--y' here\n\n  tip: '--z' is\u{1b}";
        assert_eq!(one_line(&without_usage(text)), "no '--y' here; tip: '--z' is\\u{1b}");
    }

    #[test]
    fn a_full_disk_is_the_machines_fault_and_a_wrong_path_the_users() {
        let status =
            |kind: io::ErrorKind| Error::Output { flag: "--json", path: "x".into(), source: kind.into() }.exit_status();
        assert_eq!(status(io::ErrorKind::StorageFull), 1);
        assert_eq!(status(io::ErrorKind::PermissionDenied), 2);
    }
}
