//! Whose a datagram is: the rendezvous', a peer's by one of its ways, or nobody's.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use quinn_proto::EcnCodepoint;

use super::{PeerMachine, Place};
use crate::net::quic::Admission;
use crate::params::PEER_HANDSHAKES;
use crate::path::synthetic::Synthetic;
use crate::path::{Route, SocketIndex};
use crate::units::{PeerId, Time};
use crate::wire::control::RelayAddress;
use crate::wire::relay::{HEADER_LEN, Header, Kind};
use crate::wire::stun;

impl PeerMachine {
    pub(super) fn is_rendezvous(&self, from: Place) -> bool {
        match from {
            Place::Tunnel => true,
            Place::Udp(SocketIndex(0), address) => address == self.rendezvous,
            Place::Udp(..) => false,
        }
    }

    pub(super) fn handle_direct_stun(&mut self, from: Place, data: &[u8], now: Time) {
        if let Place::Udp(socket, remote) = from {
            self.node.handle_stun(Route::Direct { socket, remote }, data, now);
        }
    }

    pub(super) fn handle_relay(&mut self, from: Place, ecn: Option<EcnCodepoint>, mut data: BytesMut, now: Time) {
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

    pub(super) fn handle_peer_quic(&mut self, route: Route, ecn: Option<EcnCodepoint>, data: BytesMut, now: Time) {
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
    pub(super) fn feel_pulse(&mut self, peer: PeerId, now: Time) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        let Some(id) = link.connection else { return };
        let pulse = self.quic.pulse(id);
        let before = std::mem::replace(&mut link.pulse, pulse);
        if pulse.answered > before.answered {
            self.node.handle_answered(&peer, pulse.answered, self.quic.rtt(id));
        }
        if pulse.asked > before.asked {
            self.node.handle_asked(&peer, now);
        }
    }

    pub(super) fn handle_quic(&mut self, from: SocketAddr, ecn: Option<EcnCodepoint>, data: BytesMut, now: Time) {
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
}
