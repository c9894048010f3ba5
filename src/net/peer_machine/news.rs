//! What QUIC has to say, told to the node.

use std::net::SocketAddr;

use super::PeerMachine;
use crate::net::quic::{QuicEvent, QuicId};
use crate::node::Party;
use crate::path::synthetic::Synthetic;
use crate::units::{PeerId, Time};
use crate::wire::control::Close;

impl PeerMachine {
    pub(super) fn drain_quic(&mut self, now: Time) {
        while let Some(event) = self.quic.poll_event() {
            match event {
                QuicEvent::Connected { id, peer, remote } => self.handle_connected(id, peer, remote, now),
                QuicEvent::Answer { id } => match self.ids.get(&id).copied() {
                    Some(Party::Rendezvous) => self.node.handle_rendezvous_answer(now),
                    Some(Party::Peer(peer)) => self.node.handle_peer_answer(peer, now),
                    None => {}
                },
                QuicEvent::Message { id, body } => self.handle_message(id, &body, now),
                QuicEvent::Datagram { id, datagram } => {
                    if let Some(Party::Peer(peer)) = self.ids.get(&id).copied() {
                        self.node.handle_peer_datagram(peer, &datagram, now);
                    }
                }
                QuicEvent::Moved { .. } => {}
                QuicEvent::Closed { id, code, reason } => self.handle_closed(id, code, reason, now),
            }
        }
    }

    pub(super) fn handle_connected(&mut self, id: QuicId, peer: PeerId, remote: SocketAddr, now: Time) {
        if self.ids.get(&id) == Some(&Party::Rendezvous) {
            return self.node.handle_rendezvous_connected(now);
        }
        // Whoever comes through a peer's paths must be that peer.
        let expected = match Synthetic::of(remote) {
            Some(Synthetic::Peer(number)) => self.numbers.get(&number).copied(),
            Some(Synthetic::Rendezvous | Synthetic::Tunnel(_)) | None => None,
        };
        if expected != Some(peer) || !self.node.expects(&peer) {
            self.ids.remove(&id);
            self.quic.close(id, Close::NotAMember, "you are not the peer that was introduced", now);
            return;
        }
        if !self.ids.contains_key(&id) {
            self.disconnect(Party::Peer(peer), Close::Replaced, now);
        }
        self.attach(peer, id);
        self.node.handle_peer_connected(peer, now);
    }

    pub(super) fn handle_message(&mut self, id: QuicId, body: &[u8], now: Time) {
        let result = match self.ids.get(&id).copied() {
            Some(Party::Rendezvous) => self.node.handle_rendezvous_message(body, now),
            Some(Party::Peer(peer)) => self.node.handle_peer_message(peer, body, now),
            None => Ok(()),
        };
        if let Err(error) = result {
            self.quic.close(id, Close::Protocol, &error.to_string(), now);
            self.handle_closed(id, Some(Close::Protocol), error.to_string(), now);
        }
    }

    pub(super) fn handle_closed(&mut self, id: QuicId, code: Option<Close>, reason: String, now: Time) {
        match self.ids.remove(&id) {
            Some(Party::Rendezvous) => {
                self.control = None;
                self.node.handle_rendezvous_closed(reason, code, now);
            }
            Some(Party::Peer(peer)) => {
                if let Some(link) = self.peers.get_mut(&peer) {
                    link.connection = None;
                }
                tracing::debug!(?peer, reason, "connection to the peer closed");
                self.node.handle_peer_closed(peer, code, now);
            }
            None => {}
        }
    }
}
