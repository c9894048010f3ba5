//! What goes to a peer as it goes: numbered, counted, and sound with copies of the sounds before it.

use bytes::Bytes;

use super::{Sender, signed};
use crate::media::parity::protect;
use crate::params::{COPY_PARTS, ECHO_AFTER, ECHO_PARTS, SOUND_RATE};
use crate::rate::queue::{Next, Packets};
use crate::units::Time;
use crate::wire::packet::{HEADER_LEN, Packet, wrap_sequence};
use crate::wire::repair::{Bundle, PARITY_HEADER_LEN, Parity};

impl Sender {
    /// A sound with copies of those before it, of which an echo may follow, or a part of one that is too long for them.
    pub(super) fn send_sound(&mut self, next: Next, now: Time) -> Option<Bytes> {
        let own = next.packets.get(next.index)?.clone();
        if next.packets.len() > 1 {
            return Some(self.send_packet(own, Some((next.packets, next.index)), false, now));
        }
        let SoundRepair { copies, is_echoed } = self.sound_repair();
        let copied = self.copies.carried_by(&own, copies, &self.repair);
        if copied.is_empty() && !is_echoed {
            return Some(self.send_packet(own, Some((next.packets, 0)), false, now));
        }
        let sound = Sound { own: next.packets, copied };
        if is_echoed {
            self.echoes.push(sound.clone(), now + ECHO_AFTER);
        }
        let repair = sound.copied.iter().map(|packet| packet.payload.len()).sum();
        Some(self.send_bundle(sound, repair, now))
    }

    /// A sound that went a moment ago, with all it carried.
    pub(super) fn send_echo(&mut self, sound: Sound, now: Time) -> Bytes {
        let packets = sound.own.iter().chain(&sound.copied);
        let repair = packets.map(|packet| packet.payload.len()).sum();
        self.send_bundle(sound, repair, now)
    }

    fn send_bundle(&mut self, Sound { own, copied }: Sound, repair: usize, now: Time) -> Bytes {
        let mut bundle = Bundle { hop_sequence: 0, packets: own.iter().cloned().chain(copied).collect() };
        let len = bundle.encoded_len();
        bundle.hop_sequence = wrap_sequence(self.history.handle_sent(len, Some((own, 0)), now));
        self.count(len, repair, now);
        bundle.encode()
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

    /// How many times a sound may go in all: as often as fits in the rate, or, where pictures go, too, in one of so many parts of
    /// it. A way that is too narrow loses more the more is sent: copies would drown what they are to save.
    fn sounds_that_fit(&self, parts: u64) -> usize {
        if self.estimator.is_trying_less() {
            return 1;
        }
        let parts = if self.last_packet.is_some() { parts } else { 1 };
        usize::try_from(self.rate().as_bits() / parts / SOUND_RATE.as_bits()).unwrap_or(usize::MAX)
    }

    /// What is sent besides each sound.
    pub(super) fn sound_repair(&self) -> SoundRepair {
        let echoed = SoundRepair { copies: self.repair.sound_copies(true), is_echoed: true };
        if self.repair.wants_echoes() && echoed.times() <= self.sounds_that_fit(ECHO_PARTS) {
            return echoed;
        }
        let fit = self.sounds_that_fit(COPY_PARTS).saturating_sub(1);
        SoundRepair { copies: self.repair.sound_copies(false).min(fit), is_echoed: false }
    }
}

/// What is sent besides a sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct SoundRepair {
    /// How many of those before it it carries.
    copies: usize,
    /// Whether all that goes twice.
    is_echoed: bool,
}

impl SoundRepair {
    /// How many times as much as the sound alone goes.
    pub(super) fn times(self) -> usize {
        (1 + self.copies) * if self.is_echoed { 2 } else { 1 }
    }
}

/// A sound and what it carries.
#[derive(Clone, Debug)]
pub(super) struct Sound {
    own: Packets,
    copied: Vec<Packet>,
}
