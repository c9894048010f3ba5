//! Packets of one track come in, in any order; whole frames go out, each once.
//!
//! What a sender can make us hold is bounded: so many partial frames, so many bytes in each, for so long. Memory grows by
//! bytes received, never by numbers claimed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use super::Frame;
use crate::params::{MAX_FRAME_LEN, MAX_PARTIAL_FRAMES, PARTIAL_FRAME_AGE, REMEMBERED_FRAMES};
use crate::units::{FrameNumber, Time};
use crate::wire::packet::{Header, Packet};

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
        let frame = if partial.is_whole() { self.finish(number) } else { None };
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

    fn finish(&mut self, number: FrameNumber) -> Option<Frame> {
        let partial = self.partial.remove(&number)?;
        self.held -= partial.len;
        self.remember(number);
        Some(partial.into_frame())
    }

    fn give_up(&mut self, number: FrameNumber) {
        if let Some(partial) = self.partial.remove(&number) {
            self.held -= partial.len;
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
        Partial { header, parts: BTreeMap::new(), len: 0, began: now }
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
