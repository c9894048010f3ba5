//! Binding our address to relay sessions: token, challenge, answer, confirmation.
//!
//! The rendezvous binds the address it sees us at by itself, so for its own relay this is only needed when our address
//! changes without it noticing. A relay of its own must always be asked.

use std::collections::BTreeMap;

use super::event::Transmit;
use crate::params::{BIND_ATTEMPTS, BIND_INTERVAL};
use crate::units::{SessionId, Time};
use crate::wire::control::{RelayAddress, RelayOffer};
use crate::wire::relay::{RelayPacket, decode, encode};

/// Sessions being bound.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    pending: BTreeMap<SessionId, Pending>,
}

#[derive(Debug)]
struct Pending {
    offer: RelayOffer,
    attempts: u32,
    next: Time,
}

impl Bindings {
    /// Starts to bind our address to a session.
    pub(super) fn bind(&mut self, offer: &RelayOffer, now: Time) {
        self.pending.insert(offer.session, Pending { offer: offer.clone(), attempts: 0, next: now });
    }

    /// Starts to bind anew unless it is being done.
    pub(super) fn bind_if_idle(&mut self, offer: &RelayOffer, now: Time) {
        if !self.pending.contains_key(&offer.session) {
            self.bind(offer, now);
        }
    }

    /// A relay says something other than DATA. Gives the answer, and the session if it is bound now.
    pub(super) fn handle_datagram(
        &mut self,
        from: RelayAddress,
        bytes: &[u8],
    ) -> (Option<Transmit>, Option<SessionId>) {
        let Ok((header, packet)) = decode(bytes) else {
            return (None, None);
        };
        let Some(pending) = self.pending.get(&header.session).filter(|pending| pending.offer.relay == from) else {
            return (None, None);
        };
        match packet {
            RelayPacket::Challenge(cookie) => {
                let answer = RelayPacket::Answer(pending.offer.token, cookie);
                (Some(transmit(from, encode(0, 0, header.session, &answer))), None)
            }
            RelayPacket::Bound => {
                self.pending.remove(&header.session);
                (None, Some(header.session))
            }
            RelayPacket::Data(_) | RelayPacket::Bind(_) | RelayPacket::Answer(..) => (None, None),
        }
    }

    /// Requests that are due.
    pub(super) fn handle_timeout(&mut self, now: Time) -> Vec<Transmit> {
        let mut transmits = Vec::new();
        self.pending.retain(|_, pending| pending.attempts < BIND_ATTEMPTS);
        for pending in self.pending.values_mut().filter(|pending| pending.next <= now) {
            pending.attempts += 1;
            pending.next = now + BIND_INTERVAL;
            let request = RelayPacket::Bind(pending.offer.token);
            transmits.push(transmit(pending.offer.relay, encode(0, 0, pending.offer.session, &request)));
        }
        transmits
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.pending.values().map(|pending| pending.next).min()
    }
}

fn transmit(relay: RelayAddress, bytes: Vec<u8>) -> Transmit {
    match relay {
        RelayAddress::Rendezvous => Transmit::ToRendezvous(bytes),
        RelayAddress::Standalone(address) => Transmit::To(address, bytes),
    }
}
