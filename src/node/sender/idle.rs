//! What goes to a peer only when nothing else does: trains that ask how much the way carries, and bulk.

use bytes::Bytes;

use super::Sender;
use crate::params::QUEUE_QUIET;
use crate::units::Time;
use crate::wire::chunk::CHUNK_HEADER_LEN;
use crate::wire::packet::{HEADER_LEN, wrap_sequence};

impl Sender {
    /// A packet that only asks how much the way carries.
    pub(super) fn next_of_train(&mut self, now: Time) -> Option<Bytes> {
        self.train_due().filter(|due| *due <= now)?;
        let mut packet = self.last_packet.clone().filter(|_| self.prober.is_due(self.estimator.rate(), now))?;
        let len = HEADER_LEN + packet.payload.len();
        packet.header.hop_sequence = wrap_sequence(self.history.handle_sent(len, None, now));
        // The estimate is not told: what a train takes is no sign of how much there is to send.
        self.sent.total += len as u64;
        self.sent.repair += len as u64;
        self.prober.handle_sent(len, now);
        Some(packet.encode())
    }

    /// A piece of bulk, which has a pace of its own.
    pub(super) fn next_of_bulk(&mut self, now: Time) -> Option<Bytes> {
        self.bulk_due().filter(|due| *due <= now)?;
        let mut chunk = self.bulk.poll(now)?;
        let len = CHUNK_HEADER_LEN + chunk.data.len();
        let sequence = self.history.handle_sent(len, None, now);
        chunk.hop_sequence = wrap_sequence(sequence);
        let datagram = chunk.encode();
        self.bulk.handle_sent(sequence, chunk);
        self.sent.total += len as u64;
        self.estimator.handle_sent(len, now);
        Some(datagram)
    }

    /// When a piece of bulk is due: only when nothing else waits.
    fn bulk_due(&self) -> Option<Time> {
        let due = self.bulk.poll_timeout().filter(|_| self.is_empty() && !self.estimator.is_trying_less());
        due.map(|due| due.max(self.uplink_free))
    }

    /// When something is due that goes only when nothing else does.
    pub(super) fn idle_due(&self) -> Option<Time> {
        self.train_due().into_iter().chain(self.bulk_due()).min()
    }

    /// When such a packet is due: only when nothing else waits, here or on the way, and the uplink is not what limits it.
    fn train_due(&self) -> Option<Time> {
        let is_free = self.is_empty() && self.last_packet.is_some() && self.queue_delay() <= QUEUE_QUIET;
        let may_grow = self.rate() == self.estimator.rate();
        self.prober.poll_timeout(self.rate()).filter(|_| is_free && may_grow)
    }
}
