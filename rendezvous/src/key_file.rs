//! The key that an introducer and a relay on another machine share: 32 bytes in base32, in a file for its owner only.

use std::path::Path;

use anyhow::Context;
use meipo::net::secret_file;
use meipo::units::{base32, decode_base32};
use meipo::wire::relay::RelayKey;

/// Reads the key at `path`.
///
/// # Errors
/// When it is missing, open to others, or no key.
pub fn load(path: &Path) -> anyhow::Result<RelayKey> {
    decode(path, &secret_file::read(path)?)
}

/// Reads the key at `path`, or makes one and keeps it there.
///
/// # Errors
/// When it is there but does not serve, or cannot be made.
pub fn load_or_create(path: &Path) -> anyhow::Result<RelayKey> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).context("the system gives no randomness")?;
    let text = secret_file::read_or_create(path, || format!("{}\n", base32().encode(&key)))?;
    decode(path, &text)
}

fn decode(path: &Path, text: &str) -> anyhow::Result<RelayKey> {
    let key = decode_base32(text.trim()).with_context(|| format!("{} holds no key of a relay", path.display()))?;
    Ok(RelayKey::from_bytes(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_key_is_made_once_and_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.key");
        let key = load_or_create(&path).unwrap();
        assert_eq!(load(&path).unwrap(), key);
        assert_eq!(load_or_create(&path).unwrap(), key);
    }

    #[test]
    fn a_file_without_a_key_is_named_and_not_quoted() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"mistake").unwrap();
        let error = format!("{:#}", load(file.path()).unwrap_err());
        assert!(error.contains(&file.path().display().to_string()), "{error}");
        assert!(!error.contains("mistake"), "{error}");
    }

    #[test]
    fn a_missing_key_is_no_new_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("typo.key");
        assert!(load(&path).unwrap_err().to_string().contains("typo.key"));
        assert!(!path.exists());
    }
}
