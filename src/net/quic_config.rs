//! How QUIC is set up, for peers among each other and for the control connection.
//!
//! Every value that differs from the library's own has its reason here or in `params`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    AckFrequencyConfig, ClientConfig, EndpointConfig, HashedConnectionIdGenerator, IdleTimeout, MtuDiscoveryConfig,
    ServerConfig, TransportConfig, VarInt,
};

use super::clock::Clock;
use super::congestion::{PathSwitch, WindowFactory};
use super::identity::Identity;
use super::tls;
use crate::params::{
    ACK_DELAY, ACK_THRESHOLD, CONTROL_STREAM_WINDOW, MAX_UDP_PAYLOAD, PACKET_THRESHOLD, QUIC_DATAGRAM_BUFFER,
    QUIC_INITIAL_RTT, QUIC_KEEP_ALIVE,
};
use crate::units::PeerId;

/// What a [`super::quic::Quic`] is made of.
#[derive(Clone)]
pub struct QuicConfig {
    identity: Arc<Identity>,
    role: QuicRole,
    idle: Duration,
    seed: Option<[u8; 32]>,
    /// Made once: a thousand peers share it.
    server_crypto: Arc<QuicServerConfig>,
}

impl fmt::Debug for QuicConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicConfig").field("id", &self.identity.id()).field("role", &self.role).finish_non_exhaustive()
    }
}

/// What the connections are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QuicRole {
    /// Media with other peers, and the control connection to the rendezvous.
    Peer,
    /// Control connections of many peers.
    Rendezvous,
}

impl QuicConfig {
    /// Connections of `identity` that die after `idle` of silence.
    pub fn new(identity: Arc<Identity>, role: QuicRole, idle: Duration) -> Self {
        let tls = tls::server_config(&identity).expect("an identity of ours makes a TLS configuration");
        let crypto =
            QuicServerConfig::try_from(tls).expect("TLS 1.3 with the initial cipher suite is all QUIC asks for");
        QuicConfig { identity, role, idle, seed: None, server_crypto: Arc::new(crypto) }
    }

    /// The same connections in every run; for tests in virtual time.
    pub fn with_seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Keys that survive a restart come from the identity: a peer then learns of the restart at its next packet.
    pub(super) fn endpoint(&self) -> Arc<EndpointConfig> {
        let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.identity.derive(b"quic stateless reset"));
        let mut config = EndpointConfig::new(Arc::new(reset_key));
        let [a, b, c, d, e, f, g, h, ..] = self.identity.derive(b"quic connection ids");
        let cid_key = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(cid_key)));
        // A greased first byte would be taken for STUN or for the relay's.
        config.grease_quic_bit(false);
        config.rng_seed(self.seed);
        Arc::new(config)
    }

    /// The configuration of accepted connections.
    pub(super) fn server(&self, clock: Clock) -> Arc<ServerConfig> {
        self.server_with(clock, PathSwitch::default())
    }

    /// The configuration of one accepted connection, with its own switch of paths; `None` where paths are not switched.
    pub(super) fn server_for(&self, clock: Clock, switch: PathSwitch) -> Option<Arc<ServerConfig>> {
        (self.role == QuicRole::Peer).then(|| self.server_with(clock, switch))
    }

    fn server_with(&self, clock: Clock, switch: PathSwitch) -> Arc<ServerConfig> {
        let mut config = ServerConfig::with_crypto(self.server_crypto.clone());
        config.transport_config(Arc::new(self.transport(clock, switch)));
        // Clients of the rendezvous move between networks; peers have one synthetic address for ever.
        config.migration(self.role == QuicRole::Rendezvous);
        Arc::new(config)
    }

    pub(super) fn client(&self, server: PeerId, clock: Clock, switch: PathSwitch) -> ClientConfig {
        let tls = tls::client_config(&self.identity, server).expect("an identity of ours makes a TLS configuration");
        let crypto =
            QuicClientConfig::try_from(tls).expect("TLS 1.3 with the initial cipher suite is all QUIC asks for");
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(self.transport(clock, switch)));
        config
    }

    /// What `send_buffer_space` says when no datagram waits.
    pub(super) fn empty_datagram_space(&self) -> usize {
        // The library accounts for a datagram's own size in each; a little less than the whole is empty.
        QUIC_DATAGRAM_BUFFER - 128
    }

    fn transport(&self, clock: Clock, switch: PathSwitch) -> TransportConfig {
        let mut config = TransportConfig::default();
        let idle = IdleTimeout::try_from(self.idle).expect("an idle time of seconds or minutes fits");
        config
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(QUIC_KEEP_ALIVE))
            .initial_rtt(QUIC_INITIAL_RTT)
            .packet_threshold(PACKET_THRESHOLD)
            .stream_receive_window(VarInt::from_u32(CONTROL_STREAM_WINDOW))
            .max_concurrent_bidi_streams(VarInt::from_u32(0));
        match self.role {
            QuicRole::Peer => {
                let mut acks = AckFrequencyConfig::default();
                acks.ack_eliciting_threshold(VarInt::from_u32(ACK_THRESHOLD))
                    .max_ack_delay(Some(ACK_DELAY))
                    .reordering_threshold(VarInt::from_u32(0));
                let mut mtu = MtuDiscoveryConfig::default();
                mtu.upper_bound(MAX_UDP_PAYLOAD);
                config
                    .max_concurrent_uni_streams(VarInt::from_u32(4))
                    .receive_window(VarInt::from_u32(4 * CONTROL_STREAM_WINDOW))
                    .mtu_discovery_config(Some(mtu))
                    .ack_frequency_config(Some(acks))
                    .datagram_send_buffer_size(QUIC_DATAGRAM_BUFFER)
                    .congestion_controller_factory(Arc::new(WindowFactory { clock, switch }));
            }
            QuicRole::Rendezvous => {
                config
                    .max_concurrent_uni_streams(VarInt::from_u32(1))
                    .receive_window(VarInt::from_u32(CONTROL_STREAM_WINDOW))
                    .mtu_discovery_config(None)
                    .keep_alive_interval(None)
                    .crypto_buffer_size(4096)
                    .datagram_receive_buffer_size(None);
            }
        }
        config
    }
}
