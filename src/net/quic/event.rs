//! What the QUIC machine is told and tells.

use std::net::SocketAddr;

use bytes::Bytes;
use quinn_proto::EcnCodepoint;

use crate::units::{PeerId, Time};
use crate::wire::control::Close;

/// One connection, as this machine numbers them; numbers are not used again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct QuicId(u64);

impl QuicId {
    pub(super) fn new(number: u64) -> Self {
        QuicId(number)
    }

    /// The number itself.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What is done with a stranger's first packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// Begin the handshake.
    Accept,
    /// Have it prove its address first (RFC 9000 §8.1.2).
    Retry,
    /// Say no.
    Refuse,
    /// Say nothing.
    Ignore,
}

/// How often a connection has spoken so that the other side must acknowledge it, and what was acknowledged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pulse {
    /// Frames sent that ask for an acknowledgement.
    pub asked: u64,
    /// When the newest acknowledged packet was sent, of those that took the path in use.
    pub answered: Time,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum QuicEvent {
    /// The handshake is complete: the other side is `peer`.
    Connected {
        /// Which connection.
        id: QuicId,
        /// Who TLS has proven the other side to be.
        peer: PeerId,
        /// Where it is.
        remote: SocketAddr,
    },
    /// The other side takes part in the handshake.
    Answer {
        /// Of which connection.
        id: QuicId,
    },
    /// A whole message came on the control stream.
    Message {
        /// By which connection.
        id: QuicId,
        /// Its body.
        body: Bytes,
    },
    /// A datagram came.
    Datagram {
        /// By which connection.
        id: QuicId,
        /// Its content.
        datagram: Bytes,
    },
    /// The other side comes from another address now.
    Moved {
        /// Which connection.
        id: QuicId,
        /// Where it is.
        remote: SocketAddr,
    },
    /// The connection is over.
    Closed {
        /// Which connection.
        id: QuicId,
        /// What the other side gave as the reason, if it did.
        code: Option<Close>,
        /// For the person.
        reason: String,
    },
}

/// Something to put on the wire; its bytes are in the buffer that was handed in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QuicTransmit {
    /// Where to.
    pub to: SocketAddr,
    /// Length of each datagram but the last, if there are several.
    pub segment: Option<usize>,
    /// Mark for congestion notification.
    pub ecn: Option<EcnCodepoint>,
}
