//! What is in no hurry: files, and whatever else programs give each other whole.

use bytes::Bytes;

use super::Node;
use crate::params::{BULK_WINDOW, MAX_TRANSFERS, PACKET_PAYLOAD};
use crate::units::{PeerId, TransferId};
use crate::wire::chunk::Chunk;

/// Why bulk is not sent or taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BulkError {
    /// Nobody is there by this name.
    #[error("there is no peer {0} to exchange bulk with")]
    NoPeer(PeerId),
    /// More than may be on its way.
    #[error("{len} bytes of bulk where {room} have room; at most {BULK_WINDOW} may be on their way to one peer")]
    Full {
        /// Bytes that were to be sent.
        len: usize,
        /// Bytes that could be.
        room: usize,
    },
    /// Too many transfers.
    #[error("more than {MAX_TRANSFERS} transfers of one peer at a time")]
    Transfers,
}

impl Node {
    /// Sends a piece of a transfer to a peer, in no hurry: it arrives, though behind all media, and for as long as the
    /// peer is in the room; a connection that breaks and comes back makes no difference.
    ///
    /// # Errors
    /// When the peer is not there, or more would be on its way than [`BULK_WINDOW`].
    pub fn send_bulk(
        &mut self,
        peer: PeerId,
        transfer: TransferId,
        offset: u64,
        data: &Bytes,
    ) -> Result<(), BulkError> {
        let bulk = self.peers.get_mut(&peer).ok_or(BulkError::NoPeer(peer))?.sender.bulk();
        let (len, room) = (data.len(), bulk.room());
        if len > room {
            return Err(BulkError::Full { len, room });
        }
        for at in (0..len).step_by(PACKET_PAYLOAD) {
            let data = data.slice(at..len.min(at + PACKET_PAYLOAD));
            bulk.push(Chunk { hop_sequence: 0, transfer, offset: offset.saturating_add(at as u64), data });
        }
        Ok(())
    }

    /// What is still to be sent of a transfer is of no more use.
    pub fn cancel_bulk(&mut self, peer: PeerId, transfer: TransferId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.sender.bulk().forget(transfer);
        }
    }

    /// Takes a transfer of a peer's up to this byte, or no longer if that is 0. What was not asked for is dropped.
    ///
    /// # Errors
    /// When the peer is not there, or has [`MAX_TRANSFERS`] on their way already.
    pub fn accept_bulk(&mut self, peer: PeerId, transfer: TransferId, until: u64) -> Result<(), BulkError> {
        let watch = &mut self.peers.get_mut(&peer).ok_or(BulkError::NoPeer(peer))?.watch;
        if watch.accept(transfer, until) { Ok(()) } else { Err(BulkError::Transfers) }
    }
}
