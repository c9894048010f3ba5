//! A frame goes in, its packets come out: all of one size but the last, so that a batch of them is one call to the kernel.

use bytes::Bytes;

use super::Frame;
use crate::params::{MAX_FRAME_LEN, PACKET_PAYLOAD};
use crate::wire::packet::{Header, Packet};

/// A frame that is too large to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("frame of {0} bytes; at most {MAX_FRAME_LEN} can be sent: lower the bit rate or the picture size")]
pub struct FrameTooLarge(pub usize);

/// Cuts `frame` into packets. Their hop sequence is 0: each hop counts its own.
///
/// # Errors
/// When the frame is larger than [`MAX_FRAME_LEN`].
pub fn packetize(frame: &Frame) -> Result<Vec<Packet>, FrameTooLarge> {
    let len = frame.data.len();
    if len > MAX_FRAME_LEN {
        return Err(FrameTooLarge(len));
    }
    let count = len.div_ceil(PACKET_PAYLOAD).max(1);
    let size = len.div_ceil(count).max(1);
    let count = len.div_ceil(size).max(1);
    let header = |index: usize| Header {
        track: frame.track,
        frame: frame.number,
        kind: frame.kind,
        temporal_layer: frame.temporal_layer,
        needs: frame.needs,
        hop_sequence: 0,
        index: u16::try_from(index).expect("a frame of the largest size has fewer parts"),
        count: u16::try_from(count).expect("a frame of the largest size has fewer parts"),
        captured: frame.captured,
    };
    let part = |index: usize| -> Bytes { frame.data.slice(index * size..((index + 1) * size).min(len)) };
    Ok((0..count).map(|index| Packet { header: header(index), payload: part(index) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::MAX_FRAME_PACKETS;
    use crate::units::{CaptureTime, FrameNumber, TrackId};
    use crate::wire::track::FrameKind;
    use proptest::prelude::*;

    fn frame(len: usize) -> Frame {
        Frame {
            track: TrackId(1),
            number: FrameNumber(7),
            captured: CaptureTime::from_micros(40_000),
            kind: FrameKind::Key,
            temporal_layer: 0,
            needs: 0,
            data: Bytes::from(vec![1; len]),
        }
    }

    #[test]
    fn the_largest_frame_is_cut_and_one_byte_more_is_refused() {
        assert!(packetize(&frame(MAX_FRAME_LEN)).unwrap().len() <= MAX_FRAME_PACKETS);
        assert_eq!(packetize(&frame(MAX_FRAME_LEN + 1)), Err(FrameTooLarge(MAX_FRAME_LEN + 1)));
    }

    #[test]
    fn an_empty_frame_is_one_empty_packet() {
        let packets = packetize(&frame(0)).unwrap();
        assert_eq!(packets.len(), 1);
        assert!(packets[0].payload.is_empty());
    }

    proptest! {
        #[test]
        fn all_packets_but_the_last_have_one_size_and_none_is_empty(len in 1_usize..20_000) {
            let packets = packetize(&frame(len)).unwrap();
            let size = packets[0].payload.len();
            let (last, others) = packets.split_last().unwrap();
            prop_assert!(others.iter().all(|packet| packet.payload.len() == size));
            prop_assert!((1..=size).contains(&last.payload.len()));
            prop_assert!(size <= PACKET_PAYLOAD);
            prop_assert_eq!(packets.iter().map(|packet| packet.payload.len()).sum::<usize>(), len);
        }
    }
}
