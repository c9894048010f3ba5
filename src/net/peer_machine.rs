//! One peer with its QUIC: datagrams and the time go in, datagrams and events come out. No sockets yet, no tasks.
//!
//! ```text
//!            first byte                          synthetic address
//! datagram ─┬─ STUN ──→ node                ┌──→ route of the peer ──┬─ direct
//!           ├─ relay ─→ session ─┐          │                        ├─ relay header + relay's address
//!           └─ QUIC ──→ source ──┴→ QUIC ───┘                        └─ the rendezvous, by UDP or tunnel
//! ```
//! Everything that arrives is attributed before QUIC sees it; what belongs to nobody is dropped and counted.

mod incoming;
mod news;
mod outgoing;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use quinn_proto::EcnCodepoint;

use super::clock::Clock;
use super::identity::Identity;
use super::quic::{Pulse, Quic, QuicId};
use super::quic_config::{QuicConfig, QuicRole};
use crate::node::{Action, Event, Node, NodeConfig, Party};
use crate::params::QUIC_IDLE;
use crate::path::candidate::canonical;
use crate::path::synthetic::Synthetic;
use crate::path::uplink::{Uplink, UplinkStep, Via};
use crate::path::{Route, SocketIndex};
use crate::units::{PeerId, Time};
use crate::wire::control::Close;
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
            let step = self.uplink.handle_received(via);
            self.take_step(step, now);
        }
        match data.first() {
            Some(0..=3) if stun::is_stun(&data) => self.handle_direct_stun(from, &data, now),
            Some(0x10..=0x13) => self.handle_relay(from, ecn, data, now),
            Some(0x40..=0x7f | 0xc0..=0xff) if is_rendezvous => {
                // What else comes from there says nothing of the connection: another process may have taken its place.
                self.node.handle_rendezvous_received(now);
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
            let is_filled = self.refill(now);
            let Some(transmit) = self.quic.poll_transmit(buffer, max_segments, now) else {
                if is_filled {
                    continue;
                }
                self.node.handle_flushed(now);
                return None;
            };
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
            Action::Window(peer, bytes) => {
                if let Some(id) = self.connection(Party::Peer(peer)) {
                    self.quic.set_window(id, bytes);
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
