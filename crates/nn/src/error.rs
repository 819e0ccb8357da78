//! The errors of the crate, as one enum.

use std::io;
use std::path::{Path, PathBuf};

use thalweg_tensor::DType;

/// The result of all fallible functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error, in one line that names the file, the position in it or the setting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// The action that failed: `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A table of data is not valid.
    #[error("{}{}{}: {problem}", .path.display(), line_text(*.line), column_text(.column.as_deref()))]
    Data {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: Option<u64>,
        /// The column's name.
        column: Option<String>,
        /// The problem.
        problem: DataProblem,
    },
    /// A file is not a model that this library can load.
    #[error("{}: {problem}", .path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// A saved state does not fit the object that loads it.
    #[error("{name}: {problem}")]
    State {
        /// The tensor, or the setting.
        name: String,
        /// The problem.
        problem: String,
    },
    /// A setting is out of its range.
    #[error("{field} = {value}, but it must be {rule}")]
    Setting {
        /// The field's name; the flag of the program is the same with hyphens.
        field: &'static str,
        /// The value.
        value: String,
        /// The rule for the value.
        rule: &'static str,
    },
    /// A call came at the wrong time.
    #[error("{call}: {problem}")]
    Order {
        /// The call, such as `Optimizer::step`.
        call: &'static str,
        /// The reason, and the call that must come first.
        problem: String,
    },
    /// A picture cannot be drawn.
    #[error("cannot draw: {problem}")]
    Picture {
        /// The message of the drawing library.
        problem: String,
    },
    /// A model takes another number of inputs than the data have.
    #[error("the model takes {expected} inputs, but the data have {found}")]
    Inputs {
        /// The number that the model takes.
        expected: usize,
        /// The number that the data have.
        found: usize,
    },
    /// The data have targets of another type than the loss takes.
    #[error("the loss takes {}, but the data's targets are {}; choose another loss or other targets", kind(*.expected), kind(*.found))]
    Targets {
        /// The type that the loss takes.
        expected: DType,
        /// The type of the targets.
        found: DType,
    },
    /// The data have a class that the model has no output for.
    #[error("class {class} has no output: the model has {outputs}, and classes count from 0")]
    Class {
        /// The class.
        class: u32,
        /// The number of outputs.
        outputs: usize,
    },
    /// Training has left the range of floats.
    #[error(
        "training diverged in epoch {epoch}: losses, gradients or parameters are no longer finite; lower the learning rate, or the \
             weight decay if it is large, or find the first operation with Trainer::with_anomaly_detection"
    )]
    Diverged {
        /// The epoch, counted from 1.
        epoch: u64,
    },
    /// Two steps of a run do different work, so that a replay of one is not the other. Debug builds find this.
    #[error(
        "a recorded step would repeat a value of the host, which differs between two steps: {difference}; keep the value in a \
             tensor on the device, or train with Trainer::with_recording(false)"
    )]
    HostState {
        /// The first launch that differs, and the difference.
        difference: String,
    },
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] thalweg_tensor::Error),
    /// Differentiation failed.
    #[error(transparent)]
    Autograd(thalweg_autograd::Error),
}

/// An error is the same inside and outside of a forward pass.
impl From<thalweg_autograd::Error> for Error {
    fn from(error: thalweg_autograd::Error) -> Self {
        use thalweg_autograd::Error as Autograd;
        match error {
            Autograd::Tensor(error) => Self::Tensor(error),
            Autograd::Module(error) => {
                error.downcast().map_or_else(|error| Self::Autograd(Autograd::Module(error)), |error| *error)
            }
            other => Self::Autograd(other),
        }
    }
}

/// Lets [`Module::forward`](crate::Module::forward) fail with the errors of this crate.
impl From<Error> for thalweg_autograd::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Tensor(error) => Self::Tensor(error),
            Error::Autograd(error) => error,
            other => Self::Module(Box::new(other)),
        }
    }
}

/// Returns the targets of a type, in words.
fn kind(targets: DType) -> &'static str {
    match targets {
        DType::F32 => "values of f32",
        DType::U32 => "classes of u32",
        DType::F16 => "values of f16",
        DType::BF16 => "values of bf16",
    }
}

fn line_text(line: Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(", line {line}"))
}

fn column_text(column: Option<&str>) -> String {
    column.map_or_else(String::new, |column| format!(", column {column:?}"))
}

impl Error {
    /// Returns whether the user can fix the error with other input, in contrast to an error of the machine.
    ///
    /// Missing or unreadable files, bad data, bad settings and paths that cannot be written are the user's errors. A
    /// full disk, exhausted memory and a lost device are the machine's.
    ///
    /// ```
    /// assert!(thalweg_nn::data::Table::read("no/such/file.csv").unwrap_err().is_user_error());
    /// ```
    #[must_use]
    pub fn is_user_error(&self) -> bool {
        use thalweg_tensor::Error as Tensor;
        match self {
            Self::Io { source, .. } => is_about_path(source.kind()),
            Self::Data { .. }
            | Self::Model { .. }
            | Self::State { .. }
            | Self::Setting { .. }
            | Self::Inputs { .. }
            | Self::Targets { .. }
            | Self::Class { .. }
            | Self::Diverged { .. } => true,
            Self::Tensor(error) => {
                matches!(
                    error,
                    Tensor::NoAdapter { .. }
                        | Tensor::Argument { .. }
                        | Tensor::Limit { .. }
                        | Tensor::NotFinite { .. }
                )
            }
            Self::Autograd(error) => matches!(error, thalweg_autograd::Error::NotFinite { .. }),
            Self::Order { .. } | Self::Picture { .. } | Self::HostState { .. } => false,
        }
    }

    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Io { action: "read", path: path.to_path_buf(), source }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Io { action: "write", path: path.to_path_buf(), source }
    }

    pub(crate) fn state(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::State { name: name.into(), problem: problem.into() }
    }

    pub(crate) fn model(path: &Path, problem: impl Into<String>) -> Self {
        Self::Model { path: path.to_path_buf(), problem: problem.into() }
    }
}

/// Returns whether an error of this kind depends on the path, so that another path would work.
pub(crate) fn is_about_path(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::NotFound
            | Kind::PermissionDenied
            | Kind::IsADirectory
            | Kind::NotADirectory
            | Kind::ReadOnlyFilesystem
            | Kind::InvalidFilename
            | Kind::InvalidInput
            | Kind::AlreadyExists
            | Kind::ResourceBusy
            | Kind::ExecutableFileBusy
    )
}

/// A problem in a table of data.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DataProblem {
    /// The file is empty.
    #[error("the file is empty; it needs a line of column names, then one line per row")]
    Empty,
    /// The file ends after its header line.
    #[error("there is no row after the column names")]
    NoRows,
    /// A row and the header line differ in their number of cells.
    #[error("the row has {}, but the file has {}", count(*.found, "cell"), count(*.expected, "column"))]
    Ragged {
        /// The number of columns.
        expected: u64,
        /// The number of cells of this row.
        found: u64,
    },
    /// The text is not UTF-8.
    #[error("the text is not UTF-8; save the file in this encoding")]
    NotUtf8,
    /// The file is a gzip archive, but a damaged one.
    #[error("the gzip archive is truncated or damaged ({reason}); fetch or pack it again")]
    Gzip {
        /// The message of the decoder.
        reason: String,
    },
    /// The columns are not separated by commas.
    #[error("the columns are separated by {found}; separate them by commas")]
    Separator {
        /// The separator.
        found: &'static str,
    },
    /// A line is a title, a comment or a note on the separator.
    #[error("{text:?} is neither column names nor a row; remove this line")]
    NotInTable {
        /// The line's text.
        text: String,
    },
    /// A quote that opens a cell is never closed.
    #[error("a quote opens in this line and is never closed; close it, or remove it")]
    OpenQuote,
    /// Text follows the quote that closes a cell.
    #[error(
        "a quoted cell begins in this line and has text after its closing quote; write two quotes for one that is part of a cell"
    )]
    TextAfterQuote,
    /// The first line has numbers instead of names.
    #[error("the first line holds numbers where names must be; put a line of column names in front of it")]
    NoHeader,
    /// A column has no name.
    #[error("column {position} has no name; name it, or leave it out of the file")]
    Unnamed {
        /// The position, counted from 1.
        position: usize,
    },
    /// Two columns have the same name.
    #[error("two columns have this name; rename one")]
    Duplicate,
    /// The file does not have a column.
    #[error("there is no such column; the file has {}", list(.columns))]
    NoSuchColumn {
        /// The columns of the file.
        columns: Vec<String>,
    },
    /// A cell in a column of numbers is not a number.
    #[error("{cell:?} is not a number; correct it, or leave the row or the column out")]
    NotANumber {
        /// The cell's text.
        cell: String,
    },
    /// A cell of a column of numbers marks a missing value.
    #[error("{cell:?} marks a missing value; fill it, or leave the row out")]
    Missing {
        /// The cell's text.
        cell: String,
    },
    /// A cell of the target is a word, but most of the others are numbers.
    #[error(
        "{cell:?} is not a number, but most of the column is; correct it, or leave the row out; if the column holds classes, set \
         the task to classification"
    )]
    MixedTarget {
        /// The cell's text.
        cell: String,
    },
    /// A cell is NaN, an infinity, or a number larger than the largest f32.
    #[error("{cell} is not a finite 32-bit number; correct it, or leave the row out")]
    NotFinite {
        /// The cell's text.
        cell: String,
    },
    /// A cell is empty.
    #[error("the cell is empty; fill it, or leave the row out")]
    EmptyCell,
    /// The target of a classification has only one class.
    #[error("every row is of class {class:?}; a classification needs at least two classes")]
    OneClass {
        /// The class.
        class: String,
    },
    /// The model does not have a class of the data.
    #[error("{cell:?} is no class of the model; it has {}", list(.classes))]
    UnknownClass {
        /// The cell's text.
        cell: String,
        /// The classes of the model.
        classes: Vec<String>,
    },
    /// The target is the only column.
    #[error("there is no other column to predict this one from; add one")]
    NoFeature,
    /// Every row has its own class.
    #[error(
        "every row has a class of its own, so none can be held back to test on; choose another target, or a test \
         fraction of 0"
    )]
    SingleRows,
    /// The target of a regression does not vary.
    #[error("every row has the same value, {value}; there is nothing to learn")]
    ConstantTarget {
        /// The value.
        value: f64,
    },
}

/// Formats a number of things.
fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Formats the first names of a list, so that the line stays readable.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_and_name_the_place() {
        let error = Error::Data {
            path: "a/b.csv".into(),
            line: Some(3),
            column: Some("age".into()),
            problem: DataProblem::NotANumber { cell: "old".into() },
        };
        assert_eq!(
            error.to_string(),
            "a/b.csv, line 3, column \"age\": \"old\" is not a number; correct it, or leave the row or the column out"
        );
        let error = Error::Setting { field: "lr", value: "NaN".into(), rule: "a finite number of at least 0" };
        assert_eq!(error.to_string(), "lr = NaN, but it must be a finite number of at least 0");
    }

    #[test]
    fn the_machine_is_told_from_the_user() {
        let io = |kind| Error::write(Path::new("x"), io::Error::from(kind));
        assert!(io(io::ErrorKind::NotFound).is_user_error() && io(io::ErrorKind::PermissionDenied).is_user_error());
        assert!(!io(io::ErrorKind::StorageFull).is_user_error() && !io(io::ErrorKind::OutOfMemory).is_user_error());
        assert!(!Error::from(thalweg_tensor::Error::OutOfMemory { bytes: 1 }).is_user_error());
        assert!(!Error::from(thalweg_tensor::Error::DeviceLost { reason: String::new() }).is_user_error());
        assert!(Error::from(thalweg_tensor::Error::NoAdapter { wanted: "x".into(), found: vec![] }).is_user_error());
        assert!(Error::model(Path::new("x"), "y").is_user_error());
    }

    #[test]
    fn an_error_of_a_module_is_the_same_after_a_forward_pass() {
        let setting = || Error::Setting { field: "lr", value: "NaN".into(), rule: "finite" };
        let through: thalweg_autograd::Error = setting().into();
        assert_eq!(through.to_string(), setting().to_string());
        assert!(matches!(Error::from(through), Error::Setting { field: "lr", .. }));
        let through = thalweg_autograd::Error::from(Error::Tensor(thalweg_tensor::Error::OutOfMemory { bytes: 1 }));
        assert!(matches!(through, thalweg_autograd::Error::Tensor(_)));
        // An error of another crate is unchanged.
        let foreign = Error::from(thalweg_autograd::Error::Module("no such token".into()));
        assert_eq!(foreign.to_string(), "no such token");
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..25).map(|i| i.to_string()).collect();
        assert!(list(&names).ends_with("19 and 5 more"));
    }
}
