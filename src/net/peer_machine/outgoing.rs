//! Where what is sent goes: straight, through a relay, or to the rendezvous.

use std::collections::BTreeSet;

use super::{Outgoing, PeerMachine, Place};
use crate::node::{Party, Transmit};
use crate::path::uplink::Via;
use crate::path::{Route, SocketIndex};
use crate::units::{PeerId, Time};
use crate::wire::control::RelayAddress;
use crate::wire::relay::{HEADER_LEN, Header, Kind};

impl PeerMachine {
    /// Hands QUIC what matters most and it has room for; whether there was any.
    pub(super) fn refill(&mut self, now: Time) -> bool {
        while let Some((peer, report)) = self.node.poll_report(now) {
            if let Some(id) = self.connection(Party::Peer(peer)) {
                self.quic.send_datagram(id, report);
            }
        }
        let mut blocked = BTreeSet::new();
        while let Some(peer) = self.node.most_urgent(|peer| !blocked.contains(peer), now) {
            if self.refill_for(peer, &blocked, now) {
                return true;
            }
            blocked.insert(peer);
        }
        false
    }

    /// Hands QUIC what goes to the peer whose turn it is, until it is another's of those that have room; whether there was any.
    fn refill_for(&mut self, peer: PeerId, blocked: &BTreeSet<PeerId>, now: Time) -> bool {
        let Some(id) = self.connection(Party::Peer(peer)) else { return false };
        let room = self.quic.datagram_room(id);
        for sent in 0..room {
            let Some(datagram) = self.node.poll_datagram(&peer, now) else { return sent > 0 };
            self.quic.send_datagram(id, datagram);
            let next = self.node.most_urgent(|other| !blocked.contains(other), now);
            if next.is_some_and(|next| next != peer) {
                return true;
            }
        }
        room > 0
    }

    pub(super) fn place_of_rendezvous(&mut self, now: Time) -> Place {
        self.uplink.handle_sent(now);
        match self.uplink.via() {
            Via::Udp => Place::Udp(SocketIndex(0), self.rendezvous),
            Via::Tunnel => Place::Tunnel,
        }
    }

    pub(super) fn place_of_peer(
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
    pub(super) fn enroute(&self, route: Route, buffer: &mut Vec<u8>, segment: Option<usize>) -> (Place, Option<usize>) {
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

    pub(super) fn relay_place(&self, relay: RelayAddress) -> Place {
        match (relay, self.uplink.via()) {
            (RelayAddress::Rendezvous, Via::Tunnel) => Place::Tunnel,
            (RelayAddress::Rendezvous, Via::Udp) => Place::Udp(SocketIndex(0), self.rendezvous),
            (RelayAddress::Standalone(address), _) => Place::Udp(SocketIndex(0), address),
        }
    }

    /// Finds the place for something of the node's own.
    pub(super) fn address(&mut self, transmit: Transmit, buffer: &mut Vec<u8>, now: Time) -> Option<Outgoing> {
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
}
