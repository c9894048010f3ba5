//! Who this machine is: one Ed25519 key in one file.
//!
//! A path goes in, an [`Identity`] comes out. A key file appears whole or not at all, is readable by its owner only,
//! and is never overwritten: whoever loses it loses every link that names it.

use std::fmt;
use std::path::{Path, PathBuf};

use hkdf::Hkdf;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::Sha256;

use crate::net::secret_file::{self, SecretFileError};
use crate::net::tls::peer_id;
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
        Identity::of(new_key()?)
    }

    /// The identity whose private key is `seed`. Who knows the seed is this identity: for tests that must be the same in
    /// every run, and for keys kept elsewhere.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, IdentityError> {
        let pkcs8 = PrivatePkcs8KeyDer::from([PKCS8_ED25519, &seed].concat());
        let key = KeyPair::try_from(&pkcs8).map_err(|error| IdentityError::Generate(error.to_string()))?;
        Identity::of(key)
    }

    /// Reads the identity kept at `path`, or makes one and keeps it there.
    ///
    /// # Errors
    /// When the file is there but does not serve, or cannot be made. An existing file is never changed.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        let pem = new_key()?.serialize_pem();
        Identity::read(path, &secret_file::read_or_create(path, || pem)?)
    }

    /// Reads the identity kept at `path`.
    ///
    /// # Errors
    /// When there is no such file, others may read it, or it holds no Ed25519 key.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        Identity::read(path, &secret_file::read(path)?)
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

    /// A secret for one use that stays the same as long as this identity does: nothing more needs to be kept.
    pub fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let mut secret = [0; 32];
        Hkdf::<Sha256>::new(Some(DERIVED), &self.key.serialize_der())
            .expand(purpose, &mut secret)
            .expect("HKDF-SHA256 gives up to 255 × 32 bytes");
        secret
    }

    fn read(path: &Path, pem: &str) -> Result<Self, IdentityError> {
        let malformed = |reason: String| IdentityError::Malformed { path: path.to_owned(), reason };
        let key = KeyPair::from_pem(pem).map_err(|error| malformed(error.to_string()))?;
        if !key.is_compatible(&PKCS_ED25519) {
            return Err(malformed("the key in it is no Ed25519 key".to_owned()));
        }
        Identity::of(key)
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
    /// The key file does not serve.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The key file holds no key.
    #[error("the key file {} holds no usable key: {reason}; restore it, or move it away to get a new identity", .path.display())]
    Malformed {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No key or certificate could be made.
    #[error("cannot make a key: {0}")]
    Generate(String),
}

fn new_key() -> Result<KeyPair, IdentityError> {
    KeyPair::generate_for(&PKCS_ED25519).map_err(|error| IdentityError::Generate(error.to_string()))
}

/// Keeps derived secrets apart from every other use of the key.
const DERIVED: &[u8] = b"meipo 1 derived from identity";

/// What stands before the 32 bytes of an Ed25519 private key in PKCS #8 (RFC 8410 §7).
const PKCS8_ED25519: &[u8] = &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

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
    fn a_derived_secret_lasts_as_long_as_its_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let first = Identity::load_or_create(&path).unwrap();
        let second = Identity::load(&path).unwrap();
        assert_eq!(first.derive(b"reset"), second.derive(b"reset"));
        assert_ne!(first.derive(b"reset"), first.derive(b"retry"));
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

    #[test]
    fn a_malformed_key_is_kept_and_named() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
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
    fn debug_output_hides_the_key() {
        let identity = Identity::generate().unwrap();
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.id().short()));
    }

    fn private_file(folder: &Path, text: &str) -> PathBuf {
        let mut file = tempfile::NamedTempFile::new_in(folder).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.keep().unwrap().1
    }

    #[test]
    fn the_same_seed_is_the_same_identity() {
        let ids = [1, 1, 2].map(|seed| Identity::from_seed([seed; 32]).unwrap());
        assert_eq!(ids[0].certificate(), ids[1].certificate());
        assert_ne!(ids[0].id(), ids[2].id());
    }
}
