//! What leaves for all peers, through the one uplink they share: whose turn it is, and how much each may take.

use bytes::Bytes;

use super::Node;
use super::peer::Peer;
use crate::units::{Bitrate, PeerId, Time};

impl Node {
    /// The next datagram of media for a peer, if any is due and its connection has room.
    pub fn poll_datagram(&mut self, id: &PeerId, now: Time) -> Option<Bytes> {
        let peer = self.peers.get_mut(id).filter(|peer| peer.is_connected())?;
        let datagram = peer.sender.poll(self.coupling.free_at(now), now);
        if let Some(track) = peer.sender.take_lacks_key(now) {
            self.handle_key_frame_request(id, track, now);
        }
        let datagram = datagram?;
        let peer = self.peers.get_mut(id)?;
        peer.meter.handle_sent(datagram.len());
        self.coupling.handle_sent(datagram.len(), now);
        Some(datagram)
    }

    /// The next report about what a peer has sent, if one is due, and to whom it goes. It must not wait for media.
    pub fn poll_report(&mut self, now: Time) -> Option<(PeerId, Bytes)> {
        let mut up = self.peers.iter_mut().filter(|(_, peer)| peer.is_connected());
        up.find_map(|(id, peer)| Some((*id, peer.watch.poll_feedback(peer.sender.is_narrow(), now)?)))
    }

    /// The peer to ask [`Self::poll_datagram`] for next: whose next packet matters most; among its like, who got least.
    pub fn most_urgent(&self, is_ready: impl Fn(&PeerId) -> bool, now: Time) -> Option<PeerId> {
        let up = self.peers.iter().filter(|(id, peer)| peer.is_connected() && is_ready(id));
        let waiting = up.filter_map(|(id, peer)| Some((peer.sender.urgency(now)?, peer.sender.media(now), *id)));
        waiting.min().map(|(_, _, id)| id)
    }

    /// All that may be sent now has been, as far as there is room for it.
    pub fn handle_flushed(&mut self, now: Time) {
        self.peers.values_mut().for_each(|peer| peer.sender.handle_flushed(now));
    }

    /// Whether media still waits to be sent.
    pub fn has_unsent(&self) -> bool {
        self.peers.values().any(|peer| peer.is_connected() && !peer.sender.is_empty())
    }

    /// What goes to everybody now, but for bulk.
    pub(super) fn media(&self, now: Time) -> Bitrate {
        let up = self.peers.values().filter(|peer| peer.is_connected());
        Bitrate::from_bits(up.map(|peer| peer.sender.media(now).as_bits()).sum())
    }

    /// Gives each peer its part of what the uplink carries.
    pub(super) fn share_uplink(&mut self, now: Time) {
        let mut up: Vec<&mut Peer> = self.peers.values_mut().filter(|peer| peer.is_connected()).collect();
        let share = self.coupling.share(up.iter().map(|peer| peer.sender.demand(now)).collect(), now);
        up.iter_mut().for_each(|peer| peer.sender.set_share(share));
    }
}
