//! What the rendezvous says: who is in the room, where they are, who has gone.

use std::net::SocketAddr;

use super::event::{Action, Event, Party};
use super::peer::{Link, Peer};
use super::{Node, talk};
use crate::params::{MAX_CANDIDATES, MAX_ROOM_MEMBERS};
use crate::path::candidate::{Vantage, probeable};
use crate::path::discovery::Discovery;
use crate::path::{AgentConfig, Keys, Route};
use crate::units::{PeerId, Time};
use crate::wire::codec::{self, CodecError};
use crate::wire::control::{
    Close, FromRendezvous, Hello, Introduction, LeftReason, Mapping, Reachability, RelayAddress, ToRendezvous,
};

impl Node {
    /// The control connection is up: we ask to be let in.
    pub fn handle_rendezvous_connected(&mut self, now: Time) {
        self.rendezvous.handle_connected(now);
        let room = self.book.room();
        let hello = Hello {
            room: self.config.secret.claim(self.config.host),
            tag: self.config.secret.tag(&room, &self.config.id),
            name: self.config.name.clone(),
            instance: self.config.instance,
            receives: self.config.receives,
            host: self.config.host_key.as_ref().map(|key| key.pass(&room, &self.config.id)),
            reachability: self.reachability(),
        };
        self.actions.push_back(talk::tell_rendezvous(&ToRendezvous::Hello(hello)));
    }

    /// The rendezvous takes part in the handshake of the control connection.
    pub fn handle_rendezvous_answer(&mut self, now: Time) {
        self.rendezvous.handle_answer(now);
    }

    /// Something came from the rendezvous.
    pub fn handle_rendezvous_received(&mut self, now: Time) {
        self.rendezvous.handle_received(now);
    }

    /// The control connection is gone, or did not come about; `reason` is for the person. A limit or an error of ours
    /// will not go away by asking again at once.
    pub fn handle_rendezvous_closed(&mut self, reason: String, code: Option<Close>, now: Time) {
        self.rendezvous.handle_closed(now);
        let is_final = match code {
            Some(Close::Limit) => self.rendezvous.observed.is_none(),
            Some(Close::Protocol | Close::NotAMember | Close::Replaced | Close::Removed | Close::Locked) => true,
            Some(Close::Leaving | Close::Timeout | Close::Shutdown) | None => false,
        };
        if is_final {
            self.rendezvous.stop();
        }
        self.events.push_back(Event::RendezvousLost { reason, is_final });
        self.handle_timeout(now);
    }

    /// A message of the rendezvous.
    ///
    /// # Errors
    /// When it does not decode; the connection is of no more use then.
    pub fn handle_rendezvous_message(&mut self, body: &[u8], now: Time) -> Result<(), CodecError> {
        let message: FromRendezvous = codec::decode(body)?;
        if let Err(error) = message.check() {
            self.events.push_back(Event::Trouble { peer: None, message: format!("from the rendezvous: {error}") });
            return Ok(());
        }
        match message {
            FromRendezvous::Welcome { observed, stun_alternate } => self.handle_welcome(observed, stun_alternate, now),
            FromRendezvous::Introduction(introduction) => self.handle_introduction(*introduction, now),
            FromRendezvous::Candidates { peer, reachability } => self.handle_candidates(peer, reachability, now),
            FromRendezvous::Left { peer, reason } => self.handle_left(peer, reason, now),
            FromRendezvous::Rules(rules) => self.handle_rules(rules, Some(Party::Rendezvous), now),
            FromRendezvous::Draining => {
                let reason = "the rendezvous goes down for a moment".to_owned();
                self.events.push_back(Event::RendezvousLost { reason, is_final: false });
            }
        }
        self.handle_timeout(now);
        Ok(())
    }

    /// Leaves the room: everybody is told.
    pub fn leave(&mut self, now: Time) {
        self.rendezvous.stop();
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.actions.push_back(Action::Disconnect(Party::Peer(peer), Close::Leaving));
            self.forget(peer);
        }
        self.actions.push_back(Action::Disconnect(Party::Rendezvous, Close::Leaving));
        self.handle_timeout(now);
    }

    fn handle_welcome(&mut self, observed: SocketAddr, stun_alternate: Option<SocketAddr>, now: Time) {
        self.rendezvous.handle_welcome(observed);
        self.stun_alternate = stun_alternate;
        if self.discovery.is_none() {
            self.discover(now);
        }
        self.events.push_back(Event::Joined { observed });
        self.remind_rendezvous();
    }

    /// Learns anew how our NAT maps and where the rendezvous sees us.
    pub(super) fn discover(&mut self, now: Time) {
        let may_ask = self.may_go_direct() && !self.is_tunnelled;
        if let Some(alternate) = self.stun_alternate.filter(|_| may_ask) {
            let seed = self.next_seed();
            self.discovery = Some(Discovery::new(self.rendezvous_address, alternate, seed, now));
        }
    }

    /// What was asked of the rendezvous has been answered: others must know, and what may be probed has changed.
    pub(super) fn handle_discovered(&mut self, now: Time) {
        if let Some(seen) = self.discovery.as_ref().and_then(Discovery::seen) {
            self.rendezvous.observed = Some(seen);
        }
        let known = self.peers.iter().map(|(id, peer)| (*id, peer.reachability.clone()));
        for (id, reachability) in known.collect::<Vec<_>>() {
            self.handle_candidates(id, reachability, now);
        }
        self.tell_reachability();
        self.handle_timeout(now);
    }

    fn handle_introduction(&mut self, introduction: Introduction, now: Time) {
        let member = &introduction.peer;
        let id = member.id;
        if id == self.config.id || !self.config.secret.check(&self.book.room(), &id, &member.tag) {
            let message = format!("{} does not hold the room's secret and is ignored", member.name);
            self.events.push_back(Event::Trouble { peer: Some(id), message });
            return;
        }
        if self.book.excludes(&id, self.book.is_host(&id, member.host.as_ref())).is_some() {
            return tracing::debug!(peer = ?id, "the host does not let it be in the room");
        }
        if self.peers.get(&id).is_some_and(|peer| peer.member.instance != member.instance) {
            self.actions.push_back(Action::Disconnect(Party::Peer(id), Close::Replaced));
            self.handle_gone(id, LeftReason::Lost);
        }
        if !self.peers.contains_key(&id) && self.peers.len() >= MAX_ROOM_MEMBERS {
            let message = format!("the room has more than {MAX_ROOM_MEMBERS} members; {} is ignored", member.name);
            self.events.push_back(Event::Trouble { peer: Some(id), message });
            return;
        }
        self.meet(introduction, now);
        self.want_key_frames(now);
    }

    /// Takes what an introduction says, be the peer new or known.
    fn meet(&mut self, introduction: Introduction, now: Time) {
        let Introduction { peer: member, pair, role, reachability, relays } = introduction;
        let id = member.id;
        let keys = Keys::new(&self.config.secret, &pair, &self.config.id, &id);
        let config =
            AgentConfig { policy: self.config.policy, may_gamble: self.config.may_gamble, seed: self.next_seed() };
        let playout = self.config.playout;
        let peer = self
            .peers
            .entry(id)
            .and_modify(|peer| peer.agent.rekey(keys.clone()))
            .or_insert_with(|| Peer::new(member.clone(), role, config, keys.clone(), playout, now));
        // Both sides hear of their roles together; what matters is only that they agree when a connection is to be opened.
        peer.role = role;
        if !peer.is_connected() {
            peer.link = Link::Down { retry: now };
        }
        peer.is_host = self.book.is_host(&id, member.host.as_ref());
        peer.member = member;
        peer.is_in_room = true;
        peer.agent.keep_relays(|route| {
            relays.iter().any(|offer| *route == Route::Relay { relay: offer.relay, session: offer.session })
        });
        self.sources.retain(|route, source| *source != id || route.is_direct());
        for offer in &relays {
            let route = Route::Relay { relay: offer.relay, session: offer.session };
            match offer.relay {
                RelayAddress::Rendezvous => peer.agent.add_relay(route, true, now),
                RelayAddress::Standalone(_) => self.bindings.bind(offer, now),
            }
        }
        peer.offers = relays;
        self.handle_candidates(id, reachability, now);
    }

    fn handle_candidates(&mut self, id: PeerId, reachability: Reachability, now: Time) {
        let Some(observed) = self.rendezvous.observed else {
            return;
        };
        let ours = self.mapping();
        let vantage = Vantage { ours: observed, rendezvous: self.rendezvous_address };
        let may_go_direct = self.may_go_direct();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.mapping = reachability.mapping;
        if may_go_direct {
            let candidates = probeable(&reachability, &vantage);
            peer.agent.probe(&candidates, ours, reachability.mapping, now);
        }
        peer.reachability = reachability;
    }

    fn handle_left(&mut self, id: PeerId, reason: LeftReason, _now: Time) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.is_in_room = false;
        // Whether somebody is removed is not the rendezvous' to say.
        let goes_on = reason != LeftReason::Left && peer.is_connected();
        if !goes_on && !peer.is_put_out() {
            self.actions.push_back(Action::Disconnect(Party::Peer(id), Close::Leaving));
            self.handle_gone(id, reason);
        }
    }

    /// The peer is gone for good.
    pub(super) fn handle_gone(&mut self, id: PeerId, reason: LeftReason) {
        if self.forget(id).is_some_and(|peer| peer.was_announced) {
            self.events.push_back(Event::PeerLeft { peer: id, reason });
        }
    }

    fn forget(&mut self, id: PeerId) -> Option<Peer> {
        self.sources.retain(|_, source| *source != id);
        self.peers.remove(&id)
    }

    /// Tells the rendezvous, and through it everybody, where we may be reached now.
    pub(super) fn tell_reachability(&mut self) {
        if self.rendezvous.is_connected() && self.rendezvous.observed.is_some() {
            let message = ToRendezvous::Candidates(self.reachability());
            self.actions.push_back(talk::tell_rendezvous(&message));
        }
    }

    fn reachability(&self) -> Reachability {
        let mut candidates = Vec::new();
        if self.may_go_direct() {
            // One place is for the address the rendezvous sees.
            let reported = self.reflexives.candidates();
            candidates.extend(reported.into_iter().chain(self.local.iter().copied()).take(MAX_CANDIDATES - 1));
        }
        Reachability { candidates, relay_only: !self.may_go_direct(), mapping: self.mapping() }
    }

    fn mapping(&self) -> Mapping {
        self.discovery.as_ref().map_or(Mapping::Unknown, Discovery::mapping)
    }
}
