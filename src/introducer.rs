//! The rendezvous as one machine: who is in which room, and who must be introduced to whom.
//!
//! In: connections with proven identities, their messages, the addresses they come from, the time. Out: messages, closed
//! connections, and relay sessions to bind. Whoever enters a room is introduced to every member, both sides at the same
//! moment; the one who was there first opens the connection. The introducer never sees the room's secret, so it can
//! introduce but not join; nor a host's key, so it can pass on rules but not make them.

mod room;
mod rules;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use self::room::Room;

use crate::bucket::Bucket;
use crate::limits::Limits;
use crate::params::{PUT_OUT_TIME, RELAY_TOKEN_LIFE_S};
use crate::path::candidate::canonical;
use crate::trust::rules::{Exclusion, RuleBook};
use crate::units::{PeerId, RoomId, SessionId, Time};
use crate::wire::codec;
use crate::wire::control::{Close, FromRendezvous, LeftReason, ToRendezvous};
use crate::wire::relay::{RelayKey, Side};

/// One control connection, as the network numbers them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u64);

/// What the introducer asks of the network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Write to a control stream.
    Tell(ConnectionId, Bytes),
    /// Close a connection, with a reason for the person at its other end.
    Close(ConnectionId, Close, String),
    /// Give a side of a relay session this address, which the control connection has validated.
    Bind(SessionId, Side, SocketAddr),
    /// End a relay session.
    Unbind(SessionId),
}

/// Relays that two peers may use.
#[derive(Clone, Debug)]
pub struct Relays {
    /// Makes the tokens of the relay inside the rendezvous; `None` if it has none.
    pub own: Option<RelayKey>,
    /// Relays of their own, and what makes their tokens.
    pub others: Vec<(SocketAddr, RelayKey)>,
}

/// What an introducer counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct IntroducerStats {
    /// Pairs introduced.
    pub introductions: u64,
    /// Connections closed because a limit was reached.
    pub limited: u64,
    /// Connections closed because they broke the protocol.
    pub malformed: u64,
}

/// Keeps the rooms and introduces their members.
#[derive(Debug)]
pub struct Introducer {
    limits: Limits,
    relays: Relays,
    stun_alternate: Option<SocketAddr>,
    connections: BTreeMap<ConnectionId, Connection>,
    rooms: BTreeMap<RoomId, Room>,
    /// The rules of rooms that nobody is in, the oldest first.
    kept: VecDeque<RuleBook>,
    per_address: BTreeMap<IpAddr, usize>,
    hellos: BTreeMap<IpAddr, Bucket>,
    actions: VecDeque<Action>,
    stats: IntroducerStats,
    rng: ChaCha20Rng,
    /// Seconds since 1970 until which the tokens made now are good.
    token_expiry: u64,
}

#[derive(Debug)]
struct Connection {
    peer: PeerId,
    address: SocketAddr,
    since: Time,
    messages: Bucket,
    room: Option<RoomId>,
    /// Why it may not be in its room; what it says does not matter any more.
    excluded: Option<Exclusion>,
}

impl Connection {
    /// When it is closed, and why, unless it enters a room before.
    fn ends(&self, limits: &Limits) -> Option<(Time, Close, String)> {
        let hello = limits.hello;
        match (self.excluded, self.room) {
            (Some(why), _) => Some((self.since + PUT_OUT_TIME, why.into(), why.as_str().to_owned())),
            (None, None) => Some((self.since + hello, Close::Timeout, format!("no hello within {hello:?}"))),
            (None, Some(_)) => None,
        }
    }
}

impl Introducer {
    /// An introducer without rooms. `seed` must be secret: pair secrets come from it.
    pub fn new(limits: Limits, relays: Relays, stun_alternate: Option<SocketAddr>, seed: [u8; 32]) -> Self {
        Introducer {
            limits,
            relays,
            stun_alternate,
            connections: BTreeMap::new(),
            rooms: BTreeMap::new(),
            kept: VecDeque::new(),
            per_address: BTreeMap::new(),
            hellos: BTreeMap::new(),
            actions: VecDeque::new(),
            stats: IntroducerStats::default(),
            rng: ChaCha20Rng::from_seed(seed),
            token_expiry: 0,
        }
    }

    /// A connection has come about; TLS has proven that it is `peer`.
    pub fn handle_connected(&mut self, id: ConnectionId, peer: PeerId, address: SocketAddr, now: Time) {
        let address = canonical(address);
        if self.connections.len() >= self.limits.peers {
            return self.refuse(id, format!("the rendezvous is full: {} peers are connected", self.connections.len()));
        }
        let count = self.per_address.entry(address.ip()).or_default();
        if *count >= self.limits.peers_per_address {
            let message = format!("{count} peers are connected from {}; no more are allowed", address.ip());
            return self.refuse(id, message);
        }
        *count += 1;
        let messages = Bucket::new(self.limits.messages_per_second, self.limits.message_burst, now);
        let connection = Connection { peer, address, since: now, messages, room: None, excluded: None };
        self.connections.insert(id, connection);
    }

    /// A connection is gone, as its peer wished or not.
    pub fn handle_disconnected(&mut self, id: ConnectionId, reason: LeftReason) {
        self.drop_connection(id, reason);
    }

    /// A connection comes from another address now: relays and the others must know.
    pub fn handle_moved(&mut self, id: ConnectionId, address: SocketAddr) {
        let address = canonical(address);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let before = std::mem::replace(&mut connection.address, address);
        if before == address {
            return;
        }
        let (peer, room) = (connection.peer, connection.room);
        decrease(&mut self.per_address, before.ip());
        *self.per_address.entry(address.ip()).or_default() += 1;
        if let Some(room) = room {
            self.rebind(room, peer, address);
            self.spread(room, peer);
        }
    }

    /// A message; `body` as the stream delivered it. `now_unix_s`: seconds since 1970.
    pub fn handle_message(&mut self, id: ConnectionId, body: &[u8], now: Time, now_unix_s: u64) {
        self.token_expiry = now_unix_s + RELAY_TOKEN_LIFE_S;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.messages.take(1, now) {
            self.stats.limited += 1;
            return self.close(id, Close::Limit, "too many messages".to_owned());
        }
        if connection.excluded.is_some() {
            return;
        }
        let message: ToRendezvous = match codec::decode(body) {
            Ok(message) => message,
            Err(error) => return self.close_malformed(id, error.to_string()),
        };
        if let Err(error) = message.check() {
            return self.close_malformed(id, error.to_string());
        }
        match message {
            ToRendezvous::Hello(hello) => self.handle_hello(id, hello, now),
            ToRendezvous::Candidates(reachability) => self.handle_candidates(id, reachability),
            ToRendezvous::Rules(rules) => self.handle_rules(id, rules, now),
        }
    }

    /// Closes connections that have not said who they want to meet in time, or have not gone when they were put out.
    pub fn handle_timeout(&mut self, now: Time) {
        let ends = |(id, connection): (&ConnectionId, &Connection)| Some((*id, connection.ends(&self.limits)?));
        let late = self.connections.iter().filter_map(ends).filter(|(_, (at, ..))| *at <= now);
        for (id, (_, code, reason)) in late.collect::<Vec<_>>() {
            self.close(id, code, reason);
        }
        let full = self.limits.handshakes_per_minute * 60;
        self.hellos.retain(|_, bucket| !bucket.holds(full, now));
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.connections.values().filter_map(|connection| Some(connection.ends(&self.limits)?.0)).min()
    }

    /// Tells everybody that the rendezvous goes down for a moment.
    pub fn drain(&mut self) {
        let bytes = codec::encode(&FromRendezvous::Draining);
        self.actions.extend(self.connections.keys().map(|id| Action::Tell(*id, bytes.clone())));
    }

    /// What the network is asked to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What was counted so far.
    pub fn stats(&self) -> IntroducerStats {
        self.stats
    }

    /// Connections there are.
    pub fn peers(&self) -> usize {
        self.connections.len()
    }

    /// Rooms with somebody in them.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    fn drop_connection(&mut self, id: ConnectionId, reason: LeftReason) {
        let Some(connection) = self.connections.remove(&id) else { return };
        decrease(&mut self.per_address, connection.address.ip());
        let Some(room_id) = connection.room else { return };
        let peer = connection.peer;
        let is_seated = self.rooms.get(&room_id).and_then(|room| room.members.get(&peer));
        if is_seated.is_some_and(|seat| seat.connection == id) {
            self.unseat(room_id, peer, reason);
        }
    }

    fn tell(&mut self, to: ConnectionId, message: &FromRendezvous) {
        self.actions.push_back(Action::Tell(to, codec::encode(message)));
    }

    fn refuse(&mut self, id: ConnectionId, reason: String) {
        self.stats.limited += 1;
        self.close(id, Close::Limit, reason);
    }

    fn close_malformed(&mut self, id: ConnectionId, reason: String) {
        self.stats.malformed += 1;
        self.close(id, Close::Protocol, reason);
    }

    fn close(&mut self, id: ConnectionId, code: Close, reason: String) {
        self.drop_connection(id, LeftReason::Lost);
        self.actions.push_back(Action::Close(id, code, reason));
    }
}

fn decrease(counts: &mut BTreeMap<IpAddr, usize>, ip: IpAddr) {
    if let Some(count) = counts.get_mut(&ip) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::RoomSecret;
    use crate::wire::control::{Candidate, CandidateKind, Hello, Introduction, Mapping, Reachability, Role};
    use std::time::Duration;

    #[test]
    fn both_sides_are_introduced_at_once_and_the_one_who_was_there_opens() {
        let mut world = World::new(|_| {});
        world.enter(1);
        world.told();
        world.enter(2);
        let told = world.told();
        let introductions: Vec<_> = told.iter().filter_map(introduction).collect();
        let [(first, of_first), (second, of_second)] = introductions.as_slice() else { panic!("{told:?}") };
        assert_eq!((*first, of_first.role, of_first.peer.id), (1, Role::Opens, peer(2)));
        assert_eq!((*second, of_second.role, of_second.peer.id), (2, Role::Accepts, peer(1)));
        assert_eq!(of_first.pair, of_second.pair);
        assert_eq!(of_first.relays[0].session, of_second.relays[0].session);
    }

    #[test]
    fn the_address_we_see_is_a_candidate_and_one_that_a_peer_claims_we_saw_is_not() {
        let mut world = World::new(|_| {});
        world.enter(1);
        let claimed = Candidate { kind: CandidateKind::Reflexive, address: address(99) };
        world.connect(2, address(2));
        world.tell(2, &ToRendezvous::Hello(Hello { reachability: reachable(vec![claimed]), ..hello(2, 0) }));
        let told = world.told();
        let (_, of_first) = told.iter().filter_map(introduction).find(|(to, _)| *to == 1).unwrap();
        let seen = Candidate { kind: CandidateKind::Reflexive, address: address(2) };
        assert_eq!(of_first.reachability.candidates, [seen]);
    }

    #[test]
    fn who_wants_relays_only_is_shown_without_any_address() {
        let mut world = World::new(|_| {});
        world.enter(1);
        world.connect(2, address(2));
        let host = Candidate { kind: CandidateKind::Host, address: address(77) };
        let reachability = Reachability { relay_only: true, ..reachable(vec![host]) };
        world.tell(2, &ToRendezvous::Hello(Hello { reachability, ..hello(2, 0) }));
        let told = world.told();
        let (_, of_first) = told.iter().filter_map(introduction).find(|(to, _)| *to == 1).unwrap();
        assert!(of_first.reachability.candidates.is_empty());
    }

    #[test]
    fn whoever_comes_from_another_address_keeps_its_relay_sessions_there() {
        let mut world = World::new(|_| {});
        world.enter(1);
        world.enter(2);
        world.told();
        world.introducer.handle_moved(ConnectionId(2), address(22));
        let actions: Vec<Action> = std::iter::from_fn(|| world.introducer.poll_action()).collect();
        assert!(actions.iter().any(|action| matches!(action, Action::Bind(_, Side::Second, at) if *at == address(22))));
        assert!(actions.iter().any(|action| matches!(action, Action::Tell(ConnectionId(1), _))));
    }

    #[test]
    fn as_many_peers_as_allowed_are_served_and_one_more_is_not() {
        let mut world = World::new(|limits| limits.peers = 3);
        assert_eq!((1..=4).map(|nth| world.enter(nth)).collect::<Vec<_>>(), [true, true, true, false]);
        world.introducer.handle_disconnected(ConnectionId(2), LeftReason::Left);
        assert!(world.enter(5));
    }

    #[test]
    fn as_many_peers_of_one_address_as_allowed_are_served_and_one_more_is_not() {
        let mut world = World::new(|limits| limits.peers_per_address = 2);
        let connected: Vec<bool> = (1..=3).map(|nth| world.connect(nth, address(7))).collect();
        assert_eq!(connected, [true, true, false]);
        assert!(world.connect(4, address(8)), "others are not concerned");
        world.introducer.handle_disconnected(ConnectionId(1), LeftReason::Left);
        assert!(world.connect(5, address(7)), "a free place is taken");
    }

    #[test]
    fn a_room_takes_as_many_as_allowed_and_one_more_is_refused() {
        let mut world = World::new(|limits| limits.peers_per_room = 2);
        assert_eq!((1..=3).map(|nth| world.enter(nth)).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn as_many_rooms_as_allowed_are_opened_and_one_more_is_not() {
        let mut world = World::new(|limits| limits.rooms = 2);
        let entered: Vec<bool> = (1..=3).map(|nth| world.enter_room(nth, nth)).collect();
        assert_eq!(entered, [true, true, false]);
        assert!(world.enter_room(4, 1), "a room that is there can be entered");
    }

    #[test]
    fn an_address_joins_as_often_in_a_minute_as_allowed() {
        let mut world = World::new(|limits| limits.handshakes_per_minute = 3);
        let joined: Vec<bool> = (1..=4)
            .map(|nth| {
                world.connect(nth, address(7));
                world.tell(nth, &ToRendezvous::Hello(hello(nth, 0)))
            })
            .collect();
        assert_eq!(joined, [true, true, true, false]);
        world.now += Duration::from_secs(20);
        world.connect(5, address(7));
        assert!(world.tell(5, &ToRendezvous::Hello(hello(5, 0))), "a third of a minute is one join");
    }

    #[test]
    fn whoever_has_not_said_hello_in_time_is_closed_and_not_a_moment_earlier() {
        let mut world = World::new(|_| {});
        world.connect(1, address(1));
        let due = world.introducer.poll_timeout().unwrap();
        assert_eq!(due, Time::ZERO + Limits::default().hello);
        world.introducer.handle_timeout(due - Duration::from_micros(1));
        assert_eq!(world.introducer.peers(), 1);
        world.introducer.handle_timeout(due);
        assert_eq!(world.introducer.peers(), 0);
    }

    #[test]
    fn a_burst_of_messages_passes_and_one_more_does_not() {
        let mut world = World::new(|limits| (limits.message_burst, limits.messages_per_second) = (6, 5));
        world.enter(1);
        let candidates = ToRendezvous::Candidates(reachable(Vec::new()));
        let passed: Vec<bool> = (0..6).map(|_| world.tell(1, &candidates)).collect();
        assert_eq!(passed, [true, true, true, true, true, false], "the hello counts");
    }

    #[test]
    fn a_peer_that_joins_again_replaces_its_former_self_and_nobody_else() {
        let mut world = World::new(|_| {});
        world.enter(1);
        world.enter(2);
        world.told();
        world.introducer.handle_connected(ConnectionId(9), peer(2), address(2), world.now);
        world.tell(9, &ToRendezvous::Hello(hello(2, 0)));
        let closed = world.closed.clone();
        assert_eq!(closed, [(2, Close::Replaced)]);
        assert_eq!((world.introducer.peers(), world.introducer.rooms()), (2, 1));
        let left = |message: &(u64, FromRendezvous)| matches!(message.1, FromRendezvous::Left { .. });
        assert!(!world.told().iter().any(left), "it has not left");
    }

    #[test]
    fn a_message_out_of_turn_or_out_of_form_ends_the_connection() {
        let mut world = World::new(|_| {});
        world.connect(1, address(1));
        assert!(!world.tell(1, &ToRendezvous::Candidates(reachable(Vec::new()))));
        world.enter(2);
        assert!(!world.tell(2, &ToRendezvous::Hello(hello(2, 0))), "a second hello");
        world.connect(3, address(3));
        world.introducer.handle_message(ConnectionId(3), &[0xff; 40], world.now, 0);
        world.told();
        assert_eq!(world.closed.iter().filter(|(_, code)| *code == Close::Protocol).count(), 3);
        assert_eq!(world.introducer.stats().malformed, 3);
    }

    #[test]
    fn a_room_that_is_empty_is_forgotten_with_its_relay_sessions() {
        let mut world = World::new(|_| {});
        world.enter(1);
        world.enter(2);
        world.introducer.handle_disconnected(ConnectionId(1), LeftReason::Lost);
        world.introducer.handle_disconnected(ConnectionId(2), LeftReason::Left);
        let actions: Vec<Action> = std::iter::from_fn(|| world.introducer.poll_action()).collect();
        assert_eq!(actions.iter().filter(|action| matches!(action, Action::Unbind(_))).count(), 1);
        assert_eq!((world.introducer.peers(), world.introducer.rooms()), (0, 0));
    }

    /// An introducer, and what it did to its connections.
    pub(super) struct World {
        pub(super) introducer: Introducer,
        pub(super) now: Time,
        messages: Vec<(u64, FromRendezvous)>,
        pub(super) closed: Vec<(u64, Close)>,
    }

    impl World {
        pub(super) fn new(change: impl FnOnce(&mut Limits)) -> Self {
            let mut limits = Limits::default();
            change(&mut limits);
            let relays = Relays { own: Some(RelayKey::from_bytes([1; 32])), others: Vec::new() };
            let introducer = Introducer::new(limits, relays, None, [1; 32]);
            World { introducer, now: Time::ZERO, messages: Vec::new(), closed: Vec::new() }
        }

        /// Connection and peer `nth` from its own address into room 0; whether both were let in.
        fn enter(&mut self, nth: u64) -> bool {
            self.enter_room(nth, 0)
        }

        fn enter_room(&mut self, nth: u64, room: u64) -> bool {
            self.connect(nth, address(nth)) && self.tell(nth, &ToRendezvous::Hello(hello(nth, room)))
        }

        pub(super) fn connect(&mut self, nth: u64, from: SocketAddr) -> bool {
            self.introducer.handle_connected(ConnectionId(nth), peer(nth), from, self.now);
            self.drain();
            !self.closed.iter().any(|(closed, _)| *closed == nth)
        }

        /// Whether the connection survives the message.
        pub(super) fn tell(&mut self, nth: u64, message: &ToRendezvous) -> bool {
            let bytes = codec::encode(message);
            let mut reader = codec::MessageReader::default();
            reader.push(&codec::preface());
            reader.push(&bytes);
            let body = reader.next_body().unwrap().unwrap();
            self.introducer.handle_message(ConnectionId(nth), &body, self.now, 0);
            self.drain();
            !self.closed.iter().any(|(closed, _)| *closed == nth)
        }

        pub(super) fn told(&mut self) -> Vec<(u64, FromRendezvous)> {
            self.drain();
            std::mem::take(&mut self.messages)
        }

        pub(super) fn drain(&mut self) {
            while let Some(action) = self.introducer.poll_action() {
                match action {
                    Action::Tell(ConnectionId(to), bytes) => {
                        let mut reader = codec::MessageReader::default();
                        reader.push(&codec::preface());
                        reader.push(&bytes);
                        let body = reader.next_body().unwrap().unwrap();
                        self.messages.push((to, codec::decode(&body).unwrap()));
                    }
                    Action::Close(ConnectionId(id), code, _) => self.closed.push((id, code)),
                    Action::Bind(..) | Action::Unbind(_) => {}
                }
            }
        }
    }

    fn introduction((to, message): &(u64, FromRendezvous)) -> Option<(u64, Introduction)> {
        match message {
            FromRendezvous::Introduction(introduction) => Some((*to, (**introduction).clone())),
            FromRendezvous::Welcome { .. }
            | FromRendezvous::Candidates { .. }
            | FromRendezvous::Left { .. }
            | FromRendezvous::Rules(_)
            | FromRendezvous::Draining => None,
        }
    }

    pub(super) fn peer(nth: u64) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&nth.to_be_bytes());
        PeerId::from_bytes(bytes)
    }

    pub(super) fn address(nth: u64) -> SocketAddr {
        SocketAddr::new([203, 0, 113, nth.to_le_bytes()[0]].into(), 4000)
    }

    pub(super) fn hello(nth: u64, room: u64) -> Hello {
        let secret = RoomSecret::from_bytes([room.to_le_bytes()[0]; 16]);
        Hello {
            room: secret.claim(None),
            tag: secret.tag(&secret.claim(None).room_id(), &peer(nth)),
            name: "somebody".parse().unwrap(),
            instance: nth,
            receives: true,
            host: None,
            reachability: reachable(Vec::new()),
        }
    }

    fn reachable(candidates: Vec<Candidate>) -> Reachability {
        Reachability { candidates, relay_only: false, mapping: Mapping::Unknown }
    }
}
