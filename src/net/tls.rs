//! TLS as every connection here uses it: 1.3 only, both sides named by their keys, nothing resumed.
//!
//! Identities go in, rustls configurations come out, for QUIC and for TLS over TCP. A handshake succeeds only if each
//! side holds the key its certificate presents, and only with the server the client asked for.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
};
use sha2::{Digest, Sha256};

use crate::net::identity::Identity;
use crate::params::{ALPN, MAX_CERTIFICATE_LEN, TUNNEL_ALPN};
use crate::units::PeerId;

/// For a connection to `server` and nobody else.
///
/// # Errors
/// When rustls refuses our own key, which would be a fault of ours.
pub fn client_config(identity: &Identity, server: PeerId) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(KeyVerifier::new(&provider, Some(server)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(vec![identity.certificate()], identity.private_key())?;
    harden_client(&mut config, ALPN);
    Ok(config)
}

/// For connections from anybody who holds the key of the certificate they present.
///
/// # Errors
/// When rustls refuses our own key, which would be a fault of ours.
pub fn server_config(identity: &Identity) -> Result<ServerConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(KeyVerifier::new(&provider, None));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate()], identity.private_key())?;
    harden_server(&mut config, ALPN);
    Ok(config)
}

/// For a tunnel to `server`: the client stays unnamed here, since the QUIC inside names both sides.
///
/// # Errors
/// When rustls knows no TLS 1.3, which would be a fault of ours.
pub fn tunnel_client_config(server: PeerId) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(KeyVerifier::new(&provider, Some(server)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    harden_client(&mut config, TUNNEL_ALPN);
    Ok(config)
}

/// For tunnels, and for people who look at the port with a web browser.
///
/// # Errors
/// When rustls refuses our own key, which would be a fault of ours.
pub fn tunnel_server_config(identity: &Identity) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate()], identity.private_key())?;
    harden_server(&mut config, TUNNEL_ALPN);
    Ok(config)
}

/// Who a certificate presents. Only a finished handshake proves that its sender is the one.
///
/// # Errors
/// When the certificate does not decode.
pub fn peer_id(certificate: &CertificateDer<'_>) -> Result<PeerId, Error> {
    let certificate = webpki::EndEntityCert::try_from(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let key = certificate.subject_public_key_info();
    Ok(PeerId::from_bytes(Sha256::digest(key.as_ref()).into()))
}

/// Who is at the other end of a connection whose handshake is finished, given the certificates it presented.
pub fn presented_id(certificates: &[CertificateDer<'_>]) -> Option<PeerId> {
    match certificates {
        [certificate] => peer_id(certificate).ok(),
        _ => None,
    }
}

/// The name clients give to rustls, which wants one. It is never sent.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from("meipo.invalid").expect("a name as RFC 2606 has it")
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    Arc::new(provider)
}

fn harden_client(config: &mut ClientConfig, alpn: &[u8]) {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.enable_sni = false;
    config.enable_early_data = false;
    config.resumption = Resumption::disabled();
}

fn harden_server(config: &mut ServerConfig, alpn: &[u8]) {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
}

/// Believes a certificate for its key alone: no names, no dates, no issuers.
#[derive(Debug)]
struct KeyVerifier {
    expected: Option<PeerId>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl KeyVerifier {
    fn new(provider: &CryptoProvider, expected: Option<PeerId>) -> Self {
        KeyVerifier { expected, algorithms: provider.signature_verification_algorithms }
    }

    fn check(&self, certificate: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), Error> {
        if !intermediates.is_empty() || certificate.len() > MAX_CERTIFICATE_LEN {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        let id = peer_id(certificate)?;
        if self.expected.is_some_and(|expected| expected != id) {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(())
    }

    /// Whether the sender holds the key: without this a stolen certificate would be as good as a key.
    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signature.scheme != SignatureScheme::ED25519 {
            return Err(Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon));
        }
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(certificate, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for KeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(certificate, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    use rustls::{ClientConnection, ServerConnection};

    #[test]
    fn two_honest_sides_learn_who_the_other_is() {
        let (alice, bob) = (identity(), identity());
        let (client, server) =
            handshake(client_config(&alice, bob.id()).unwrap(), server_config(&bob).unwrap()).unwrap();
        assert_eq!(presented_id(client.peer_certificates().unwrap()), Some(bob.id()));
        assert_eq!(presented_id(server.peer_certificates().unwrap()), Some(alice.id()));
        assert_eq!(client.alpn_protocol(), Some(ALPN));
    }

    #[test]
    fn a_server_with_another_key_is_refused() {
        let (alice, bob, mallory) = (identity(), identity(), identity());
        let error = handshake(client_config(&alice, bob.id()).unwrap(), server_config(&mallory).unwrap()).unwrap_err();
        let expected = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        assert_eq!(error, Failure::Client(expected));
    }

    #[test]
    fn a_stolen_certificate_of_a_server_is_refused() {
        let (alice, bob, mallory) = (identity(), identity(), identity());
        let mut server = server_config(&mallory).unwrap();
        server.cert_resolver = Arc::new(SingleCertAndKey::from(stolen(&bob, &mallory)));
        let error = handshake(client_config(&alice, bob.id()).unwrap(), server).unwrap_err();
        assert_eq!(error, Failure::Client(Error::InvalidCertificate(CertificateError::BadSignature)));
    }

    #[test]
    fn a_stolen_certificate_of_a_client_is_refused() {
        let (alice, bob, mallory) = (identity(), identity(), identity());
        let mut client = client_config(&mallory, bob.id()).unwrap();
        client.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(stolen(&alice, &mallory)));
        let error = handshake(client, server_config(&bob).unwrap()).unwrap_err();
        assert_eq!(error, Failure::Server(Error::InvalidCertificate(CertificateError::BadSignature)));
    }

    #[test]
    fn rustls_itself_refuses_a_key_that_does_not_fit_its_certificate() {
        let (bob, mallory) = (identity(), identity());
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![bob.certificate()], mallory.private_key());
        assert!(config.is_err());
    }

    #[test]
    fn a_client_without_a_certificate_is_refused() {
        let bob = identity();
        let mut client = tunnel_client_config(bob.id()).unwrap();
        client.alpn_protocols = vec![ALPN.to_vec()];
        let error = handshake(client, server_config(&bob).unwrap()).unwrap_err();
        assert_eq!(error, Failure::Server(Error::NoCertificatesPresented));
    }

    #[test]
    fn a_client_with_a_key_of_another_kind_is_refused() {
        let (alice, bob) = (identity(), identity());
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let signer = provider().key_provider.load_private_key(private).unwrap();
        let mut client = client_config(&alice, bob.id()).unwrap();
        let certified = CertifiedKey::new(vec![certificate.der().clone()], signer);
        client.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        assert!(handshake(client, server_config(&bob).unwrap()).is_err());
    }

    #[test]
    fn a_chain_of_certificates_is_refused() {
        let (alice, bob) = (identity(), identity());
        let signer = provider().key_provider.load_private_key(bob.private_key()).unwrap();
        let chain = CertifiedKey::new(vec![bob.certificate(), alice.certificate()], signer);
        let mut server = server_config(&bob).unwrap();
        server.cert_resolver = Arc::new(SingleCertAndKey::from(chain));
        let error = handshake(client_config(&alice, bob.id()).unwrap(), server).unwrap_err();
        assert_eq!(error, Failure::Client(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
    }

    #[test]
    fn another_protocol_on_the_same_port_is_refused() {
        let (alice, bob) = (identity(), identity());
        let mut client = client_config(&alice, bob.id()).unwrap();
        client.alpn_protocols = vec![b"h3".to_vec()];
        let error = handshake(client, server_config(&bob).unwrap()).unwrap_err();
        assert_eq!(error, Failure::Server(Error::NoApplicationProtocol));
    }

    #[test]
    fn a_tunnel_is_opened_to_the_right_server_only() {
        let (bob, mallory) = (identity(), identity());
        assert!(handshake(tunnel_client_config(bob.id()).unwrap(), tunnel_server_config(&bob).unwrap()).is_ok());
        assert!(handshake(tunnel_client_config(bob.id()).unwrap(), tunnel_server_config(&mallory).unwrap()).is_err());
    }

    #[test]
    fn quic_accepts_the_configurations() {
        let (alice, bob) = (identity(), identity());
        let client = client_config(&alice, bob.id()).unwrap();
        assert!(quinn_proto::crypto::rustls::QuicClientConfig::try_from(client).is_ok());
        assert!(quinn_proto::crypto::rustls::QuicServerConfig::try_from(server_config(&bob).unwrap()).is_ok());
    }

    /// Which side refused, and why.
    #[derive(Debug, PartialEq)]
    enum Failure {
        Client(Error),
        Server(Error),
    }

    /// A whole handshake in memory.
    fn handshake(client: ClientConfig, server: ServerConfig) -> Result<(ClientConnection, ServerConnection), Failure> {
        let mut client = ClientConnection::new(Arc::new(client), server_name()).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut flight = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut flight).unwrap();
            }
            let mut flight = &flight[..];
            while !flight.is_empty() {
                server.read_tls(&mut flight).unwrap();
                server.process_new_packets().map_err(Failure::Server)?;
            }
            let mut flight = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut flight).unwrap();
            }
            let mut flight = &flight[..];
            while !flight.is_empty() {
                client.read_tls(&mut flight).unwrap();
                client.process_new_packets().map_err(Failure::Client)?;
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        Ok((client, server))
    }

    /// The certificate of one, the key of another.
    fn stolen(owner: &Identity, thief: &Identity) -> CertifiedKey {
        let key = provider().key_provider.load_private_key(thief.private_key()).unwrap();
        CertifiedKey::new(vec![owner.certificate()], key)
    }

    fn identity() -> Identity {
        Identity::generate().unwrap()
    }
}
