//! One peer as one machine: what it is told by the rendezvous, what comes by its paths, what its person publishes.
//!
//! In: messages, datagrams, connection news, frames and the time. Out: [`Action`]s for the network, [`Transmit`]s that are
//! not QUIC, media datagrams for each peer, and [`Event`]s for the person. Nothing is sent to a peer, and nothing of it is
//! believed, before its membership tag is checked.

mod attempt;
mod bulk;
mod event;
mod paths;
mod peer;
mod pictures;
mod publish;
mod relays;
mod rendezvous;
mod roster;
mod rules;
mod sender;
mod stats;
mod talk;
mod uplink;
mod watch;

pub use bulk::BulkError;
pub use event::{Action, Event, NodeConfig, Party, PeerStats, Transmit};
pub use rules::{Order, OrderError};
pub use talk::PublishError;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use self::attempt::Attempt;
use self::paths::path_kind;
use self::peer::{Link, Peer};
use self::publish::Publication;
use self::relays::Bindings;
use self::rendezvous::{Rendezvous, Step};
use crate::path::discovery::Discovery;
use crate::path::reflexive::Reflexives;
use crate::path::{Policy, Route};
use crate::rate::coupling::Coupling;
use crate::trust::rules::RuleBook;
use crate::units::{Bitrate, PeerId, Time, TrackId};
use crate::wire::control::{Candidate, Close, RelayAddress, Role};
use crate::wire::stun::{self, Class};

/// One peer of a room.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    rendezvous: Rendezvous,
    rendezvous_address: SocketAddr,
    is_tunnelled: bool,
    /// Addresses of our own: interfaces and ports our router has opened.
    local: Vec<Candidate>,
    discovery: Option<Discovery>,
    reflexives: Reflexives,
    /// The second address of the rendezvous, for discoveries.
    stun_alternate: Option<SocketAddr>,
    peers: BTreeMap<PeerId, Peer>,
    sources: BTreeMap<Route, PeerId>,
    publications: BTreeMap<TrackId, Publication>,
    bindings: Bindings,
    /// What the ways to all peers have in common.
    coupling: Coupling,
    /// What the room's host has decided.
    book: RuleBook,
    /// The rate for pictures that the person was told last.
    told_bitrate: Bitrate,
    transmits: VecDeque<Transmit>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
    rng: ChaCha8Rng,
}

impl Node {
    /// A node that is in no room yet. `rendezvous` is where its control connection goes.
    pub fn new(config: NodeConfig, rendezvous: SocketAddr) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(config.seed);
        let goes_direct = config.policy != Policy::RelayOnly;
        let book = RuleBook::new(config.secret.claim(config.host).room_id(), config.host);
        let reflexives = Reflexives::new(if goes_direct { &config.stun_servers } else { &[] }, config.seed);
        Node {
            config,
            rendezvous: Rendezvous::new(),
            rendezvous_address: rendezvous,
            is_tunnelled: false,
            local: Vec::new(),
            discovery: None,
            reflexives,
            stun_alternate: None,
            peers: BTreeMap::new(),
            sources: BTreeMap::new(),
            publications: BTreeMap::new(),
            bindings: Bindings::default(),
            coupling: Coupling::new(Time::ZERO),
            book,
            told_bitrate: Bitrate::default(),
            transmits: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            rng,
        }
    }

    /// Enters the room.
    pub fn join(&mut self, now: Time) {
        self.reflexives.start(now);
        self.rendezvous.start(now);
        self.handle_timeout(now);
    }

    /// The addresses of our own interfaces, and the ports our router opened for us, are these now. If they were others
    /// before, every path must prove itself again.
    pub fn handle_addresses(&mut self, local: Vec<Candidate>, now: Time) {
        if self.local == local {
            return;
        }
        let had_others = !std::mem::replace(&mut self.local, local).is_empty();
        if had_others {
            self.handle_network_change(now);
        }
        self.tell_reachability();
    }

    /// The network under us has changed: every path must prove itself again.
    pub fn handle_network_change(&mut self, now: Time) {
        self.actions.push_back(Action::Ping(Party::Rendezvous));
        for peer in self.peers.values_mut() {
            peer.agent.handle_network_change(now);
        }
        self.reflexives.start(now);
        self.discover(now);
        self.handle_timeout(now);
    }

    /// Whether the rendezvous is reached by a TCP tunnel now, because UDP does not pass.
    pub fn handle_tunnel(&mut self, is_tunnelled: bool, now: Time) {
        if self.is_tunnelled != is_tunnelled {
            self.is_tunnelled = is_tunnelled;
            self.actions.push_back(match self.rendezvous.handle_rerouted(now) {
                true => Action::Disconnect(Party::Rendezvous, Close::Timeout),
                false => Action::Ping(Party::Rendezvous),
            });
            let relayed = |peer: &Peer| peer.agent.selected().is_some_and(|route| !route.is_direct());
            let peers: Vec<PeerId> = self.peers.iter().filter(|(_, p)| relayed(p)).map(|(id, _)| *id).collect();
            for peer in peers {
                self.announce_path(peer);
            }
        }
        self.handle_timeout(now);
    }

    /// A STUN message came by `route`, whose relay or address may belong to anybody.
    pub fn handle_stun(&mut self, route: Route, bytes: &[u8], now: Time) {
        let Ok(message) = stun::decode(bytes) else { return };
        if self.reflexives.handle_response(&message) {
            self.tell_reachability();
            return;
        }
        if let Some(discovery) = &mut self.discovery
            && discovery.handle_response(&message)
        {
            return self.handle_discovered(now);
        }
        let is_for = |peer: &&mut Peer| match message.class {
            Class::Request { username, .. } => username.is_some_and(|name| peer.agent.answers_to(name)),
            Class::Response { .. } | Class::Error(_) => peer.agent.awaits(&message.transaction),
        };
        if let Some(peer) = self.peers.values_mut().find(is_for) {
            peer.agent.handle_stun(route, &message, bytes, now);
            self.drain_agents(now);
        }
    }

    /// A relay said something other than DATA.
    pub fn handle_relay(&mut self, from: RelayAddress, bytes: &[u8], now: Time) {
        let (answer, bound) = self.bindings.handle_datagram(from, bytes);
        self.transmits.extend(answer);
        if let Some(session) = bound {
            self.handle_bound(from, session, now);
        }
    }

    /// Whose datagrams come by `route`, if anybody's.
    pub fn source(&self, route: &Route) -> Option<PeerId> {
        self.sources.get(route).copied()
    }

    /// The way to a peer, if one is known.
    pub fn route_to(&self, peer: &PeerId) -> Option<Route> {
        self.peers.get(peer).and_then(|peer| peer.agent.selected())
    }

    /// Whether the handshake of a QUIC connection from this peer may begin: it is a member, and the one who opens.
    pub fn accepts(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.role == Role::Accepts && !peer.is_put_out())
    }

    /// Whether a connection to or from this peer, whose identity is proven now, is of use.
    pub fn expects(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|peer| !peer.is_put_out())
    }

    /// Something of the peer's QUIC connection came by `route`.
    pub fn handle_received(&mut self, peer: &PeerId, route: Route, now: Time) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.agent.handle_received(route, now);
        }
    }

    /// Something was sent to the peer that it must acknowledge.
    pub fn handle_asked(&mut self, peer: &PeerId, now: Time) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.agent.handle_asked(now);
        }
    }

    /// The peer has acknowledged what was `sent` by the way in use; `rtt` is how long that takes lately.
    pub fn handle_answered(&mut self, peer: &PeerId, sent: Time, rtt: Duration) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.agent.handle_answered(sent, rtt);
        }
    }

    /// The further sockets that were asked for are open.
    pub fn handle_sockets_open(&mut self, peer: &PeerId, now: Time) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.agent.handle_sockets_open(now);
        }
        self.drain_agents(now);
    }

    /// Whether a further socket is still of use.
    pub fn uses_socket(&self, socket: crate::path::SocketIndex) -> bool {
        self.peers.values().any(|peer| peer.agent.uses_socket(socket))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        match self.rendezvous.handle_timeout(now) {
            Some(Step::Connect) => self.actions.push_back(Action::Connect(Party::Rendezvous)),
            Some(Step::Abort) => self.actions.push_back(Action::Disconnect(Party::Rendezvous, Close::Timeout)),
            Some(Step::Ask) => self.actions.push_back(Action::Ping(Party::Rendezvous)),
            None => {}
        }
        let questions = self.reflexives.handle_timeout(now);
        self.transmits.extend(questions.into_iter().map(|(to, bytes)| Transmit::To(to, bytes)));
        if let Some(discovery) = &mut self.discovery {
            let requests = discovery.handle_timeout(now);
            self.transmits.extend(requests.into_iter().map(|(to, bytes)| Transmit::To(to, bytes)));
        }
        let requests = self.bindings.handle_timeout(now);
        self.transmits.extend(requests);
        self.coupling.handle_timeout(now);
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.handle_peer_timeout(id, now);
        }
        self.drain_agents(now);
    }

    /// The next thing to put on the wire that is not QUIC.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing the network is asked to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let of_peer = |peer: &Peer| {
            let link = match peer.link {
                Link::Down { retry } => self.may_open(peer).then_some(retry),
                Link::Opening(attempt) => Some(attempt.deadline()),
                Link::PutOut { until } => Some(until),
                Link::Greeting(attempt) => attempt.map(Attempt::last_deadline),
                Link::Up => None,
            };
            let flow = peer.is_connected().then(|| [peer.sender.poll_timeout(), peer.watch.feedback_due()]);
            let flow = flow.into_iter().flatten().flatten();
            let frames = peer.watch.poll_timeout().filter(|_| !peer.is_put_out());
            [link, peer.agent.poll_timeout(), frames].into_iter().flatten().chain(flow).min()
        };
        let peers = self.peers.values().filter_map(of_peer).min();
        let discovery = self.discovery.as_ref().and_then(Discovery::poll_timeout);
        let questions = [discovery, self.reflexives.poll_timeout()];
        let servers = [self.bindings.poll_timeout(), self.rendezvous.poll_timeout()];
        questions.into_iter().chain(servers).chain([peers, self.coupling.poll_timeout()]).flatten().min()
    }

    /// What has passed between us and each peer.
    pub fn stats(&mut self, now: Time) -> BTreeMap<PeerId, PeerStats> {
        let is_tunnelled = self.is_tunnelled;
        let connected = self.peers.iter_mut().filter(|(_, peer)| peer.is_connected());
        connected
            .map(|(id, peer)| {
                let path = peer.agent.selected().map(|route| path_kind(&route, is_tunnelled));
                (*id, peer.stats(path, now))
            })
            .collect()
    }

    /// How many members of the room we were introduced to, but cannot speak to yet.
    pub fn missing_peers(&self) -> usize {
        self.peers.values().filter(|peer| peer.is_in_room && !peer.is_connected()).count()
    }

    fn handle_peer_timeout(&mut self, id: PeerId, now: Time) {
        let Some(peer) = self.peers.get(&id) else { return };
        match peer.link {
            Link::Down { retry } if retry <= now && self.may_open(peer) => self.open(id, now),
            Link::Opening(attempt) if attempt.deadline() <= now => self.give_up(id, now),
            Link::Greeting(Some(attempt)) if attempt.last_deadline() <= now => self.give_up(id, now),
            Link::PutOut { until } if until <= now => self.drop_excluded(id),
            Link::Down { .. } | Link::Opening(_) | Link::Greeting(_) | Link::PutOut { .. } | Link::Up => {}
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.agent.handle_timeout(now);
        peer.sender.handle_timeout(now);
        self.drain_watch(id, now);
    }

    /// Our attempt to connect has failed; another follows.
    fn give_up(&mut self, id: PeerId, now: Time) {
        self.actions.push_back(Action::Disconnect(Party::Peer(id), Close::Timeout));
        self.set_down(id, now);
    }

    /// Whether the peer's connection can be opened by us now.
    fn may_open(&self, peer: &Peer) -> bool {
        peer.role == Role::Opens && peer.is_in_room && peer.agent.selected().is_some()
    }

    fn open(&mut self, id: PeerId, now: Time) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.link = Link::Opening(Attempt::new(now));
            self.actions.push_back(Action::Connect(Party::Peer(id)));
        }
    }

    /// Sends something to a server from our main socket.
    pub fn send_raw(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.transmits.push_back(Transmit::To(to, bytes));
    }

    /// Random bytes for a STUN transaction.
    pub fn next_transaction(&mut self) -> [u8; 12] {
        let mut id = [0; 12];
        self.rng.fill_bytes(&mut id);
        id
    }

    fn may_go_direct(&self) -> bool {
        self.config.policy != Policy::RelayOnly
    }

    fn next_seed(&mut self) -> u64 {
        self.rng.next_u64()
    }
}

#[cfg(test)]
mod tests;
