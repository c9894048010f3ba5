//! QUIC without sockets: datagrams and the time go in, messages and media come out, connections in between.
//!
//! Each connection has one control stream in each direction, cut into messages, and unreliable datagrams for media.
//! Addresses are whatever the caller says they are: for peers they are synthetic and never change.

#![expect(clippy::disallowed_types, reason = "QUIC is called with instants")]

mod connection;
mod event;

pub use event::{Admission, Pulse, QuicEvent, QuicId, QuicTransmit};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::{ConnectError, ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, Incoming, VarInt};

use self::connection::Connection;
use super::clock::Clock;
use super::congestion::PathSwitch;
use super::quic_config::QuicConfig;
use crate::params::{MAX_CONTROL_BACKLOG, QUIC_DATAGRAM_BATCH};
use crate::units::{PeerId, Time};
use crate::wire::codec::{self, MessageReader};
use crate::wire::control::Close;

/// All connections of one program.
#[derive(Debug)]
pub struct Quic {
    config: QuicConfig,
    clock: Clock,
    endpoint: Endpoint,
    connections: BTreeMap<QuicId, Connection>,
    by_handle: BTreeMap<usize, QuicId>,
    next_id: u64,
    /// Connections that may have something to send or to say.
    dirty: BTreeSet<QuicId>,
    timers: BTreeSet<(Instant, QuicId)>,
    responses: VecDeque<(quinn_proto::Transmit, Vec<u8>)>,
    events: VecDeque<QuicEvent>,
    handshaking: usize,
}

impl Quic {
    /// Without connections yet.
    pub fn new(config: QuicConfig, clock: Clock) -> Self {
        let endpoint = Endpoint::new(config.endpoint(), Some(config.server(clock)), true, None);
        Quic {
            config,
            clock,
            endpoint,
            connections: BTreeMap::new(),
            by_handle: BTreeMap::new(),
            next_id: 0,
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            responses: VecDeque::new(),
            events: VecDeque::new(),
            handshaking: 0,
        }
    }

    /// Opens a connection to `peer` at `remote`.
    ///
    /// # Errors
    /// When the address cannot be one.
    pub fn connect(&mut self, remote: SocketAddr, peer: PeerId, now: Time) -> Result<QuicId, ConnectError> {
        let switch = PathSwitch::default();
        let config = self.config.client(peer, self.clock, switch.clone());
        let now = self.clock.instant(now);
        let (handle, inner) = self.endpoint.connect(now, config, remote, "meipo.invalid")?;
        Ok(self.insert(handle, inner, switch, remote))
    }

    /// Takes a datagram. `admit` decides about a stranger's first packet; it is told where the stranger is, whether that
    /// is proven, and how many handshakes are under way.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        ecn: Option<EcnCodepoint>,
        data: BytesMut,
        now: Time,
        admit: impl FnOnce(SocketAddr, bool, usize) -> Admission,
    ) {
        let mut buffer = Vec::new();
        let instant = self.clock.instant(now);
        match self.endpoint.handle(instant, from, None, ecn, data, &mut buffer) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(id) = self.by_handle.get(&handle.0).copied()
                    && let Some(connection) = self.connections.get_mut(&id)
                {
                    if !connection.is_connected && !connection.is_over {
                        self.events.push_back(QuicEvent::Answer { id });
                    }
                    connection.inner.handle_event(event);
                    self.settle(id, now);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let admission = admit(from, incoming.remote_address_validated(), self.handshaking);
                self.admit(incoming, admission, now);
            }
            Some(DatagramEvent::Response(transmit)) => self.responses.push_back((transmit, buffer)),
            None => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        let instant = self.clock.instant(now);
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= instant) {
            self.timers.remove(&(at, id));
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.timer = None;
                connection.inner.handle_timeout(instant);
                self.settle(id, now);
            }
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let (at, _) = self.timers.first()?;
        let time = self.clock.time(*at);
        // An instant between two microseconds is due at the later one.
        Some(if self.clock.instant(time) < *at { time + Duration::from_micros(1) } else { time })
    }

    /// Writes the next transmission into `buffer`, at most `max_segments` datagrams of one size for one destination.
    pub fn poll_transmit(&mut self, buffer: &mut Vec<u8>, max_segments: usize, now: Time) -> Option<QuicTransmit> {
        buffer.clear();
        if let Some((transmit, bytes)) = self.responses.pop_front() {
            buffer.extend_from_slice(bytes.get(..transmit.size).unwrap_or(&bytes));
            return Some(of_proto(&transmit));
        }
        let instant = self.clock.instant(now);
        while let Some(id) = self.dirty.first().copied() {
            let Some(connection) = self.connections.get_mut(&id) else {
                self.dirty.remove(&id);
                continue;
            };
            if let Some(transmit) = connection.inner.poll_transmit(instant, max_segments, buffer) {
                return Some(of_proto(&transmit));
            }
            self.dirty.remove(&id);
            self.settle_quietly(id, now);
        }
        None
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<QuicEvent> {
        self.events.pop_front()
    }

    /// Queues a message for the control stream. A peer that does not read is cut off.
    pub fn tell(&mut self, id: QuicId, message: Bytes, now: Time) {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.is_over) else { return };
        connection.unsent.push_back(message);
        if connection.unsent.iter().map(Bytes::len).sum::<usize>() > MAX_CONTROL_BACKLOG {
            self.close(id, Close::Protocol, "control messages are not read", now);
            return;
        }
        self.settle(id, now);
    }

    /// How many datagrams the connection takes now; what waits inside QUIC already counts.
    pub fn datagram_room(&mut self, id: QuicId) -> usize {
        let Some(connection) = self.connections.get_mut(&id) else { return 0 };
        let is_ready = connection.is_connected && !connection.is_over;
        let is_empty = connection.inner.datagrams().send_buffer_space() >= self.config.empty_datagram_space();
        if is_ready && is_empty { QUIC_DATAGRAM_BATCH } else { 0 }
    }

    /// Queues a datagram, which may be lost.
    pub fn send_datagram(&mut self, id: QuicId, datagram: Bytes) {
        if let Some(connection) = self.connections.get_mut(&id) {
            let len = datagram.len();
            if let Err(error) = connection.inner.datagrams().send(datagram, false) {
                tracing::trace!(len, %error, "datagram dropped");
            }
            self.dirty.insert(id);
        }
    }

    /// Has the other side acknowledge something now.
    pub fn ping(&mut self, id: QuicId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.inner.ping();
            self.dirty.insert(id);
        }
    }

    /// Packets to this peer take another path from now on.
    pub fn switch_path(&mut self, id: QuicId, now: Time) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.switch.set(now);
            // The acknowledgement of a ping tells what was lost on the old path without waiting for a timer of its pace.
            connection.inner.ping();
            self.dirty.insert(id);
        }
    }

    /// So many bytes may be on their way, whatever congestion control makes of their fate.
    pub fn set_window(&mut self, id: QuicId, bytes: u64) {
        if let Some(connection) = self.connections.get(&id) {
            connection.switch.set_window(bytes);
        }
    }

    /// Closes a connection; no event follows.
    pub fn close(&mut self, id: QuicId, code: Close, reason: &str, now: Time) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.is_over = true;
        let reason = Bytes::copy_from_slice(reason.as_bytes());
        connection.inner.close(self.clock.instant(now), VarInt::from_u32(code as u32), reason);
        self.settle(id, now);
    }

    /// What a connection has asked of the other side, and what it was answered.
    pub fn pulse(&self, id: QuicId) -> Pulse {
        let Some(connection) = self.connections.get(&id) else { return Pulse::default() };
        let sent = connection.inner.stats().frame_tx;
        let asked = sent.datagram + sent.stream + sent.crypto + sent.ping + u64::from(sent.handshake_done);
        Pulse { asked, answered: connection.switch.acknowledged() }
    }

    /// Round-trip time of a connection.
    pub fn rtt(&self, id: QuicId) -> Duration {
        self.connections.get(&id).map(|connection| connection.inner.rtt()).unwrap_or_default()
    }

    /// Connections there are, those being closed included.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Handshakes under way.
    pub fn handshaking(&self) -> usize {
        self.handshaking
    }

    fn admit(&mut self, incoming: Incoming, admission: Admission, now: Time) {
        let mut buffer = Vec::new();
        let transmit = match admission {
            Admission::Accept => return self.accept(incoming, now),
            Admission::Retry if incoming.may_retry() => self.endpoint.retry(incoming, &mut buffer).ok(),
            Admission::Refuse | Admission::Retry => Some(self.endpoint.refuse(incoming, &mut buffer)),
            Admission::Ignore => {
                self.endpoint.ignore(incoming);
                None
            }
        };
        self.responses.extend(transmit.map(|transmit| (transmit, buffer)));
    }

    fn accept(&mut self, incoming: Incoming, now: Time) {
        let mut buffer = Vec::new();
        let remote = incoming.remote_address();
        let switch = PathSwitch::default();
        let config = self.config.server_for(self.clock, switch.clone());
        match self.endpoint.accept(incoming, self.clock.instant(now), &mut buffer, config) {
            Ok((handle, inner)) => {
                let id = self.insert(handle, inner, switch, remote);
                self.settle(id, now);
            }
            Err(error) => {
                tracing::debug!(error = %error.cause, "handshake refused");
                self.responses.extend(error.response.map(|transmit| (transmit, buffer)));
            }
        }
    }

    fn insert(
        &mut self,
        handle: ConnectionHandle,
        inner: quinn_proto::Connection,
        switch: PathSwitch,
        remote: SocketAddr,
    ) -> QuicId {
        let id = QuicId::new(self.next_id);
        self.next_id += 1;
        self.handshaking += 1;
        let connection = Connection {
            handle,
            inner,
            timer: None,
            switch,
            remote,
            is_connected: false,
            is_over: false,
            outgoing: None,
            unsent: VecDeque::from([codec::preface()]),
            incoming: None,
            reader: MessageReader::default(),
        };
        self.connections.insert(id, connection);
        self.by_handle.insert(handle.0, id);
        self.dirty.insert(id);
        id
    }

    /// Carries a connection's news to whom they concern, after anything was done to it.
    fn settle(&mut self, id: QuicId, now: Time) {
        self.dirty.insert(id);
        self.settle_quietly(id, now);
    }

    fn settle_quietly(&mut self, id: QuicId, now: Time) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        while let Some(event) = connection.inner.poll() {
            let was_handshaking = !connection.is_connected && !connection.is_over;
            connection.handle_event(id, event, &mut self.events);
            if was_handshaking && (connection.is_connected || connection.is_over) {
                self.handshaking = self.handshaking.saturating_sub(1);
            }
        }
        connection.write();
        if let Err(error) = connection.read(id, &mut self.events) {
            connection.is_over = true;
            let reason = error.to_string();
            let code = VarInt::from_u32(Close::Protocol as u32);
            connection.inner.close(self.clock.instant(now), code, reason.clone().into());
            self.events.push_back(QuicEvent::Closed { id, code: Some(Close::Protocol), reason });
            self.dirty.insert(id);
        }
        connection.note_move(id, &mut self.events);
        self.exchange_endpoint_events(id);
        self.rearm(id);
    }

    fn exchange_endpoint_events(&mut self, id: QuicId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut is_drained = false;
        while let Some(event) = connection.inner.poll_endpoint_events() {
            is_drained |= event.is_drained();
            if let Some(event) = self.endpoint.handle_event(connection.handle, event) {
                connection.inner.handle_event(event);
            }
        }
        if is_drained {
            let (handle, timer) = (connection.handle.0, connection.timer);
            if !connection.is_connected && !connection.is_over {
                self.handshaking = self.handshaking.saturating_sub(1);
            }
            if let Some(at) = timer {
                self.timers.remove(&(at, id));
            }
            self.connections.remove(&id);
            self.by_handle.remove(&handle);
            self.dirty.remove(&id);
        }
    }

    fn rearm(&mut self, id: QuicId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let next = connection.inner.poll_timeout();
        if next != connection.timer {
            if let Some(at) = connection.timer {
                self.timers.remove(&(at, id));
            }
            self.timers.extend(next.map(|at| (at, id)));
            connection.timer = next;
        }
    }
}

fn of_proto(transmit: &quinn_proto::Transmit) -> QuicTransmit {
    QuicTransmit { to: transmit.destination, segment: transmit.segment_size, ecn: transmit.ecn }
}
