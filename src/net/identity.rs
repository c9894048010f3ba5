//! Who this machine is: one Ed25519 key in one file.
//!
//! A path goes in, an [`Identity`] comes out. A key file appears whole or not at all, is readable by its owner only,
//! and is never overwritten: whoever loses it loses every link that names it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::net::tls::peer_id;
use crate::params::MAX_KEY_FILE_LEN;
use crate::units::PeerId;

/// An Ed25519 key and the certificate that presents it.
pub struct Identity {
    key: KeyPair,
    certificate: CertificateDer<'static>,
    id: PeerId,
}

impl Identity {
    /// A new identity that is kept nowhere.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(|error| IdentityError::Generate(error.to_string()))?;
        Identity::of(key)
    }

    /// Reads the identity kept at `path`, or makes one and keeps it there.
    ///
    /// # Errors
    /// When the file is there but does not serve, or cannot be made. An existing file is never changed.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match Identity::load(path) {
            Err(IdentityError::Missing(_)) => Identity::create(path),
            loaded => loaded,
        }
    }

    /// Reads the identity kept at `path`.
    ///
    /// # Errors
    /// When there is no such file, others may read it, or it holds no Ed25519 key.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let mut file = File::open(path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return IdentityError::Missing(path.to_owned());
            }
            unreadable(path, error)
        })?;
        refuse_open_key(path, &file)?;
        let mut pem = String::new();
        let limited = (&mut file).take(MAX_KEY_FILE_LEN);
        io::BufReader::new(limited)
            .read_to_string(&mut pem)
            .map_err(|error| unreadable(path, error))?;
        let malformed = |reason: String| IdentityError::Malformed {
            path: path.to_owned(),
            reason,
        };
        let key = KeyPair::from_pem(&pem).map_err(|error| malformed(error.to_string()))?;
        if !key.is_compatible(&PKCS_ED25519) {
            return Err(malformed("the key in it is no Ed25519 key".to_owned()));
        }
        Identity::of(key)
    }

    /// Who this is.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// The self-signed certificate; the same at every start.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// The private key, for TLS.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    fn of(key: KeyPair) -> Result<Self, IdentityError> {
        let failed = |reason: String| IdentityError::Generate(reason);
        let mut params = CertificateParams::new(Vec::new()).map_err(|error| failed(error.to_string()))?;
        params.distinguished_name = DistinguishedName::new();
        let certificate = params.self_signed(&key).map_err(|error| failed(error.to_string()))?;
        let certificate = certificate.der().clone();
        let id = peer_id(&certificate).map_err(|error| failed(error.to_string()))?;
        Ok(Identity { key, certificate, id })
    }

    fn create(path: &Path) -> Result<Self, IdentityError> {
        let identity = Identity::generate()?;
        match write_key(path, &identity.key.serialize_pem()) {
            Ok(()) => Ok(identity),
            // Another process was quicker: its identity counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Identity::load(path),
            Err(source) => Err(IdentityError::Create {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.id)
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is no key file.
    #[error("there is no key file {}", .0.display())]
    Missing(PathBuf),
    /// The key file is there but cannot be read.
    #[error("cannot read the key file {}: {source}; give it to the user this runs as, or name another file", .path.display())]
    Unreadable {
        /// The key file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read or write the key file.
    #[error("the key file {} is open to others (mode {mode:04o}); run: chmod 600 '{}'", .path.display(), .path.display())]
    Open {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file holds no key.
    #[error("the key file {} holds no usable key: {reason}; restore it, or move it away to get a new identity", .path.display())]
    Malformed {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key file cannot be made.
    #[error("cannot make the key file {}: {source}", .path.display())]
    Create {
        /// The key file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No key or certificate could be made.
    #[error("cannot make a key: {0}")]
    Generate(String),
}

fn unreadable(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

#[cfg(unix)]
fn refuse_open_key(path: &Path, file: &File) -> Result<(), IdentityError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file
        .metadata()
        .map_err(|error| unreadable(path, error))?
        .permissions()
        .mode()
        & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(IdentityError::Open {
        path: path.to_owned(),
        mode,
    })
}

#[cfg(not(unix))]
fn refuse_open_key(_path: &Path, _file: &File) -> Result<(), IdentityError> {
    Ok(())
}

/// Writes a whole key file beside `path`, forces it to disk and only then gives it its name, if that is still free.
fn write_key(path: &Path, pem: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_folder(folder)?;
    // tempfile makes files of mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(pem.as_bytes())?;
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
    fn an_identity_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let first = Identity::load_or_create(&path).unwrap();
        let second = Identity::load_or_create(&path).unwrap();
        assert_eq!(first.id(), second.id());
        assert_eq!(first.certificate(), second.certificate());
    }

    #[test]
    fn two_identities_differ() {
        assert_ne!(Identity::generate().unwrap().id(), Identity::generate().unwrap().id());
    }

    #[test]
    fn a_certificate_names_nobody_and_is_small() {
        let certificate = Identity::generate().unwrap().certificate();
        assert!(certificate.len() < 256, "{} bytes", certificate.len());
    }

    #[cfg(unix)]
    #[test]
    fn a_new_key_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state").join("meipo").join("key.pem");
        Identity::load_or_create(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_others_may_read_is_refused_with_the_command_that_helps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        Identity::load_or_create(&path).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let error = Identity::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0644"), "{error}");
        assert!(error.contains(&format!("chmod 600 '{}'", path.display())), "{error}");
    }

    #[test]
    fn a_malformed_key_is_kept_and_named() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "",
            "no key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let path = private_file(folder.path(), text);
            let error = Identity::load_or_create(&path).unwrap_err();
            assert!(matches!(error, IdentityError::Malformed { .. }), "{error}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let path = private_file(folder.path(), &key.serialize_pem());
        let error = Identity::load(&path).unwrap_err().to_string();
        assert!(error.contains("no Ed25519 key"), "{error}");
    }

    #[test]
    fn a_folder_in_the_place_of_the_key_is_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let error = Identity::load_or_create(folder.path()).unwrap_err();
        assert!(
            matches!(error, IdentityError::Unreadable { .. } | IdentityError::Open { .. }),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let first = Identity::create(&path).unwrap();
        let second = Identity::create(&path).unwrap();
        assert_eq!(first.id(), second.id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn loading_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        assert!(matches!(Identity::load(&path), Err(IdentityError::Missing(_))));
        assert!(!path.exists());
    }

    #[test]
    fn debug_output_hides_the_key() {
        let identity = Identity::generate().unwrap();
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.id().short()));
    }

    fn private_file(folder: &Path, text: &str) -> PathBuf {
        let mut file = tempfile::NamedTempFile::new_in(folder).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.keep().unwrap().1
    }

    #[cfg(unix)]
    fn mode(path: &Path) -> u32 {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o7777
    }
}
