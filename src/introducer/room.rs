//! The rooms of the introducer: who sits where, who is told of whom, which relay sessions a pair has.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand_core::RngCore;

use super::{Action, ConnectionId, Introducer};
use crate::bucket::Bucket;
use crate::params::MAX_CANDIDATES;
use crate::path::synthetic::is_synthetic;
use crate::trust::PairSecret;
use crate::trust::rules::RuleBook;
use crate::units::{PeerId, RoomId, SessionId, Time};
use crate::wire::control::{
    Candidate, CandidateKind, Close, FromRendezvous, Hello, Introduction, LeftReason, Member, Reachability,
    RelayAddress, RelayOffer, Role,
};
use crate::wire::relay::{RelayKey, Side};

#[derive(Debug)]
pub(super) struct Room {
    pub(super) members: BTreeMap<PeerId, Seat>,
    /// Relay sessions of each pair, the one who was there first first.
    pub(super) sessions: BTreeMap<(PeerId, PeerId), Vec<SessionId>>,
    pub(super) book: RuleBook,
}

impl Room {
    pub(super) fn new(book: RuleBook) -> Self {
        Room { members: BTreeMap::new(), sessions: BTreeMap::new(), book }
    }
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) connection: ConnectionId,
    pub(super) member: Member,
    pub(super) reachability: Reachability,
}

impl Introducer {
    pub(super) fn handle_hello(&mut self, id: ConnectionId, hello: Hello, now: Time) {
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
        let room_id = hello.room.room_id();
        if let Some(why) = self.excludes(&hello.room, &peer, hello.host.as_ref()) {
            return self.put_out(id, &room_id, why, now);
        }
        if !self.rooms.contains_key(&room_id) && self.rooms.len() >= self.limits.rooms {
            return self.refuse(id, format!("the rendezvous has {} rooms and takes no more", self.rooms.len()));
        }
        let most = self.limits.peers_per_room;
        let room = self.open(&hello.room);
        let others = room.members.keys().filter(|member| **member != peer).count();
        if others >= most {
            return self.refuse(id, format!("the room is full: it has {others} members"));
        }
        if let Some(seat) = room.members.get(&peer) {
            let former = seat.connection;
            self.vacate(room_id, peer);
            self.close(former, Close::Replaced, "this peer has joined again".to_owned());
        }
        self.seat(id, peer, hello);
    }

    pub(super) fn seat(&mut self, id: ConnectionId, peer: PeerId, hello: Hello) {
        let Hello { room: claim, tag, name, instance, receives, host, reachability } = hello;
        let room_id = claim.room_id();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.room = Some(room_id);
        let observed = connection.address;
        self.tell(id, &FromRendezvous::Welcome { observed, stun_alternate: self.stun_alternate });
        let room = self.open(&claim);
        let host = host.filter(|pass| room.book.is_host(&peer, Some(pass)));
        let member = Member { id: peer, name, tag, instance, receives, host };
        let others: Vec<PeerId> = room.members.keys().copied().collect();
        room.members.insert(peer, Seat { connection: id, member, reachability });
        if let Some(rules) = room.book.held().cloned() {
            self.tell(id, &FromRendezvous::Rules(rules));
        }
        for other in others {
            self.introduce(room_id, other, peer);
        }
    }

    /// Tells `first`, who was there before, and `second` of each other.
    pub(super) fn introduce(&mut self, room_id: RoomId, first: PeerId, second: PeerId) {
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

    pub(super) fn handle_candidates(&mut self, id: ConnectionId, reachability: Reachability) {
        let Some((peer, Some(room_id))) = self.connections.get(&id).map(|c| (c.peer, c.room)) else {
            return self.close_malformed(id, "candidates before a hello".to_owned());
        };
        if let Some(seat) = self.rooms.get_mut(&room_id).and_then(|room| room.members.get_mut(&peer)) {
            seat.reachability = reachability;
        }
        self.spread(room_id, peer);
    }

    /// Tells the others in the room where `peer` may be reached now.
    pub(super) fn spread(&mut self, room_id: RoomId, peer: PeerId) {
        let Some(seen) = self.seen(room_id, peer) else { return };
        let message = FromRendezvous::Candidates { peer, reachability: seen.reachability };
        for to in self.others(room_id, peer) {
            self.tell(to, &message);
        }
    }

    /// The relay sessions of `peer` take its new address.
    pub(super) fn rebind(&mut self, room_id: RoomId, peer: PeerId, address: SocketAddr) {
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

    pub(super) fn others(&self, room_id: RoomId, peer: PeerId) -> Vec<ConnectionId> {
        let members = self.rooms.get(&room_id).into_iter().flat_map(|room| &room.members);
        members.filter(|(id, _)| **id != peer).map(|(_, seat)| seat.connection).collect()
    }

    /// Takes a member's seat and its relay sessions away.
    pub(super) fn vacate(&mut self, room_id: RoomId, peer: PeerId) {
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
            self.close_room(&room_id);
        }
    }

    /// A member is gone: the others are told.
    pub(super) fn unseat(&mut self, room_id: RoomId, peer: PeerId, reason: LeftReason) {
        let left = FromRendezvous::Left { peer, reason };
        for to in self.others(room_id, peer) {
            self.tell(to, &left);
        }
        self.vacate(room_id, peer);
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
