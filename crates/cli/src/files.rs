//! The files of a run: found out before the work whether they can be written, and that none is another one's.

use std::fs;
use std::path::{Path, PathBuf};

use thalweg::nn;

use crate::error::{Error, Result};

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

    /// Writes the file whole or not at all.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        self.written(nn::write_whole(self.path, bytes))
    }

    /// The result of writing it, with the argument in the error.
    pub(crate) fn written(&self, result: nn::Result<()>) -> Result<()> {
        result.map_err(|error| match error {
            nn::Error::Io { path, source, .. } => Error::Output { flag: self.argument, path, source },
            other => other.into(),
        })
    }

    /// Whether it is a terminal, a pipe or a device.
    pub(crate) fn is_stream(&self) -> bool {
        fs::metadata(self.path).is_ok_and(|found| !found.is_file() && !found.is_dir())
    }
}

/// Checks that each output can be written now, and is neither an input nor another output.
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
        output.written(nn::check_writable(output.path))?;
        taken.push(*output);
    }
    Ok(())
}

/// Several may write to one stream.
fn is_same(one: &Named<'_>, other: &Named<'_>) -> bool {
    !one.is_stream() && resolve(one.path) == resolve(other.path)
}

/// The path without links; of a file that does not exist yet, its folder's.
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
            check_outputs(&[Named::new("DATA", &data)], &outputs)
        };
        check(&[&new, &folder.path().join("other")]).unwrap();
        for outputs in [&[data.as_path()][..], &[&detour.join("data.csv")], &[&new, &detour.join("new")]] {
            let error = check(outputs).unwrap_err();
            assert!(matches!(error, Error::SameFile { .. }) && error.exit_status() == 2, "{error}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&data, folder.path().join("link")).unwrap();
            check(&[&folder.path().join("link")]).unwrap_err();
            check(&[Path::new("/dev/null"), Path::new("/dev/null")]).unwrap();
        }
    }
}
