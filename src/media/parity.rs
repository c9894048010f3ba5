//! Parity over the packets of one frame: as many losses as there are parity packets can be made good.
//!
//! Reed–Solomon, systematic: the frame's own packets travel as they are, so nothing is lost to a receiver that needs no
//! repair. Any `count` of the `count + parity` packets give the frame back.

use bytes::Bytes;
use reed_solomon_simd::{decode, encode};

use crate::wire::packet::Packet;
use crate::wire::repair::Parity;

/// Makes `count` parity packets for the packets of one frame. None where nothing can be made: for no packets, or empty ones.
pub fn protect(packets: &[Packet], count: usize) -> Vec<Parity> {
    let Some(first) = packets.first() else { return Vec::new() };
    let size = first.payload.len().next_multiple_of(2);
    if count == 0 || size == 0 {
        return Vec::new();
    }
    let shards = packets.iter().map(|packet| padded(&packet.payload, size));
    let Ok(parity) = encode(packets.len(), count, shards) else { return Vec::new() };
    let len = packets.iter().map(|packet| packet.payload.len()).sum::<usize>();
    let packet = |(index, payload): (usize, Vec<u8>)| {
        let mut header = first.header;
        header.index = u16::try_from(index).ok()?;
        Some(Parity {
            header,
            total: u8::try_from(count).ok()?,
            len: u32::try_from(len).ok()?,
            payload: payload.into(),
        })
    };
    parity.into_iter().enumerate().filter_map(packet).collect()
}

/// Makes the missing packets of a frame of `count` packets, from those that came and the parity. `None` while too little
/// has come, or when what came does not fit together.
pub fn repair(count: usize, received: &[Packet], parity: &[Parity]) -> Option<Vec<Packet>> {
    if received.len() + parity.len() < count || received.len() >= count {
        return None;
    }
    let sample = parity.first()?;
    let size = sample.payload.len();
    let len = usize::try_from(sample.len).ok()?;
    let total = usize::from(sample.total);
    let own = received.iter().map(|packet| (usize::from(packet.header.index), padded(&packet.payload, size)));
    let extra = parity.iter().map(|parity| (usize::from(parity.header.index), parity.payload.to_vec()));
    let restored = decode(count, total, own, extra).ok()?;
    // All packets but the last have one size; the even shard may be one byte longer than it.
    let part = if count == 1 { len } else { part_size(len, count, size, received)? };
    let missing = restored.into_iter().map(|(index, shard)| {
        let from = index * part;
        let own = len.checked_sub(from)?.min(part);
        let mut header = sample.header;
        header.index = u16::try_from(index).ok()?;
        header.count = u16::try_from(count).ok()?;
        Some(Packet { header, payload: Bytes::from(shard).slice(..own.min(size)) })
    });
    missing.collect()
}

/// The size of every packet but the last.
fn part_size(len: usize, count: usize, shard: usize, received: &[Packet]) -> Option<usize> {
    let known = received.iter().find(|packet| usize::from(packet.header.index) + 1 < count);
    if let Some(known) = known {
        return Some(known.payload.len());
    }
    // Cutting into equal parts leaves one possibility for an odd size, and one for an even.
    [shard, shard - 1].into_iter().find(|part| len.div_ceil(*part) == count && len.div_ceil(count) == *part)
}

fn padded(payload: &[u8], size: usize) -> Vec<u8> {
    let mut shard = payload.to_vec();
    shard.resize(size, 0);
    shard
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;
    use crate::media::packetize::packetize;
    use crate::units::{CaptureTime, FrameNumber, TrackId};
    use crate::wire::track::FrameKind;
    use proptest::prelude::*;

    fn packets(len: usize) -> Vec<Packet> {
        let frame = Frame {
            track: TrackId(1),
            number: FrameNumber(0),
            captured: CaptureTime::default(),
            kind: FrameKind::Key,
            temporal_layer: 0,
            needs: 0,
            data: (0..len).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect(),
        };
        packetize(&frame).unwrap()
    }

    #[test]
    fn a_frame_of_one_packet_is_protected_too() {
        let sent = packets(33);
        let parity = protect(&sent, 1);
        assert_eq!(repair(1, &[], &parity), Some(sent));
    }

    #[test]
    fn too_little_makes_nothing() {
        let sent = packets(5000);
        let parity = protect(&sent, 1);
        assert_eq!(repair(sent.len(), &sent[2..], &parity), None);
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        assert!(protect(&[], 3).is_empty());
        assert!(protect(&packets(100), 0).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn as_many_losses_as_parity_packets_are_made_good(
            len in 1_usize..12_000,
            count in 1_usize..5,
            seed in any::<u64>(),
        ) {
            let sent = packets(len);
            let parity = protect(&sent, count);
            prop_assert_eq!(parity.len(), count);
            // Parity is lost, too: as many of the frame's own packets less can be made good.
            let gone = usize::try_from(seed % count as u64).unwrap();
            let parity = &parity[gone..];
            let mut lost: Vec<usize> = (0..sent.len()).collect();
            lost.sort_by_key(|index| (*index as u64 + 1).wrapping_mul(seed | 1).rotate_left(21));
            lost.truncate(count - gone);
            let received: Vec<Packet> = sent
                .iter()
                .enumerate()
                .filter(|(index, _)| !lost.contains(index))
                .map(|(_, packet)| packet.clone())
                .collect();
            let mut all = repair(sent.len(), &received, parity).unwrap();
            all.extend(received);
            all.sort_by_key(|packet| packet.header.index);
            prop_assert_eq!(all, sent);
        }
    }
}
