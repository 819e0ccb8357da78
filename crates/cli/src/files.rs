//! The files of a run: checks before the work that they can be written, and that no two of them are the same.

use std::path::{Path, PathBuf};
use std::{fs, io};

use thalweg::nn;
use thalweg::nn::data::Table;

use crate::error::{Error, Result};
use crate::output::{leave_stdout, print_bytes};

/// The argument that is read; the others are written.
pub(crate) const DATA: &str = "DATA";

/// A file and the argument that names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) argument: &'static str,
    pub(crate) path: &'a Path,
}

impl<'a> Named<'a> {
    pub(crate) fn new(argument: &'static str, path: &'a Path) -> Self {
        Self { argument, path }
    }

    /// Returns whether it is the program's standard input or standard output.
    pub(crate) fn is_pipe(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Returns whether it is standard output.
    fn is_stdout(&self) -> bool {
        self.is_pipe()
            || ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| self.path == Path::new(name))
    }

    /// Reads it as a table; `-` is standard input.
    pub(crate) fn read_table(&self) -> Result<Table> {
        Ok(if self.is_pipe() {
            Table::from_reader("standard input", io::stdin().lock())?
        } else {
            Table::read(self.path)?
        })
    }

    /// Writes the file whole or not at all; `-` is standard output.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        if self.is_stdout() {
            let failed = |source| Error::Output { flag: self.argument, path: self.path.to_path_buf(), source };
            return print_bytes(bytes).map_err(failed);
        }
        self.written(nn::write_whole(self.path, bytes))
    }

    /// Adds the argument to an error of writing.
    pub(crate) fn written(&self, result: nn::Result<()>) -> Result<()> {
        result.or_else(|error| match error {
            // A reader that has closed its pipe needs no more.
            nn::Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            nn::Error::Io { path, source, .. } => Err(Error::Output { flag: self.argument, path, source }),
            other => Err(other.into()),
        })
    }

    /// Returns whether it is a terminal, a pipe or a device.
    fn is_stream(&self) -> bool {
        self.is_stdout() || fs::metadata(self.path).is_ok_and(|found| !found.is_file() && !found.is_dir())
    }

    /// Returns its name in messages.
    pub(crate) fn name(&self) -> String {
        if self.is_pipe() { "standard output".to_string() } else { self.path.display().to_string() }
    }
}

/// Checks that each output can be written now, and is neither an input nor another output. If one is standard output, all
/// messages go to standard error.
pub(crate) fn check_outputs(inputs: &[Named<'_>], outputs: &[Named<'_>]) -> Result<()> {
    let mut taken = inputs.to_vec();
    for output in outputs {
        if let Some(other) = taken.iter().find(|other| is_same(output, other)) {
            return Err(Error::SameFile {
                flag: output.argument,
                path: output.path.to_path_buf(),
                other: other.argument,
            });
        }
        if output.is_stdout() {
            leave_stdout();
        } else {
            output.written(nn::check_writable(output.path))?;
        }
        taken.push(*output);
    }
    Ok(())
}

/// Returns whether two files are the same. Several may write to one device, but two files in one pipe would be mixed.
/// The two pipes called `-` are not the same.
fn is_same(one: &Named<'_>, other: &Named<'_>) -> bool {
    match (one.is_stream(), other.is_stream()) {
        (false, false) => resolve(one.path) == resolve(other.path),
        (true, true) => one.is_stdout() && other.is_stdout() && other.argument != DATA,
        _ => false,
    }
}

/// Returns the path without links; for a file that does not exist yet, with its folder resolved.
fn resolve(path: &Path) -> PathBuf {
    let folder = || match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if !folder.as_os_str().is_empty() => Some(fs::canonicalize(folder).ok()?.join(name)),
        (_, Some(name)) => Some(fs::canonicalize(".").ok()?.join(name)),
        _ => None,
    };
    fs::canonicalize(path).ok().or_else(folder).unwrap_or_else(|| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_by_every_path_that_leads_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (data, new) = (folder.path().join("data.csv"), folder.path().join("new"));
        fs::write(&data, "").unwrap();
        let name = folder.path().file_name().unwrap();
        let detour = folder.path().join("..").join(name);
        let check = |outputs: &[&Path]| {
            let outputs: Vec<_> = outputs.iter().map(|path| Named::new("--out", path)).collect();
            check_outputs(&[Named::new(DATA, &data)], &outputs)
        };
        check(&[&new, &folder.path().join("other")]).unwrap();
        for outputs in [&[data.as_path()][..], &[&detour.join("data.csv")], &[&new, &detour.join("new")]] {
            let error = check(outputs).unwrap_err();
            assert!(matches!(error, Error::SameFile { .. }) && error.exit_status() == 2, "{error}");
        }
        // `-` is read and written, but not by two files.
        let pipe = Path::new("-");
        check_outputs(&[Named::new(DATA, pipe)], &[Named::new("--out", pipe)]).unwrap();
        check(&[pipe, pipe]).unwrap_err();
        #[cfg(unix)]
        {
            check(&[pipe, Path::new("/dev/stdout")]).unwrap_err();
            std::os::unix::fs::symlink(&data, folder.path().join("link")).unwrap();
            check(&[&folder.path().join("link")]).unwrap_err();
            check(&[Path::new("/dev/null"), Path::new("/dev/null")]).unwrap();
        }
    }
}
