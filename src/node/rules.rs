//! What the host of the room has decided, and how a peer lives by it.
//!
//! Rules come from our own person if that is the host, from the rendezvous and from every peer; whoever learns of newer ones
//! passes them on. Only the host's signature counts: a rendezvous that ignores them, or invents some, changes nothing.

use super::event::{Action, Event, Party};
use super::peer::Link;
use super::{Node, talk};
use crate::params::PUT_OUT_TIME;
use crate::trust::rules::{Exclusion, Rules, RulesError, SignedRules};
use crate::units::{PeerId, Time};
use crate::wire::control::{LeftReason, ToPeer, ToRendezvous};

/// What the host of a room may decide.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Whether nobody but hosts may be heard.
    Mute(bool),
    /// Whether nobody new is let in.
    Lock(bool),
    /// Somebody is put out, for good.
    Remove(PeerId),
}

/// Why an order is not followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// The link has no key.
    #[error("only the host of the room can do that: whoever entered with the host's link")]
    NotHost,
    /// Leaving is the way for that.
    #[error("the host cannot be removed from the room; leave it instead")]
    Ourselves,
    /// They could undo it.
    #[error("{0} is a host of the room too and cannot be removed")]
    Host(PeerId),
    /// The rules cannot be.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

impl Node {
    /// The host decides something: everybody learns of it, with or without the rendezvous.
    ///
    /// # Errors
    /// When we are not the host, or the order cannot be followed.
    pub fn order(&mut self, order: Order, now: Time) -> Result<(), OrderError> {
        let key = self.config.host_key.clone().ok_or(OrderError::NotHost)?;
        let before = self.book.rules().cloned().unwrap_or_else(|| Rules::none(self.book.room()));
        let mut rules = before.clone();
        match order {
            Order::Mute(is_muted) => rules.is_muted = is_muted,
            Order::Lock(false) => rules.admitted = None,
            Order::Lock(true) => rules.admitted = rules.admitted.or_else(|| Some(self.present())),
            Order::Remove(peer) if peer == self.config.id => return Err(OrderError::Ourselves),
            Order::Remove(peer) if self.is_host(&peer) => return Err(OrderError::Host(peer)),
            Order::Remove(peer) if rules.removed.contains(&peer) => {}
            Order::Remove(peer) => rules.removed.push(peer),
        }
        if rules != before {
            rules.number = rules.number.saturating_add(1);
            self.handle_rules(rules.sign(&key)?, None, now);
        }
        Ok(())
    }

    /// Whether our own sound goes to nobody, because the host wants it so.
    pub(super) fn is_silenced(&self) -> bool {
        self.book.is_muted() && self.config.host_key.is_none()
    }

    /// Rules have come `from` somebody, or were made by us.
    pub(super) fn handle_rules(&mut self, signed: SignedRules, from: Option<Party>, now: Time) {
        match self.book.take(signed.clone()) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::debug!(?from, %error, "rules dropped"),
        }
        self.pass_on(&signed, from);
        self.events.push_back(Event::Rules(signed.rules().clone()));
        if let Some(why) = self.book.excludes(&self.config.id, self.config.host_key.is_some()) {
            self.leave(now);
            return self.events.push_back(Event::Excluded(why));
        }
        let excluded = self.peers.iter().filter_map(|(id, peer)| self.book.excludes(id, peer.is_host).map(|_| *id));
        for id in excluded.collect::<Vec<_>>() {
            self.put_out(id, now);
        }
        self.handle_timeout(now);
    }

    /// A rendezvous that has let us in may have forgotten the rules.
    pub(super) fn remind_rendezvous(&mut self) {
        if let Some(rules) = self.book.held().cloned() {
            self.actions.push_back(talk::tell_rendezvous(&ToRendezvous::Rules(rules)));
        }
    }

    /// A peer we have just met may not know the rules.
    pub(super) fn tell_rules(&mut self, id: PeerId) {
        if let Some(rules) = self.book.held().cloned() {
            self.actions.push_back(talk::tell_peer(id, &ToPeer::Rules(rules)));
        }
    }

    fn pass_on(&mut self, signed: &SignedRules, from: Option<Party>) {
        if self.rendezvous.is_connected() && from != Some(Party::Rendezvous) {
            self.actions.push_back(talk::tell_rendezvous(&ToRendezvous::Rules(signed.clone())));
        }
        let message = ToPeer::Rules(signed.clone());
        let up = self.peers.iter().filter(|(id, peer)| peer.is_connected() && from != Some(Party::Peer(**id)));
        self.actions.extend(up.map(|(id, _)| talk::tell_peer(*id, &message)));
    }

    /// From now on nothing goes to the peer and nothing of it is taken; its connection lasts until it has learnt why.
    fn put_out(&mut self, id: PeerId, now: Time) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.is_in_room = false;
        if std::mem::take(&mut peer.was_announced) {
            self.events.push_back(Event::PeerLeft { peer: id, reason: LeftReason::Removed });
        }
        match peer.link {
            Link::Greeting(_) | Link::Up => peer.link = Link::PutOut { until: now + PUT_OUT_TIME },
            Link::PutOut { .. } => {}
            Link::Down { .. } | Link::Opening(_) => self.drop_excluded(id),
        }
    }

    /// The time of a peer that was put out is over.
    pub(super) fn drop_excluded(&mut self, id: PeerId) {
        let why = self.book.excludes(&id, false).unwrap_or(Exclusion::Removed);
        self.actions.push_back(Action::Disconnect(Party::Peer(id), why.into()));
        self.handle_gone(id, LeftReason::Removed);
    }

    /// Everybody who is in the room, as far as we know.
    fn present(&self) -> Vec<PeerId> {
        let others = self.peers.iter().filter(|(_, peer)| !peer.is_put_out()).map(|(id, _)| *id);
        others.chain([self.config.id]).collect()
    }

    fn is_host(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.is_host)
    }
}
