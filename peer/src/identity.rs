//! Which key this program goes by: the user's own, unless another program on this machine uses it right now.
//!
//! The rendezvous takes a second connection of the same identity for the first one come back, so two programs with one
//! key would throw each other out. Whoever comes second goes by a key of its own, made for the occasion.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use directories::ProjectDirs;
use meipo::net::identity::Identity;

use crate::args::Options;

/// Who we are for as long as this value lives.
#[derive(Debug)]
pub struct Claim {
    /// The key.
    pub identity: Arc<Identity>,
    /// Holds others off.
    _lock: Option<File>,
}

impl Claim {
    /// The identity that `options` ask for. `say` tells the person if it had to be another one.
    ///
    /// # Errors
    /// When the key file does not serve, or one that was asked for by name is in use.
    pub fn new(options: &Options, say: impl FnOnce(&str)) -> anyhow::Result<Self> {
        let Some(path) = options.identity.clone().or_else(default_file) else {
            say("this user has no home directory: going by a temporary identity");
            return Claim::temporary();
        };
        let identity = Identity::load_or_create(&path)?;
        match (lock(&path)?, &options.identity) {
            (Some(lock), _) => Ok(Claim { identity: Arc::new(identity), _lock: Some(lock) }),
            (None, Some(path)) => {
                bail!(
                    "the identity {} is in use by another peer on this machine; give another --identity",
                    path.display()
                )
            }
            (None, None) => {
                say("your identity is in use by another peer on this machine: going by a temporary one");
                Claim::temporary()
            }
        }
    }

    /// An identity for this one time.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn temporary() -> anyhow::Result<Self> {
        Ok(Claim { identity: Arc::new(Identity::generate()?), _lock: None })
    }
}

/// The key file `options` name, or the user's own.
///
/// # Errors
/// When the user has no home directory.
pub fn file(options: &Options) -> anyhow::Result<PathBuf> {
    let path = options.identity.clone().or_else(default_file);
    path.context("this user has no home directory; give --identity FILE")
}

fn default_file() -> Option<PathBuf> {
    let folders = ProjectDirs::from("", "", "meipo")?;
    let folder = folders.state_dir().unwrap_or(folders.data_local_dir());
    Some(folder.join("identity.pem"))
}

/// Locks the key against other programs; `None` if one of them has it. The lock is a file of its own, so that the key
/// can still be read.
fn lock(key: &Path) -> anyhow::Result<Option<File>> {
    let mut name = key.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot open the lock {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            tracing::debug!(%error, "this file system has no locks");
            Ok(Some(file))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_serves_again_once_it_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let first = Claim::new(&named(folder.path()), |_| panic!("it is free")).unwrap();
        let id = first.identity.id();
        drop(first);
        assert_eq!(Claim::new(&named(folder.path()), |_| panic!("it is free")).unwrap().identity.id(), id);
    }

    #[test]
    fn a_key_asked_for_by_name_is_not_used_twice() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Claim::new(&named(folder.path()), |_| {}).unwrap();
        let error = Claim::new(&named(folder.path()), |_| {}).unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("--identity"), "{error}");
    }

    fn named(folder: &Path) -> Options {
        Options { identity: Some(folder.join("key.pem")), ..Options::default() }
    }
}
