//! What goes to a peer as it goes: numbered, counted, and sound with copies of the sounds before it.

use std::iter;

use bytes::Bytes;

use super::{Sender, signed};
use crate::media::parity::protect;
use crate::params::{MAX_BUNDLE, SOUND_RATE};
use crate::rate::queue::{Next, Packets};
use crate::units::Time;
use crate::wire::packet::{HEADER_LEN, Packet, wrap_sequence};
use crate::wire::repair::{Bundle, PARITY_HEADER_LEN, Parity};

impl Sender {
    /// A sound with copies of those before it, or a part of one that is too long for them.
    pub(super) fn send_sound(&mut self, next: Next, now: Time) -> Option<Bytes> {
        let own = next.packets.get(next.index)?.clone();
        let copied = match next.packets.len() {
            1 => self.copies.carried_by(&own, self.sound_copies(), &self.repair),
            _ => Vec::new(),
        };
        if copied.is_empty() {
            return Some(self.send_packet(own, Some((next.packets, next.index)), false, now));
        }
        let repair: usize = copied.iter().map(|packet| packet.payload.len()).sum();
        let mut bundle = Bundle { hop_sequence: 0, packets: iter::once(own).chain(copied).collect() };
        let len = bundle.encode().len();
        bundle.hop_sequence = wrap_sequence(self.history.handle_sent(len, Some((next.packets, next.index)), now));
        self.count(len, repair, now);
        Some(bundle.encode())
    }

    pub(super) fn send_packet(
        &mut self,
        mut packet: Packet,
        origin: Option<(Packets, usize)>,
        is_repair: bool,
        now: Time,
    ) -> Bytes {
        let len = HEADER_LEN + packet.payload.len();
        packet.header.hop_sequence = wrap_sequence(self.history.handle_sent(len, origin, now));
        self.repair_credit -= if is_repair { signed(len) } else { 0 };
        self.count(len, if is_repair { len } else { 0 }, now);
        packet.encode()
    }

    /// Puts the parity of a picture in line, of which the last packet goes now.
    pub(super) fn protect(&mut self, packets: &Packets, now: Time) {
        // What nothing depends on is only sent again, unless there is room.
        let is_base = packets.first().is_some_and(|packet| packet.header.temporal_layer == 0);
        if !(is_base || self.is_roomy) || !self.carries_parity() {
            return;
        }
        let count = self.repair.parity(packets.len(), self.is_roomy);
        let apart = self.repair.parity_apart(count);
        for (nth, parity) in (1..).zip(protect(packets, count)) {
            self.parity.push(parity, now + apart * nth);
        }
        self.parity.handle_timeout(now);
    }

    pub(super) fn send_parity(&mut self, mut parity: Parity, now: Time) -> Bytes {
        let len = PARITY_HEADER_LEN + parity.payload.len();
        parity.header.hop_sequence = wrap_sequence(self.history.handle_sent(len, None, now));
        self.repair_credit -= signed(len);
        self.count(len, len, now);
        parity.encode()
    }

    fn count(&mut self, len: usize, repair: usize, now: Time) {
        self.copies.handle_packet();
        self.sent.total += len as u64;
        self.sent.repair += repair as u64;
        self.estimator.handle_sent(len, now);
        self.pace.handle_sent(len, now);
        self.prober.handle_sent(len, now);
        self.bulk.handle_media(len, now);
    }

    /// A way that is too narrow loses more the more is sent: copies would drown what they are to save.
    fn copies_that_fit(&self) -> usize {
        if self.estimator.is_trying_less() {
            return 0;
        }
        // Half of the rate is for sound, all of it where no pictures go, and one of its parts for the sound itself.
        let parts = if self.last_packet.is_some() { 2 } else { 1 };
        let sounds = self.rate().as_bits() / parts / SOUND_RATE.as_bits();
        usize::try_from(sounds.saturating_sub(1)).unwrap_or(usize::MAX)
    }

    pub(super) fn sound_copies(&self) -> usize {
        self.repair.sound_copies().min(self.copies_that_fit()).min(MAX_BUNDLE - 1)
    }
}
