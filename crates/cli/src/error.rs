//! What the program ends with where it fails: one line, and an exit status.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use thalweg::{nn, tensor};

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Wrong usage or bad input, which the user can mend.
const USAGE: u8 = 2;

/// A failure of the machine: device, memory, disk.
const FAILURE: u8 = 1;

#[derive(Debug)]
pub(crate) enum Error {
    /// The command line is wrong, or asks for help or the version.
    Arguments(clap::Error),
    /// `--device` names none, or one that cannot be opened.
    Device { choice: String, source: tensor::Error },
    /// Data, settings, models, training.
    Nn(nn::Error),
    /// Work on the device.
    Tensor(tensor::Error),
    /// A file that a flag names cannot be written.
    Output { flag: &'static str, path: PathBuf, source: io::Error },
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
            Self::Nn(error) if error.is_user_error() => USAGE,
            Self::Nn(_) | Self::Device { .. } | Self::Tensor(_) | Self::Stdout(_) => FAILURE,
        }
    }

    /// Prints it: one line on stderr; help and version as they are.
    pub(crate) fn report(&self) {
        // Where this cannot be printed there is nobody to tell; the exit status still says it.
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

/// What the parser says, without its usage lines.
fn without_usage(text: &str) -> &str {
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| text.find(mark)).min();
    let text = &text[..end.unwrap_or(text.len())];
    text.strip_prefix("error: ").unwrap_or(text)
}

/// Messages of drivers and parsers run over several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(error) => f.write_str(without_usage(&error.to_string())),
            Self::Device { choice, source } => {
                write!(f, "--device {choice}: {source}; `thalweg devices` lists what there is")
            }
            Self::Nn(error) => error.fmt(f),
            Self::Tensor(error) => error.fmt(f),
            Self::Output { flag, path, source } => {
                write!(f, "{flag} {}: {source}; choose a file that can be written", path.display())
            }
            Self::Stdout(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Arguments(error) => Some(error),
            Self::Nn(error) => error.source(),
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
        assert_eq!(one_line(without_usage(text)), "invalid value 'x' for '--y <Z>' [possible values: a]");
    }

    #[test]
    fn a_full_disk_is_the_machines_fault_and_a_wrong_path_the_users() {
        let status =
            |kind: io::ErrorKind| Error::Output { flag: "--json", path: "x".into(), source: kind.into() }.exit_status();
        assert_eq!(status(io::ErrorKind::StorageFull), 1);
        assert_eq!(status(io::ErrorKind::PermissionDenied), 2);
    }
}
