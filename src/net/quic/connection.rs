//! One QUIC connection: its control streams cut into messages, its datagrams, its end.

#![expect(clippy::disallowed_types, reason = "QUIC is called with instants")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{ConnectionError, ConnectionHandle, Dir, Event, StreamEvent, StreamId, TransportErrorCode};

use super::event::{QuicEvent, QuicId};
use crate::net::congestion::PathSwitch;
use crate::net::tls;
use crate::units::PeerId;
use crate::wire::codec::{self, MessageReader};
use crate::wire::control::Close;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) handle: ConnectionHandle,
    pub(super) inner: quinn_proto::Connection,
    pub(super) timer: Option<Instant>,
    pub(super) switch: PathSwitch,
    pub(super) remote: SocketAddr,
    pub(super) is_connected: bool,
    pub(super) is_over: bool,
    pub(super) outgoing: Option<StreamId>,
    pub(super) unsent: VecDeque<Bytes>,
    pub(super) incoming: Option<StreamId>,
    pub(super) reader: MessageReader,
}

impl Connection {
    pub(super) fn handle_event(&mut self, id: QuicId, event: Event, events: &mut VecDeque<QuicEvent>) {
        match event {
            Event::Connected => {
                self.is_connected = true;
                match self.peer() {
                    Some(peer) => events.push_back(QuicEvent::Connected { id, peer, remote: self.remote }),
                    None => tracing::warn!("a connection without an identity; TLS should not have let it pass"),
                }
            }
            Event::ConnectionLost { reason } => {
                if !std::mem::replace(&mut self.is_over, true) {
                    let (code, reason) = explain(&reason);
                    events.push_back(QuicEvent::Closed { id, code, reason });
                }
            }
            Event::DatagramReceived => {
                while let Some(datagram) = self.inner.datagrams().recv() {
                    events.push_back(QuicEvent::Datagram { id, datagram });
                }
            }
            Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
                self.incoming = self.incoming.or_else(|| self.inner.streams().accept(Dir::Uni));
            }
            Event::Stream(_) | Event::HandshakeDataReady | Event::DatagramsUnblocked => {}
        }
    }

    /// Who TLS has proven the other side to be.
    pub(super) fn peer(&self) -> Option<PeerId> {
        let identity = self.inner.crypto_session().peer_identity()?;
        tls::presented_id(identity.downcast_ref::<Vec<rustls::pki_types::CertificateDer<'static>>>()?)
    }

    /// Writes what the control stream takes.
    pub(super) fn write(&mut self) {
        if !self.is_connected || self.is_over || self.unsent.is_empty() {
            return;
        }
        self.outgoing = self.outgoing.or_else(|| self.inner.streams().open(Dir::Uni));
        let Some(stream) = self.outgoing else { return };
        while let Some(message) = self.unsent.front_mut() {
            match self.inner.send_stream(stream).write(message) {
                Ok(written) if written < message.len() => {
                    let _ = message.split_to(written);
                }
                Ok(_) => {
                    self.unsent.pop_front();
                }
                Err(_) => return,
            }
        }
    }

    /// Reads whole messages.
    pub(super) fn read(&mut self, id: QuicId, events: &mut VecDeque<QuicEvent>) -> Result<(), codec::CodecError> {
        let Some(stream) = self.incoming.filter(|_| !self.is_over) else { return Ok(()) };
        let mut receiver = self.inner.recv_stream(stream);
        let Ok(mut chunks) = receiver.read(true) else { return Ok(()) };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            self.reader.push(&chunk.bytes);
        }
        let _ = chunks.finalize();
        while let Some(body) = self.reader.next_body()? {
            events.push_back(QuicEvent::Message { id, body });
        }
        Ok(())
    }

    pub(super) fn note_move(&mut self, id: QuicId, events: &mut VecDeque<QuicEvent>) {
        let remote = self.inner.remote_address();
        if remote != self.remote {
            self.remote = remote;
            events.push_back(QuicEvent::Moved { id, remote });
        }
    }
}

/// The alert of a side that does not know the other's certificate (RFC 8446 §6.2).
const ACCESS_DENIED: u8 = 49;

/// Why a connection ended, for the machine and for the person.
fn explain(error: &ConnectionError) -> (Option<Close>, String) {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            let code = Close::of_code(close.error_code.into_inner());
            (code, if reason.is_empty() { "closed by the other side".to_owned() } else { reason })
        }
        ConnectionError::TimedOut => (None, "no answer".to_owned()),
        ConnectionError::Reset => (None, "the other side has started anew".to_owned()),
        ConnectionError::ConnectionClosed(close) => (None, format!("refused by the other side: {close}")),
        ConnectionError::TransportError(error) if error.code == TransportErrorCode::crypto(ACCESS_DENIED) => {
            (None, "it has another identity than expected".to_owned())
        }
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => (None, error.to_string()),
    }
}
