//! Files that hold a secret: whole or not there, for their owner only, never overwritten.
//!
//! A path goes in, text comes out. Whoever loses such a file loses what depends on it, so a file that does not serve
//! is an error that says what to do, and never a reason to write a new one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::params::MAX_SECRET_FILE_LEN;

/// Reads the file at `path`.
///
/// # Errors
/// When it is missing, unreadable, too long, or others may read it too.
pub fn read(path: &Path) -> Result<String, SecretFileError> {
    let mut file = File::open(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return SecretFileError::Missing(path.to_owned());
        }
        unreadable(path, error)
    })?;
    if !file.metadata().map_err(|error| unreadable(path, error))?.is_file() {
        return Err(SecretFileError::NotAFile(path.to_owned()));
    }
    refuse_open(path, &file)?;
    let mut text = String::new();
    let mut limited = (&mut file).take(MAX_SECRET_FILE_LEN);
    limited.read_to_string(&mut text).map_err(|error| unreadable(path, error))?;
    Ok(text)
}

/// Reads the file at `path`, or makes it with the text that `make` gives.
///
/// # Errors
/// When it is there but does not serve, or cannot be made. An existing file is never changed.
pub fn read_or_create(path: &Path, make: impl FnOnce() -> String) -> Result<String, SecretFileError> {
    match read(path) {
        Err(SecretFileError::Missing(_)) => create(path, make()),
        found => found,
    }
}

/// Makes the file, or reads it if another process was quicker.
fn create(path: &Path, text: String) -> Result<String, SecretFileError> {
    match write(path, &text) {
        Ok(()) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(SecretFileError::Create { path: path.to_owned(), error }),
    }
}

/// Why a file with a secret does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// It is not there.
    #[error("there is no key file {}", .0.display())]
    Missing(PathBuf),
    /// It is a folder or a device.
    #[error("the key file {} is no file; name another", .0.display())]
    NotAFile(PathBuf),
    /// It is there but cannot be read.
    #[error("cannot read the key file {}: {error}; give it to the user this runs as, or name another file", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others may read or write it.
    #[error("the key file {} is open to others (mode {mode:04o}); run: chmod 600 '{}'", .path.display(), .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be made.
    #[error("cannot make the key file {}: {error}; name another place, or make its folder writable", .path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

fn unreadable(path: &Path, error: io::Error) -> SecretFileError {
    SecretFileError::Unreadable { path: path.to_owned(), error }
}

#[cfg(unix)]
fn refuse_open(path: &Path, file: &File) -> Result<(), SecretFileError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(|error| unreadable(path, error))?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(SecretFileError::Open { path: path.to_owned(), mode })
}

#[cfg(not(unix))]
fn refuse_open(_path: &Path, _file: &File) -> Result<(), SecretFileError> {
    Ok(())
}

/// Writes a whole file beside `path`, forces it to disk and only then gives it its name, if that is still free.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_folder(folder)?;
    // tempfile makes files of mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_made_once_and_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert_eq!(read_or_create(&path, || "first".to_owned()).unwrap(), "first");
        assert_eq!(read_or_create(&path, || "second".to_owned()).unwrap(), "first");
    }

    #[test]
    fn reading_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(read(&path), Err(SecretFileError::Missing(_))));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert_eq!(create(&path, "first".to_owned()).unwrap(), "first");
        assert_eq!(create(&path, "second".to_owned()).unwrap(), "first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_in_its_place_does_not_serve() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_or_create(folder.path(), String::new).unwrap_err();
        assert!(matches!(error, SecretFileError::NotAFile(_)), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state").join("meipo").join("key");
        read_or_create(&path, String::new).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_others_may_read_is_refused_with_the_command_that_helps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        read_or_create(&path, String::new).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0644"), "{error}");
        assert!(error.contains(&format!("chmod 600 '{}'", path.display())), "{error}");
    }

    #[cfg(unix)]
    fn mode(path: &Path) -> u32 {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o7777
    }
}
