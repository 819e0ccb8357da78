//! What the program writes: standard output, and files whole or not at all.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

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

/// A file that is to be written: what stands there stays until all of the new content is on the disk.
#[derive(Debug)]
pub(crate) struct OutputFile {
    flag: &'static str,
    path: PathBuf,
    temporary: NamedTempFile,
}

impl OutputFile {
    /// Finds out whether the file can be written, before the work whose result goes there.
    pub(crate) fn create(flag: &'static str, path: &Path) -> Result<Self> {
        let failed = |source| Error::Output { flag, path: path.to_path_buf(), source };
        // Through a link, so that it goes on to be one.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        match fs::metadata(&target) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(failed(io::Error::new(ErrorKind::InvalidInput, "is no regular file")));
            }
            Ok(metadata) if metadata.permissions().readonly() => {
                return Err(failed(ErrorKind::PermissionDenied.into()));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            Ok(_) | Err(_) => {}
        }
        if target.file_name().is_none() {
            return Err(failed(io::Error::new(ErrorKind::InvalidInput, "is no file name")));
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            // As any new file: the user's mask applies.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.prefix(".thalweg-").tempfile_in(folder).map_err(failed)?;
        Ok(Self { flag, path: target, temporary })
    }

    /// Writes the content and puts the file in its place.
    pub(crate) fn finish(mut self, content: &[u8]) -> Result<()> {
        let written = self.temporary.write_all(content).and_then(|()| self.temporary.as_file().sync_all());
        let kept = match written {
            Ok(()) => self.temporary.persist(&self.path).map(|_| ()).map_err(|error| error.error),
            Err(error) => Err(error),
        };
        kept.map_err(|source| Error::Output { flag: self.flag, path: self.path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_when_it_is_finished_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures.json");
        fs::write(&path, "old").unwrap();
        let file = OutputFile::create("--json", &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        file.finish(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        drop(OutputFile::create("--json", &path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_read_only_files_and_missing_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read_only = folder.path().join("read-only");
        fs::write(&read_only, "old").unwrap();
        let mut permissions = fs::metadata(&read_only).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&read_only, permissions).unwrap();
        for path in [folder.path(), &read_only, &folder.path().join("missing/file"), Path::new("")] {
            let error = OutputFile::create("--json", path).unwrap_err();
            assert_eq!(error.exit_status(), 2, "{error}");
        }
    }
}
