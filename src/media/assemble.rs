//! Packets of one track come in, in any order; whole frames go out, each once.
//!
//! What a sender can make us hold is bounded: so many partial frames, so many bytes in each, for so long. Memory grows by
//! bytes received, never by numbers claimed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use super::Frame;
use super::parity::repair;
use crate::params::{MAX_FRAME_LEN, MAX_PARTIAL_FRAMES, PARTIAL_FRAME_AGE, REMEMBERED_FRAMES};
use crate::units::{FrameNumber, Time};
use crate::wire::packet::{Header, Packet};
use crate::wire::repair::Parity;

/// Puts the frames of one track together.
#[derive(Debug, Default)]
pub struct Assembler {
    partial: BTreeMap<FrameNumber, Partial>,
    /// Frames that came out or were given up lately; older ones are below `floor`.
    done: BTreeSet<FrameNumber>,
    floor: FrameNumber,
    /// Part bytes held over all partial frames.
    held: usize,
}

/// Why a packet was of no use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It came before, or its frame is whole or given up.
    #[error("a packet that came before, or of a frame that is done")]
    Duplicate,
    /// It contradicts an earlier packet of its frame.
    #[error("a packet that contradicts an earlier one of its frame")]
    Contradiction,
    /// Its frame grows beyond the limit.
    #[error("a frame of more than {MAX_FRAME_LEN} bytes")]
    TooLarge,
}

#[derive(Debug)]
struct Partial {
    header: Header,
    parts: BTreeMap<u16, Bytes>,
    len: usize,
    parity: BTreeMap<u16, Parity>,
    began: Time,
}

impl Assembler {
    /// An assembler that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a packet; gives the frame that it completes.
    ///
    /// # Errors
    /// When the packet is of no use; nothing changes then, except that a frame that grew too large is given up.
    pub fn push(&mut self, packet: Packet, now: Time) -> Result<Option<Frame>, Unusable> {
        let Packet { header, payload } = packet;
        let number = header.frame;
        if number < self.floor || self.done.contains(&number) {
            return Err(Unusable::Duplicate);
        }
        let partial = self.partial.entry(number).or_insert_with(|| Partial::new(header, now));
        let len = payload.len();
        partial.insert(header, payload)?;
        self.held += len;
        if partial.len > MAX_FRAME_LEN {
            self.give_up(number);
            return Err(Unusable::TooLarge);
        }
        let frame = if partial.is_whole() || self.repair(number) { self.finish(number) } else { None };
        self.forget_excess();
        Ok(frame)
    }

    /// Takes parity; gives the frame that it completes.
    ///
    /// # Errors
    /// As for a packet.
    pub fn push_parity(&mut self, parity: Parity, now: Time) -> Result<Option<Frame>, Unusable> {
        let number = parity.header.frame;
        if number < self.floor || self.done.contains(&number) {
            return Err(Unusable::Duplicate);
        }
        let first = Header { index: 0, ..parity.header };
        let partial = self.partial.entry(number).or_insert_with(|| Partial::new(first, now));
        let len = parity.payload.len();
        partial.insert_parity(parity)?;
        self.held += len;
        if partial.held() > 2 * MAX_FRAME_LEN {
            self.give_up(number);
            return Err(Unusable::TooLarge);
        }
        let frame = if self.repair(number) { self.finish(number) } else { None };
        self.forget_excess();
        Ok(frame)
    }

    /// Gives up frames that have waited too long for a missing packet.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((&number, _)) =
            self.partial.iter().find(|(_, partial)| now.since(partial.began) >= PARTIAL_FRAME_AGE)
        {
            self.give_up(number);
        }
    }

    /// Bytes held for frames that are not whole yet.
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// Makes what is missing of a frame, if parity suffices.
    fn repair(&mut self, number: FrameNumber) -> bool {
        let Some(partial) = self.partial.get_mut(&number) else { return false };
        let before = partial.held();
        let is_whole = partial.repair();
        self.held += partial.held() - before;
        is_whole
    }

    fn finish(&mut self, number: FrameNumber) -> Option<Frame> {
        let partial = self.partial.remove(&number)?;
        self.held -= partial.held();
        self.remember(number);
        Some(partial.into_frame())
    }

    fn give_up(&mut self, number: FrameNumber) {
        if let Some(partial) = self.partial.remove(&number) {
            self.held -= partial.held();
            self.remember(number);
        }
    }

    fn remember(&mut self, number: FrameNumber) {
        self.done.insert(number);
        while self.done.len() > REMEMBERED_FRAMES {
            if let Some(oldest) = self.done.pop_first() {
                self.floor = FrameNumber(oldest.0.saturating_add(1));
            }
        }
    }

    /// The frame begun first is the one least likely to become whole.
    fn forget_excess(&mut self) {
        while self.partial.len() > MAX_PARTIAL_FRAMES {
            let oldest = self.partial.iter().min_by_key(|(number, partial)| (partial.began, **number));
            let Some(number) = oldest.map(|(number, _)| *number) else {
                return;
            };
            self.give_up(number);
        }
    }
}

impl Partial {
    fn new(header: Header, now: Time) -> Self {
        Partial { header, parts: BTreeMap::new(), len: 0, parity: BTreeMap::new(), began: now }
    }

    fn insert(&mut self, header: Header, payload: Bytes) -> Result<(), Unusable> {
        let as_first = Header { hop_sequence: self.header.hop_sequence, index: self.header.index, ..header };
        if as_first != self.header {
            return Err(Unusable::Contradiction);
        }
        if self.parts.contains_key(&header.index) {
            return Err(Unusable::Duplicate);
        }
        self.len += payload.len();
        self.parts.insert(header.index, payload);
        Ok(())
    }

    fn insert_parity(&mut self, parity: Parity) -> Result<(), Unusable> {
        let as_first = Header { hop_sequence: self.header.hop_sequence, index: self.header.index, ..parity.header };
        let is_alike = self.parity.values().all(|known| {
            (known.total, known.len, known.payload.len()) == (parity.total, parity.len, parity.payload.len())
        });
        if as_first != self.header || !is_alike {
            return Err(Unusable::Contradiction);
        }
        if self.parity.contains_key(&parity.header.index) {
            return Err(Unusable::Duplicate);
        }
        self.parity.insert(parity.header.index, parity);
        Ok(())
    }

    /// Bytes held, parity included.
    fn held(&self) -> usize {
        self.len + self.parity.values().map(|parity| parity.payload.len()).sum::<usize>()
    }

    /// Makes the missing parts, if parity suffices.
    fn repair(&mut self) -> bool {
        let count = usize::from(self.header.count);
        if self.parity.is_empty() || self.parts.len() + self.parity.len() < count {
            return self.is_whole();
        }
        let received: Vec<Packet> = self
            .parts
            .iter()
            .map(|(index, payload)| Packet {
                header: Header { index: *index, ..self.header },
                payload: payload.clone(),
            })
            .collect();
        let parity: Vec<Parity> = self.parity.values().cloned().collect();
        for packet in repair(count, &received, &parity).into_iter().flatten() {
            self.len += packet.payload.len();
            self.parts.insert(packet.header.index, packet.payload);
        }
        self.is_whole()
    }

    fn is_whole(&self) -> bool {
        self.parts.len() == usize::from(self.header.count)
    }

    fn into_frame(mut self) -> Frame {
        let data = match self.parts.pop_first() {
            Some((_, only)) if self.parts.is_empty() => only,
            Some((_, first)) => {
                let mut whole = BytesMut::with_capacity(self.len);
                whole.extend_from_slice(&first);
                for part in self.parts.values() {
                    whole.extend_from_slice(part);
                }
                whole.freeze()
            }
            None => Bytes::new(),
        };
        Frame {
            track: self.header.track,
            number: self.header.frame,
            captured: self.header.captured,
            kind: self.header.kind,
            temporal_layer: self.header.temporal_layer,
            needs: self.header.needs,
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::packetize::packetize;
    use crate::params::{MAX_FRAME_PACKETS, PACKET_PAYLOAD};
    use crate::units::{CaptureTime, TrackId};
    use crate::wire::track::FrameKind;
    use proptest::prelude::*;

    fn frame(number: u32, len: usize) -> Frame {
        Frame {
            track: TrackId(1),
            number: FrameNumber(number),
            captured: CaptureTime::from_micros(u64::from(number) * 33_333),
            kind: FrameKind::Delta,
            temporal_layer: 0,
            needs: 1,
            data: (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect(),
        }
    }

    fn packets(number: u32, len: usize) -> Vec<Packet> {
        packetize(&frame(number, len)).unwrap()
    }

    #[test]
    fn a_frame_comes_out_once_and_a_late_copy_of_its_packet_is_refused() {
        let mut assembler = Assembler::new();
        let packets = packets(3, 2500);
        assert_eq!(assembler.push(packets[2].clone(), Time::ZERO), Ok(None));
        assert_eq!(assembler.push(packets[0].clone(), Time::ZERO), Ok(None));
        assert_eq!(assembler.push(packets[1].clone(), Time::ZERO), Ok(Some(frame(3, 2500))));
        assert_eq!(assembler.push(packets[1].clone(), Time::ZERO), Err(Unusable::Duplicate));
    }

    #[test]
    fn a_packet_that_contradicts_its_frame_changes_nothing() {
        let mut assembler = Assembler::new();
        let mut packets = packets(3, 2500);
        assembler.push(packets[0].clone(), Time::ZERO).unwrap();
        let good = packets[1].clone();
        packets[1].header.captured = CaptureTime::from_micros(1);
        assert_eq!(assembler.push(packets[1].clone(), Time::ZERO), Err(Unusable::Contradiction));
        assert_eq!(assembler.push(good, Time::ZERO), Ok(None));
        assert_eq!(assembler.push(packets[2].clone(), Time::ZERO), Ok(Some(frame(3, 2500))));
    }

    #[test]
    fn a_bomb_of_first_fragments_holds_at_most_eight_frames() {
        let mut assembler = Assembler::new();
        for number in 0..10_000 {
            assembler.push(packets(number, 2500)[0].clone(), Time::ZERO).unwrap();
            assert!(assembler.held_bytes() <= MAX_PARTIAL_FRAMES * PACKET_PAYLOAD);
        }
    }

    #[test]
    fn a_frame_larger_than_the_limit_is_given_up() {
        let mut assembler = Assembler::new();
        let header = packets(0, 2500)[0].header;
        let count = u16::try_from(MAX_FRAME_PACKETS).unwrap();
        let part = Bytes::from(vec![0; MAX_FRAME_LEN / MAX_FRAME_PACKETS + 1]);
        let mut results = (0..count).map(|index| {
            let header = Header { index, count, ..header };
            assembler.push(Packet { header, payload: part.clone() }, Time::ZERO)
        });
        assert!(results.any(|result| result == Err(Unusable::TooLarge)));
        drop(results);
        assert_eq!(assembler.held_bytes(), 0);
    }

    #[test]
    fn a_frame_that_lacks_a_packet_too_long_is_given_up() {
        let mut assembler = Assembler::new();
        let packets = packets(3, 2500);
        assembler.push(packets[0].clone(), Time::ZERO).unwrap();
        assembler.handle_timeout(Time::ZERO + PARTIAL_FRAME_AGE);
        assert_eq!(assembler.held_bytes(), 0);
        assert_eq!(assembler.push(packets[1].clone(), Time::ZERO), Err(Unusable::Duplicate));
    }

    #[test]
    fn the_highest_frame_number_is_a_number_like_others() {
        let mut assembler = Assembler::new();
        for number in [u32::MAX, u32::MAX - 1, 0] {
            assert!(assembler.push(packets(number, 10)[0].clone(), Time::ZERO).unwrap().is_some());
        }
    }

    #[test]
    fn parity_makes_good_what_is_missing_whichever_comes_first() {
        let sent = packets(3, 5000);
        let parity = crate::media::parity::protect(&sent, 2);
        let mut assembler = Assembler::new();
        assert_eq!(assembler.push_parity(parity[0].clone(), Time::ZERO), Ok(None));
        for packet in &sent[2..4] {
            assert_eq!(assembler.push(packet.clone(), Time::ZERO), Ok(None));
        }
        assert_eq!(assembler.push(sent[0].clone(), Time::ZERO), Ok(None));
        assert_eq!(assembler.push_parity(parity[1].clone(), Time::ZERO), Ok(Some(frame(3, 5000))));
        assert_eq!(assembler.held_bytes(), 0);
        assert_eq!(assembler.push(sent[1].clone(), Time::ZERO), Err(Unusable::Duplicate));
    }

    proptest! {
        #[test]
        fn frames_survive_any_order_and_duplication(
            lens in proptest::collection::vec(0_usize..5000, 1..MAX_PARTIAL_FRAMES),
            order in any::<u64>(),
        ) {
            let frames: Vec<Frame> = lens.iter().zip(0..).map(|(len, number)| frame(number, *len)).collect();
            let mut packets: Vec<Packet> = frames.iter().flat_map(|frame| packetize(frame).unwrap()).collect();
            packets.extend(packets.clone());
            packets.sort_by_key(|packet| {
                let position = u64::from(packet.header.frame.0) * 512 + u64::from(packet.header.index);
                position.wrapping_mul(order | 1).rotate_left(17)
            });
            let mut assembler = Assembler::new();
            let mut whole: Vec<Frame> =
                packets.into_iter().filter_map(|packet| assembler.push(packet, Time::ZERO).ok().flatten()).collect();
            whole.sort_by_key(|frame| frame.number);
            prop_assert_eq!(whole, frames);
        }
    }
}
