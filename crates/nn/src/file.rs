//! Files that are written whole or not at all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::is_about_path;
use crate::{Error, Result};

/// Writes a file whole or not at all: after any failure an existing file is unchanged.
///
/// The bytes go to a temporary file in the same folder, are flushed to the disk, and get the name last. A symbolic link
/// to a file is followed; something that is no regular file, such as `/dev/stdout`, is written to directly.
///
/// A process that is killed leaves its temporary file, `.thalweg-….tmp`. The next process that writes to the folder
/// removes it: a file in use is locked, and the lock ends with the process.
///
/// # Errors
/// [`Error::Io`] with the path, if the folder does not exist or cannot be written, the file is write-protected or a
/// folder, or the disk is full.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("metrics.json");
/// thalweg_nn::write_whole(&path, b"{}")?;
/// assert_eq!(std::fs::read(&path)?, b"{}");
/// # Ok(())
/// # }
/// ```
pub fn write_whole(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let write = || match Target::of(path)? {
        Target::Stream => File::options().write(true).open(path)?.write_all(bytes),
        Target::Regular { path, folder } => {
            let mut file = temporary(&folder)?;
            // Not through the temporary file's own writer, whose errors name its path.
            file.as_file_mut().write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            sync_folder(&folder);
            Ok(())
        }
    };
    write().map_err(|source| Error::write(path, source))
}

/// Checks that [`write_whole`] could write this file now, so that hours of work do not end in an error. Changes
/// nothing.
///
/// # Errors
/// Same as [`write_whole`], except for errors that only writing can show.
pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let check = || match Target::of(path)? {
        // Opening and closing a pipe would end it for its reader.
        Target::Stream => Ok(()),
        Target::Regular { folder, .. } => temporary(&folder)?.close(),
    };
    check().map_err(|source| Error::write(path, source))
}

/// The target of a path.
enum Target {
    /// A regular file, which may not exist yet.
    Regular { path: PathBuf, folder: PathBuf },
    /// A terminal, a pipe, a device.
    Stream,
}

impl Target {
    fn of(path: &Path) -> io::Result<Self> {
        let path = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => return Ok(Self::Stream),
            Ok(found) if found.permissions().readonly() => return Err(io::ErrorKind::PermissionDenied.into()),
            Ok(_) => fs::canonicalize(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_path_buf(),
            Err(error) => return Err(error),
        };
        if path.file_name().is_none() {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        if !fs::metadata(&folder)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self::Regular { path, folder })
    }
}

/// The name of a temporary file, around random characters.
const TEMPORARY: (&str, usize, &str) = (".thalweg-", 12, ".tmp");

/// Creates a temporary file with the permissions of a new file, and not only the owner's. It is locked while it is
/// open.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    remove_abandoned(folder);
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY.0).rand_bytes(TEMPORARY.1).suffix(TEMPORARY.2);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    loop {
        // Its error names the temporary file, which does not help the user.
        let file = builder
            .tempfile_in(folder)
            .map_err(|error| if is_about_path(error.kind()) { error.kind().into() } else { error })?;
        // Another process may have removed the file before it was locked. Without locks nobody removes any.
        if file.as_file().lock().is_err() || file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes the temporary files of processes that have ended, which nobody locks.
fn remove_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_temporary(&entry.file_name())) {
        let path = entry.path();
        // It stays locked until it is gone.
        if let Ok(file) = File::options().write(true).open(&path)
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_temporary(name: &OsStr) -> bool {
    let drawn = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY.0)?.strip_suffix(TEMPORARY.2));
    drawn.is_some_and(|drawn| drawn.len() == TEMPORARY.1 && drawn.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Makes the new name survive a power failure. Some file systems cannot; the file is whole either way.
#[cfg(unix)]
fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_and_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        check_writable(&path).unwrap();
        assert!(!path.exists());
        write_whole(&path, b"one").unwrap();
        check_writable(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write_whole(&path, b"two!").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two!");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_process_that_was_killed_has_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let kept = [".thalweg-backup", ".thalweg-notes.tmp", ".thalweg-abcdefghijk-.tmp", "thalweg-abcdefghijkl.tmp"];
        for name in kept.iter().chain(&[".thalweg-abcdefghijkl.tmp", ".thalweg-ABC123ghijkl.tmp"]) {
            fs::write(at(name), b"half of a").unwrap();
        }
        // This one is in use.
        let other = temporary(folder.path()).unwrap();
        write_whole(at("a.bin"), b"all").unwrap();
        let mut found: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let mut expected: Vec<_> = kept.iter().chain(&["a.bin"]).map(|name| (*name).into()).collect();
        expected.push(other.path().file_name().unwrap().to_os_string());
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_cannot_be_written_is_named_and_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"old").unwrap();
        for path in [folder.path().join("missing/a.bin"), file.join("a.bin"), folder.path().to_path_buf(), "".into()] {
            for result in [write_whole(&path, b"new"), check_writable(&path)] {
                let error = result.unwrap_err();
                assert!(error.is_user_error(), "{error}");
                assert!(error.to_string().starts_with(&format!("cannot write {}: ", path.display())), "{error}");
            }
        }
        let mut permissions = fs::metadata(&file).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&file, permissions).unwrap();
        assert!(write_whole(&file, b"new").unwrap_err().is_user_error());
        assert_eq!(fs::read(&file).unwrap(), b"old");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_new_files_have_the_usual_rights() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (file, link, usual) = (folder.path().join("file"), folder.path().join("link"), folder.path().join("usual"));
        fs::write(&usual, b"").unwrap();
        write_whole(&file, b"old").unwrap();
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode(),
            fs::metadata(&usual).unwrap().permissions().mode()
        );
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_whole(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_the_machines_failure() {
        let error = write_whole("/dev/full", b"new").unwrap_err();
        assert!(!error.is_user_error(), "{error}");
        write_whole("/dev/null", b"new").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
