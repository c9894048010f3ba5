//! One peer with its QUIC: datagrams and the time go in, datagrams and events come out. No sockets yet, no tasks.
//!
//! ```text
//!            first byte                          synthetic address
//! datagram ─┬─ STUN ──→ node                ┌──→ route of the peer ──┬─ direct
//!           ├─ relay ─→ session ─┐          │                        ├─ relay header + relay's address
//!           └─ QUIC ──→ source ──┴→ QUIC ───┘                        └─ the rendezvous, by UDP or tunnel
//! ```
//! Everything that arrives is attributed before QUIC sees it; what belongs to nobody is dropped and counted.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use quinn_proto::EcnCodepoint;

use super::clock::Clock;
use super::identity::Identity;
use super::quic::{Admission, Pulse, Quic, QuicEvent, QuicId};
use super::quic_config::{QuicConfig, QuicRole};
use crate::node::{Action, Event, Node, NodeConfig, Party, Transmit};
use crate::params::{PEER_HANDSHAKES, QUIC_IDLE};
use crate::path::candidate::canonical;
use crate::path::synthetic::Synthetic;
use crate::path::uplink::{Uplink, UplinkStep, Via};
use crate::path::{Route, SocketIndex};
use crate::units::{PeerId, Time};
use crate::wire::control::Close;
use crate::wire::control::RelayAddress;
use crate::wire::relay::{HEADER_LEN, Header, Kind};
use crate::wire::stun::{self, ChangeRequest, TransactionId};

/// Where a datagram comes from or goes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// An address, through one of our UDP sockets.
    Udp(SocketIndex, SocketAddr),
    /// The rendezvous, through the tunnel.
    Tunnel,
}

/// A datagram, or several of one size, to be sent; the bytes are in the buffer that was handed in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outgoing {
    /// Where to.
    pub to: Place,
    /// Length of each datagram but the last, if there are several.
    pub segment: Option<usize>,
    /// Mark for congestion notification.
    pub ecn: Option<EcnCodepoint>,
}

/// What the machine asks of whoever has sockets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// Open this many further UDP sockets for a peer's NAT, then call `handle_sockets_open`.
    OpenSockets(PeerId, u16),
    /// Open a tunnel to the rendezvous, then call `handle_tunnel`.
    OpenTunnel,
    /// Close the tunnel.
    CloseTunnel,
}

/// What a peer machine is made of.
#[derive(Debug)]
pub struct PeerMachineConfig {
    /// Our key.
    pub identity: Arc<Identity>,
    /// Who we are in which room.
    pub node: NodeConfig,
    /// Where the rendezvous is.
    pub rendezvous: SocketAddr,
    /// Who the rendezvous is.
    pub rendezvous_id: PeerId,
    /// Whether a tunnel may be used where UDP does not pass.
    pub may_tunnel: bool,
}

/// One peer with its connections.
#[derive(Debug)]
pub struct PeerMachine {
    node: Node,
    quic: Quic,
    uplink: Uplink,
    policy: crate::path::Policy,
    rendezvous: SocketAddr,
    rendezvous_id: PeerId,
    control: Option<QuicId>,
    peers: BTreeMap<PeerId, Link>,
    numbers: BTreeMap<u64, PeerId>,
    ids: BTreeMap<QuicId, Party>,
    next_number: u64,
    requests: VecDeque<Request>,
    dropped: u64,
}

/// The QUIC side of a peer.
#[derive(Debug)]
struct Link {
    number: u64,
    connection: Option<QuicId>,
    /// How far it was when last looked at.
    pulse: Pulse,
}

impl PeerMachine {
    /// A machine that has not joined yet.
    pub fn new(config: PeerMachineConfig, clock: Clock) -> Self {
        let quic = QuicConfig::new(config.identity, QuicRole::Peer, QUIC_IDLE);
        Self::with_quic(config.node, config.rendezvous, config.rendezvous_id, config.may_tunnel, quic, clock)
    }

    /// The same with a QUIC configuration of its own; for tests in virtual time.
    pub fn with_quic(
        node: NodeConfig,
        rendezvous: SocketAddr,
        rendezvous_id: PeerId,
        may_tunnel: bool,
        quic: QuicConfig,
        clock: Clock,
    ) -> Self {
        let rendezvous = canonical(rendezvous);
        PeerMachine {
            policy: node.policy,
            node: Node::new(node, rendezvous),
            quic: Quic::new(quic, clock),
            uplink: Uplink::new(may_tunnel),
            rendezvous,
            rendezvous_id,
            control: None,
            peers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_number: 1,
            requests: VecDeque::new(),
            dropped: 0,
        }
    }

    /// What the person publishes, wants and asks goes here; call [`Self::settle`] afterwards.
    pub fn node(&mut self) -> &mut Node {
        &mut self.node
    }

    /// Enters the room.
    pub fn join(&mut self, now: Time) {
        self.node.join(now);
        self.settle(now);
    }

    /// Takes one datagram.
    pub fn handle_datagram(&mut self, from: Place, ecn: Option<EcnCodepoint>, data: BytesMut, now: Time) {
        let from = match from {
            Place::Udp(socket, address) => Place::Udp(socket, canonical(address)),
            Place::Tunnel => Place::Tunnel,
        };
        let is_rendezvous = self.is_rendezvous(from);
        if is_rendezvous {
            let via = if from == Place::Tunnel { Via::Tunnel } else { Via::Udp };
            self.node.handle_rendezvous_received(now);
            let step = self.uplink.handle_received(via);
            self.take_step(step, now);
        }
        match data.first() {
            Some(0..=3) if stun::is_stun(&data) => self.handle_direct_stun(from, &data, now),
            Some(0x10..=0x13) => self.handle_relay(from, ecn, data, now),
            Some(0x40..=0x7f | 0xc0..=0xff) if is_rendezvous => {
                self.handle_quic(Synthetic::Rendezvous.address(), ecn, data, now);
            }
            Some(0x40..=0x7f | 0xc0..=0xff) => match from {
                Place::Udp(socket, remote) => {
                    self.handle_peer_quic(Route::Direct { socket, remote }, ecn, data, now);
                }
                Place::Tunnel => self.dropped += 1,
            },
            _ => self.dropped += 1,
        }
        self.settle(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(step) = self.uplink.handle_timeout(now) {
            self.take_step(Some(step), now);
        }
        self.quic.handle_timeout(now);
        self.node.handle_timeout(now);
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.quic.poll_timeout(), self.node.poll_timeout(), self.uplink.poll_timeout()].into_iter().flatten().min()
    }

    /// Writes the next datagrams to send into `buffer`.
    pub fn poll_transmit(&mut self, buffer: &mut Vec<u8>, max_segments: usize, now: Time) -> Option<Outgoing> {
        loop {
            if let Some(transmit) = self.node.poll_transmit() {
                if let Some(outgoing) = self.address(transmit, buffer, now) {
                    return Some(outgoing);
                }
                continue;
            }
            self.refill(now);
            let transmit = self.quic.poll_transmit(buffer, max_segments, now)?;
            let Some(to) = Synthetic::of(transmit.to) else { continue };
            let sent = match to {
                Synthetic::Rendezvous => Some((self.place_of_rendezvous(now), transmit.segment)),
                Synthetic::Peer(number) => self.place_of_peer(number, buffer, transmit.segment, now),
                Synthetic::Tunnel(_) => None,
            };
            self.drain_quic(now);
            if let Some((to, segment)) = sent {
                return Some(Outgoing { to, segment, ecn: transmit.ecn });
            }
        }
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.node.poll_event()
    }

    /// What whoever has sockets must do.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// The sockets that were asked for are open.
    pub fn handle_sockets_open(&mut self, peer: &PeerId, now: Time) {
        self.node.handle_sockets_open(peer, now);
        self.settle(now);
    }

    /// The tunnel that was asked for is up, or there is none, or no more.
    pub fn handle_tunnel(&mut self, is_up: bool, now: Time) {
        if is_up {
            let step = self.uplink.handle_tunnel_up(now);
            self.take_step(step, now);
        } else {
            self.uplink.handle_tunnel_down(now);
        }
        self.node.handle_tunnel(self.uplink.via() == Via::Tunnel, now);
        self.settle(now);
    }

    /// How long what was just sent may need to arrive, a repetition included.
    pub fn linger(&self) -> Duration {
        let slowest = self.ids.keys().map(|id| self.quic.rtt(*id)).max().unwrap_or_default();
        slowest * 3 + Duration::from_millis(30)
    }

    /// Datagrams that belonged to nobody.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Carries everything between node and QUIC until nothing is left to carry.
    pub fn settle(&mut self, now: Time) {
        loop {
            self.drain_quic(now);
            let Some(action) = self.node.poll_action() else { return };
            self.act(action, now);
        }
    }

    fn act(&mut self, action: Action, now: Time) {
        match action {
            Action::Connect(Party::Rendezvous) => self.connect_rendezvous(now),
            Action::Connect(Party::Peer(peer)) => self.connect_peer(peer, now),
            Action::Disconnect(party, code) => self.disconnect(party, code, now),
            Action::Tell(party, message) => {
                if let Some(id) = self.connection(party) {
                    self.quic.tell(id, message, now);
                }
            }
            Action::Ping(party) => {
                if let Some(id) = self.connection(party) {
                    self.quic.ping(id);
                }
            }
            Action::PathChanged(peer) => {
                if let Some(id) = self.connection(Party::Peer(peer)) {
                    self.quic.switch_path(id, now);
                }
            }
            Action::OpenSockets(peer, count) => self.requests.push_back(Request::OpenSockets(peer, count)),
        }
    }

    fn connect_rendezvous(&mut self, now: Time) {
        self.disconnect(Party::Rendezvous, Close::Replaced, now);
        if let Ok(id) = self.quic.connect(Synthetic::Rendezvous.address(), self.rendezvous_id, now) {
            self.control = Some(id);
            self.ids.insert(id, Party::Rendezvous);
        }
    }

    fn connect_peer(&mut self, peer: PeerId, now: Time) {
        self.disconnect(Party::Peer(peer), Close::Replaced, now);
        let number = self.number(peer);
        if let Ok(id) = self.quic.connect(Synthetic::Peer(number).address(), peer, now) {
            self.attach(peer, id);
        }
    }

    fn disconnect(&mut self, party: Party, code: Close, now: Time) {
        let id = match party {
            Party::Rendezvous => self.control.take(),
            Party::Peer(peer) => self.peers.get_mut(&peer).and_then(|link| link.connection.take()),
        };
        if let Some(id) = id {
            self.ids.remove(&id);
            self.quic.close(id, code, "", now);
        }
    }

    fn connection(&self, party: Party) -> Option<QuicId> {
        match party {
            Party::Rendezvous => self.control,
            Party::Peer(peer) => self.peers.get(&peer).and_then(|link| link.connection),
        }
    }

    fn attach(&mut self, peer: PeerId, id: QuicId) {
        let number = self.number(peer);
        let former = self.peers.insert(peer, Link { number, connection: Some(id), pulse: Pulse::default() });
        if let Some(former) = former.and_then(|link| link.connection) {
            self.ids.remove(&former);
        }
        self.ids.insert(id, Party::Peer(peer));
    }

    /// The number in the synthetic address of a peer; the same as long as this machine runs.
    fn number(&mut self, peer: PeerId) -> u64 {
        if let Some(link) = self.peers.get(&peer) {
            return link.number;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.numbers.insert(number, peer);
        self.peers.insert(peer, Link { number, connection: None, pulse: Pulse::default() });
        number
    }

    fn drain_quic(&mut self, now: Time) {
        while let Some(event) = self.quic.poll_event() {
            match event {
                QuicEvent::Connected { id, peer, remote } => self.handle_connected(id, peer, remote, now),
                QuicEvent::Message { id, body } => self.handle_message(id, &body, now),
                QuicEvent::Datagram { id, datagram } => {
                    if let Some(Party::Peer(peer)) = self.ids.get(&id).copied() {
                        self.node.handle_peer_datagram(peer, &datagram, now);
                    }
                }
                QuicEvent::Moved { .. } => {}
                QuicEvent::Closed { id, code, reason } => self.handle_closed(id, code, reason, now),
            }
        }
    }

    fn handle_connected(&mut self, id: QuicId, peer: PeerId, remote: SocketAddr, now: Time) {
        if self.ids.get(&id) == Some(&Party::Rendezvous) {
            return self.node.handle_rendezvous_connected(now);
        }
        // Whoever comes through a peer's paths must be that peer.
        let expected = match Synthetic::of(remote) {
            Some(Synthetic::Peer(number)) => self.numbers.get(&number).copied(),
            Some(Synthetic::Rendezvous | Synthetic::Tunnel(_)) | None => None,
        };
        if expected != Some(peer) || !self.node.expects(&peer) {
            self.ids.remove(&id);
            self.quic.close(id, Close::NotAMember, "you are not the peer that was introduced", now);
            return;
        }
        if !self.ids.contains_key(&id) {
            self.disconnect(Party::Peer(peer), Close::Replaced, now);
        }
        self.attach(peer, id);
        self.node.handle_peer_connected(peer, now);
    }

    fn handle_message(&mut self, id: QuicId, body: &[u8], now: Time) {
        let result = match self.ids.get(&id).copied() {
            Some(Party::Rendezvous) => self.node.handle_rendezvous_message(body, now),
            Some(Party::Peer(peer)) => self.node.handle_peer_message(peer, body, now),
            None => Ok(()),
        };
        if let Err(error) = result {
            self.quic.close(id, Close::Protocol, &error.to_string(), now);
            self.handle_closed(id, Some(Close::Protocol), error.to_string(), now);
        }
    }

    fn handle_closed(&mut self, id: QuicId, code: Option<Close>, reason: String, now: Time) {
        match self.ids.remove(&id) {
            Some(Party::Rendezvous) => {
                self.control = None;
                self.node.handle_rendezvous_closed(reason, code, now);
            }
            Some(Party::Peer(peer)) => {
                if let Some(link) = self.peers.get_mut(&peer) {
                    link.connection = None;
                }
                tracing::debug!(?peer, reason, "connection to the peer closed");
                self.node.handle_peer_closed(peer, code, now);
            }
            None => {}
        }
    }

    fn is_rendezvous(&self, from: Place) -> bool {
        match from {
            Place::Tunnel => true,
            Place::Udp(SocketIndex(0), address) => address == self.rendezvous,
            Place::Udp(..) => false,
        }
    }

    fn handle_direct_stun(&mut self, from: Place, data: &[u8], now: Time) {
        if let Place::Udp(socket, remote) = from {
            self.node.handle_stun(Route::Direct { socket, remote }, data, now);
        }
    }

    fn handle_relay(&mut self, from: Place, ecn: Option<EcnCodepoint>, mut data: BytesMut, now: Time) {
        let Some((header, _)) = Header::split(&data) else {
            self.dropped += 1;
            return;
        };
        let relay = match from {
            from if self.is_rendezvous(from) => RelayAddress::Rendezvous,
            Place::Udp(SocketIndex(0), address) => RelayAddress::Standalone(address),
            Place::Udp(..) | Place::Tunnel => {
                self.dropped += 1;
                return;
            }
        };
        if header.kind != Kind::Data {
            return self.node.handle_relay(relay, &data, now);
        }
        data.advance(HEADER_LEN);
        let route = Route::Relay { relay, session: header.session };
        if stun::is_stun(&data) {
            self.node.handle_stun(route, &data, now);
        } else {
            self.handle_peer_quic(route, ecn, data, now);
        }
    }

    fn handle_peer_quic(&mut self, route: Route, ecn: Option<EcnCodepoint>, data: BytesMut, now: Time) {
        let Some(peer) = self.node.source(&route).filter(|_| self.policy.allows(&route)) else {
            self.dropped += 1;
            return;
        };
        self.node.handle_received(&peer, route, now);
        let number = self.number(peer);
        self.handle_quic(Synthetic::Peer(number).address(), ecn, data, now);
        self.feel_pulse(peer, now);
    }

    /// Tells the node what the connection to a peer has asked and was answered since.
    fn feel_pulse(&mut self, peer: PeerId, now: Time) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        let Some(id) = link.connection else { return };
        let pulse = self.quic.pulse(id);
        let before = std::mem::replace(&mut link.pulse, pulse);
        if pulse.answered > before.answered {
            self.node.handle_answered(&peer);
        }
        if pulse.asked > before.asked {
            self.node.handle_asked(&peer, now);
        }
    }

    fn handle_quic(&mut self, from: SocketAddr, ecn: Option<EcnCodepoint>, data: BytesMut, now: Time) {
        let (node, numbers) = (&self.node, &self.numbers);
        self.quic.handle_datagram(from, ecn, data, now, |remote, _, handshaking| {
            let peer = match Synthetic::of(remote) {
                Some(Synthetic::Peer(number)) => numbers.get(&number),
                Some(Synthetic::Rendezvous | Synthetic::Tunnel(_)) | None => None,
            };
            // Who forges a peer's address gets no further than its first packet, so this is all it can take up.
            let is_welcome = handshaking < PEER_HANDSHAKES && peer.is_some_and(|peer| node.accepts(peer));
            if is_welcome { Admission::Accept } else { Admission::Ignore }
        });
    }

    /// Hands QUIC the media it has room for.
    fn refill(&mut self, now: Time) {
        let waiting: Vec<PeerId> = self.node.waiting_peers().collect();
        for peer in waiting {
            let Some(id) = self.connection(Party::Peer(peer)) else { continue };
            for _ in 0..self.quic.datagram_room(id) {
                let Some(datagram) = self.node.poll_datagram(&peer, now) else { break };
                self.quic.send_datagram(id, datagram);
            }
        }
    }

    fn place_of_rendezvous(&mut self, now: Time) -> Place {
        self.uplink.handle_sent(now);
        match self.uplink.via() {
            Via::Udp => Place::Udp(SocketIndex(0), self.rendezvous),
            Via::Tunnel => Place::Tunnel,
        }
    }

    fn place_of_peer(
        &mut self,
        number: u64,
        buffer: &mut Vec<u8>,
        segment: Option<usize>,
        now: Time,
    ) -> Option<(Place, Option<usize>)> {
        let peer = *self.numbers.get(&number)?;
        let route = self.node.route_to(&peer)?;
        self.feel_pulse(peer, now);
        Some(self.enroute(route, buffer, segment))
    }

    /// Wraps what is in `buffer` as `route` asks.
    fn enroute(&self, route: Route, buffer: &mut Vec<u8>, segment: Option<usize>) -> (Place, Option<usize>) {
        match route {
            Route::Direct { socket, remote } => (Place::Udp(socket, remote), segment),
            Route::Relay { relay, session } => {
                let header = Header { kind: Kind::Data, flags: 0, epoch: 0, session }.to_bytes();
                let size = segment.unwrap_or(buffer.len()).max(1);
                let wrapped: Vec<u8> = buffer.chunks(size).flat_map(|datagram| [&header, datagram].concat()).collect();
                *buffer = wrapped;
                (self.relay_place(relay), segment.map(|size| size + HEADER_LEN))
            }
        }
    }

    fn relay_place(&self, relay: RelayAddress) -> Place {
        match (relay, self.uplink.via()) {
            (RelayAddress::Rendezvous, Via::Tunnel) => Place::Tunnel,
            (RelayAddress::Rendezvous, Via::Udp) => Place::Udp(SocketIndex(0), self.rendezvous),
            (RelayAddress::Standalone(address), _) => Place::Udp(SocketIndex(0), address),
        }
    }

    /// Finds the place for something of the node's own.
    fn address(&mut self, transmit: Transmit, buffer: &mut Vec<u8>, now: Time) -> Option<Outgoing> {
        buffer.clear();
        let to = match transmit {
            Transmit::Via(route, bytes) => {
                buffer.extend_from_slice(&bytes);
                self.enroute(route, buffer, None).0
            }
            Transmit::To(address, bytes) => {
                buffer.extend_from_slice(&bytes);
                Place::Udp(SocketIndex(0), address)
            }
            Transmit::ToRendezvous(bytes) => {
                buffer.extend_from_slice(&bytes);
                self.place_of_rendezvous(now)
            }
        };
        (!buffer.is_empty()).then_some(Outgoing { to, segment: None, ecn: None })
    }

    fn take_step(&mut self, step: Option<UplinkStep>, now: Time) {
        match step {
            Some(UplinkStep::AskByUdp) => {
                let id = TransactionId(self.node.next_transaction());
                let request = stun::encode_request(id, None, ChangeRequest::None);
                self.node.send_raw(self.rendezvous, request);
            }
            Some(UplinkStep::OpenTunnel) => self.requests.push_back(Request::OpenTunnel),
            Some(UplinkStep::CloseTunnel) => {
                self.requests.push_back(Request::CloseTunnel);
                self.uplink.handle_tunnel_down(now);
                self.node.handle_tunnel(false, now);
            }
            None => {}
        }
    }
}
