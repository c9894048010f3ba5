//! The rendezvous as one machine: who is in which room, and who must be introduced to whom.
//!
//! In: connections with proven identities, their messages, the addresses they come from, the time. Out: messages, closed
//! connections, and relay sessions to bind. Whoever enters a room is introduced to every member, both sides at the same
//! moment; the one who was there first opens the connection. The introducer never sees the room's secret, so it can
//! introduce but not join.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::bucket::Bucket;
use crate::limits::Limits;
use crate::params::{MAX_CANDIDATES, RELAY_TOKEN_LIFE_S};
use crate::path::candidate::canonical;
use crate::path::synthetic::is_synthetic;
use crate::trust::PairSecret;
use crate::units::{PeerId, RoomId, SessionId, Time};
use crate::wire::codec;
use crate::wire::control::Close;
use crate::wire::control::{
    Candidate, CandidateKind, FromRendezvous, Hello, Introduction, LeftReason, Member, Reachability, RelayAddress,
    RelayOffer, Role, ToRendezvous,
};
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
}

#[derive(Debug, Default)]
struct Room {
    members: BTreeMap<PeerId, Seat>,
    /// Relay sessions of each pair, the one who was there first first.
    sessions: BTreeMap<(PeerId, PeerId), Vec<SessionId>>,
}

#[derive(Debug)]
struct Seat {
    connection: ConnectionId,
    member: Member,
    reachability: Reachability,
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
        self.connections.insert(id, Connection { peer, address, since: now, messages, room: None });
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
        }
    }

    /// Closes connections that have not said who they want to meet in time.
    pub fn handle_timeout(&mut self, now: Time) {
        let span = self.limits.hello;
        let is_late = |connection: &Connection| connection.room.is_none() && now.since(connection.since) >= span;
        let late: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, connection)| is_late(connection)).map(|(id, _)| *id).collect();
        for id in late {
            self.close(id, Close::Timeout, format!("no hello within {span:?}"));
        }
        let full = self.limits.handshakes_per_minute * 60;
        self.hellos.retain(|_, bucket| !bucket.holds(full, now));
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let waiting = self.connections.values().filter(|connection| connection.room.is_none());
        waiting.map(|connection| connection.since + self.limits.hello).min()
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

    fn handle_hello(&mut self, id: ConnectionId, hello: Hello, now: Time) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (peer, ip) = (connection.peer, connection.address.ip());
        if connection.room.is_some() {
            return self.close_malformed(id, "a second hello".to_owned());
        }
        let rate = self.limits.handshakes_per_minute;
        // A bucket counts by the second: sixty of its units are one join.
        let bucket = self.hellos.entry(ip).or_insert_with(|| Bucket::new(rate, rate * 60, now));
        if !bucket.take(60, now) {
            return self.refuse(id, format!("more than {rate} joins a minute from {ip}; try again in a minute"));
        }
        if !self.rooms.contains_key(&hello.room) && self.rooms.len() >= self.limits.rooms {
            return self.refuse(id, format!("the rendezvous has {} rooms and takes no more", self.rooms.len()));
        }
        let room = self.rooms.entry(hello.room).or_default();
        let others = room.members.keys().filter(|member| **member != peer).count();
        if others >= self.limits.peers_per_room {
            return self.refuse(id, format!("the room is full: it has {others} members"));
        }
        if let Some(seat) = room.members.get(&peer) {
            let former = seat.connection;
            self.vacate(hello.room, peer);
            self.close(former, Close::Replaced, "this peer has joined again".to_owned());
        }
        self.seat(id, peer, hello);
    }

    fn seat(&mut self, id: ConnectionId, peer: PeerId, hello: Hello) {
        let Hello { room: room_id, tag, name, instance, receives, reachability } = hello;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.room = Some(room_id);
        let observed = connection.address;
        self.tell(id, &FromRendezvous::Welcome { observed, stun_alternate: self.stun_alternate });
        let member = Member { id: peer, name, tag, instance, receives };
        let room = self.rooms.entry(room_id).or_default();
        let others: Vec<PeerId> = room.members.keys().copied().collect();
        room.members.insert(peer, Seat { connection: id, member, reachability });
        for other in others {
            self.introduce(room_id, other, peer);
        }
    }

    /// Tells `first`, who was there before, and `second` of each other.
    fn introduce(&mut self, room_id: RoomId, first: PeerId, second: PeerId) {
        let mut secret = [0; 32];
        self.rng.fill_bytes(&mut secret);
        let pair = PairSecret::from_bytes(secret);
        let offers = self.open_sessions(room_id, first, second);
        let (Some(of_first), Some(of_second)) = (self.seen(room_id, first), self.seen(room_id, second)) else { return };
        self.stats.introductions += 1;
        for (to, about, role, side) in
            [(&of_first, &of_second, Role::Opens, Side::First), (&of_second, &of_first, Role::Accepts, Side::Second)]
        {
            let introduction = Introduction {
                peer: about.member.clone(),
                pair: pair.clone(),
                role,
                reachability: about.reachability.clone(),
                relays: offers.iter().map(|offer| offer.for_side(side)).collect(),
            };
            self.tell(to.connection, &FromRendezvous::Introduction(Box::new(introduction)));
        }
    }

    /// New relay sessions for a pair, bound where we can bind them.
    fn open_sessions(&mut self, room_id: RoomId, first: PeerId, second: PeerId) -> Vec<PairOffer> {
        let own = self.relays.own.clone().map(|key| (RelayAddress::Rendezvous, key));
        let others = self.relays.others.iter().map(|(at, key)| (RelayAddress::Standalone(*at), key.clone()));
        let relays: Vec<_> = own.into_iter().chain(others).collect();
        let expiry = self.token_expiry;
        let offers: Vec<PairOffer> = relays
            .into_iter()
            .map(|(relay, key)| PairOffer { relay, key, session: SessionId(self.rng.next_u32()), expiry })
            .collect();
        for offer in offers.iter().filter(|offer| offer.relay == RelayAddress::Rendezvous) {
            for (peer, side) in [(first, Side::First), (second, Side::Second)] {
                if let Some(seen) = self.seen(room_id, peer) {
                    self.actions.push_back(Action::Bind(offer.session, side, seen.address));
                }
            }
        }
        if let Some(room) = self.rooms.get_mut(&room_id) {
            let sessions = offers.iter().filter(|offer| offer.relay == RelayAddress::Rendezvous);
            room.sessions.insert((first, second), sessions.map(|offer| offer.session).collect());
        }
        offers
    }

    fn handle_candidates(&mut self, id: ConnectionId, reachability: Reachability) {
        let Some((peer, Some(room_id))) = self.connections.get(&id).map(|c| (c.peer, c.room)) else {
            return self.close_malformed(id, "candidates before a hello".to_owned());
        };
        if let Some(seat) = self.rooms.get_mut(&room_id).and_then(|room| room.members.get_mut(&peer)) {
            seat.reachability = reachability;
        }
        self.spread(room_id, peer);
    }

    /// Tells the others in the room where `peer` may be reached now.
    fn spread(&mut self, room_id: RoomId, peer: PeerId) {
        let Some(seen) = self.seen(room_id, peer) else { return };
        let message = FromRendezvous::Candidates { peer, reachability: seen.reachability };
        for to in self.others(room_id, peer) {
            self.tell(to, &message);
        }
    }

    /// The relay sessions of `peer` take its new address.
    fn rebind(&mut self, room_id: RoomId, peer: PeerId, address: SocketAddr) {
        let Some(room) = self.rooms.get(&room_id) else { return };
        for ((first, second), sessions) in &room.sessions {
            let side = match peer {
                peer if peer == *first => Side::First,
                peer if peer == *second => Side::Second,
                _ => continue,
            };
            self.actions.extend(sessions.iter().map(|session| Action::Bind(*session, side, address)));
        }
    }

    /// How the others are to see a member: with the address we see, unless it wants none known.
    fn seen(&self, room_id: RoomId, peer: PeerId) -> Option<Seen> {
        let seat = self.rooms.get(&room_id)?.members.get(&peer)?;
        let address = self.connections.get(&seat.connection)?.address;
        let mut reachability = seat.reachability.clone();
        // Only we vouch for what we saw ourselves.
        reachability.candidates.retain(|candidate| candidate.kind != CandidateKind::Reflexive);
        if reachability.relay_only {
            reachability.candidates.clear();
        } else if !is_synthetic(address.ip()) {
            reachability.candidates.truncate(MAX_CANDIDATES - 1);
            reachability.candidates.push(Candidate { kind: CandidateKind::Reflexive, address });
        }
        Some(Seen { connection: seat.connection, member: seat.member.clone(), address, reachability })
    }

    fn others(&self, room_id: RoomId, peer: PeerId) -> Vec<ConnectionId> {
        let members = self.rooms.get(&room_id).into_iter().flat_map(|room| &room.members);
        members.filter(|(id, _)| **id != peer).map(|(_, seat)| seat.connection).collect()
    }

    fn drop_connection(&mut self, id: ConnectionId, reason: LeftReason) {
        let Some(connection) = self.connections.remove(&id) else { return };
        decrease(&mut self.per_address, connection.address.ip());
        let Some(room_id) = connection.room else { return };
        let peer = connection.peer;
        let is_seated = self.rooms.get(&room_id).and_then(|room| room.members.get(&peer));
        if is_seated.is_some_and(|seat| seat.connection == id) {
            let left = FromRendezvous::Left { peer, reason };
            for to in self.others(room_id, peer) {
                self.tell(to, &left);
            }
            self.vacate(room_id, peer);
        }
    }

    /// Takes a member's seat and its relay sessions away.
    fn vacate(&mut self, room_id: RoomId, peer: PeerId) {
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        room.members.remove(&peer);
        let actions = &mut self.actions;
        room.sessions.retain(|(first, second), sessions| {
            let stays = *first != peer && *second != peer;
            if !stays {
                actions.extend(sessions.iter().map(|session| Action::Unbind(*session)));
            }
            stays
        });
        if room.members.is_empty() {
            self.rooms.remove(&room_id);
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

/// A relay session of a pair, before it is told which side is which.
struct PairOffer {
    relay: RelayAddress,
    key: RelayKey,
    session: SessionId,
    expiry: u64,
}

impl PairOffer {
    fn for_side(&self, side: Side) -> RelayOffer {
        let token = self.key.token(self.session, side, self.expiry);
        RelayOffer { relay: self.relay, session: self.session, token }
    }
}

/// A member as the others are to see it.
struct Seen {
    connection: ConnectionId,
    member: Member,
    address: SocketAddr,
    reachability: Reachability,
}

fn decrease(counts: &mut BTreeMap<IpAddr, usize>, ip: IpAddr) {
    if let Some(count) = counts.get_mut(&ip) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&ip);
        }
    }
}
