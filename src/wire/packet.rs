//! The media packet: a part of one frame in one QUIC datagram.
//!
//! ```text
//!  0        1        2                 4                                   8
//! ┌────────┬────────┬─────────────────┬───────────────────────────────────┐
//! │ kind 1 │ flags  │ track           │ frame number                      │
//! ├────────┼────────┴─────────────────┼─────────────────┬─────────────────┤ 16
//! │ needs  │ hop sequence (3 bytes)   │ packet index    │ packet count    │
//! ├────────┴──────────────────────────┴─────────────────┴─────────────────┤ 24
//! │ capture time, microseconds                                            │
//! └───────────────────────────────────────────────────────────────────────┘
//! ```
//! All numbers are big-endian. Flags: bit 0 key frame, bits 1–2 temporal layer, the others 0. All packets of a frame but
//! the last carry the same number of bytes, so a part lies at `index × size`, and a batch of them can be sent in one call.

use bytes::{BufMut, Bytes, BytesMut};

use crate::params::{MAX_BUNDLE, MAX_FRAME_PACKETS};
use crate::units::{CaptureTime, FrameNumber, TrackId};
use crate::wire::track::FrameKind;

/// Length of a media packet's header in bytes.
pub const HEADER_LEN: usize = 24;

/// First byte of a datagram that carries a part of a frame.
const KIND_MEDIA: u8 = 1;

/// One part of one frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet {
    /// What stands before the payload.
    pub header: Header,
    /// The part of the frame.
    pub payload: Bytes,
}

/// What a packet says of itself and its frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// The frame's track.
    pub track: TrackId,
    /// The frame's number.
    pub frame: FrameNumber,
    /// Whether decoding can start at the frame.
    pub kind: FrameKind,
    /// The frame's temporal layer, 0 to 3.
    pub temporal_layer: u8,
    /// How many frames back the frame lies that this one needs; 0 for none.
    pub needs: u8,
    /// Counts the packets between these two peers, modulo 2²⁴: what is missing in it was lost on the way.
    pub hop_sequence: u32,
    /// Which part of the frame this is, from 0.
    pub index: u16,
    /// How many parts the frame has.
    pub count: u16,
    /// When the frame was captured.
    pub captured: CaptureTime,
}

/// Why a datagram was dropped. Any peer can cause these, so none of them is a bug.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The datagram ended inside its header.
    #[error("datagram of {0} bytes ends inside its {HEADER_LEN}-byte header")]
    Truncated(usize),
    /// The datagram is no media packet.
    #[error("datagram of unknown kind {0}")]
    UnknownKind(u8),
    /// Flags that no version sets.
    #[error("media packet with unknown flags {0:#04x}")]
    UnknownFlags(u8),
    /// The part lies outside its frame, or the frame is too large.
    #[error("part {index} of {count}; a frame has 1 to {MAX_FRAME_PACKETS}")]
    Part {
        /// The part's index.
        index: u16,
        /// The frame's parts.
        count: u16,
    },
    /// A part without bytes in a frame of several, or parity that no frame could have.
    #[error("part {0} is empty, or of an impossible length")]
    Empty(u16),
    /// Too many packets in one datagram.
    #[error("bundle of {0} packets; at most {MAX_BUNDLE} are allowed")]
    Bundle(usize),
}

impl Packet {
    /// The packet as one datagram.
    pub fn encode(&self) -> Bytes {
        let header = &self.header;
        let mut bytes = BytesMut::with_capacity(HEADER_LEN + self.payload.len());
        let is_key = u8::from(header.kind == FrameKind::Key);
        bytes.put_u8(KIND_MEDIA);
        bytes.put_u8(is_key | (header.temporal_layer & 3) << 1);
        bytes.put_u16(header.track.0);
        bytes.put_u32(header.frame.0);
        bytes.put_u32(u32::from(header.needs) << 24 | header.hop_sequence & HOP_SEQUENCE_MASK);
        bytes.put_u16(header.index);
        bytes.put_u16(header.count);
        bytes.put_u64(header.captured.as_micros());
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// When it is no media packet, or its fields contradict each other.
    pub fn decode(datagram: &Bytes) -> Result<Packet, PacketError> {
        let Some(bytes) = datagram.first_chunk::<HEADER_LEN>() else {
            return Err(PacketError::Truncated(datagram.len()));
        };
        let [kind, flags, t0, t1, f0, f1, f2, f3, needs, h0, h1, h2, i0, i1, n0, n1, captured @ ..] = *bytes;
        if kind != KIND_MEDIA {
            return Err(PacketError::UnknownKind(kind));
        }
        if flags & !7 != 0 {
            return Err(PacketError::UnknownFlags(flags));
        }
        let (index, count) = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([n0, n1]));
        if index >= count || usize::from(count) > MAX_FRAME_PACKETS {
            return Err(PacketError::Part { index, count });
        }
        let payload = datagram.slice(HEADER_LEN..);
        if payload.is_empty() && count > 1 {
            return Err(PacketError::Empty(index));
        }
        let header = Header {
            track: TrackId(u16::from_be_bytes([t0, t1])),
            frame: FrameNumber(u32::from_be_bytes([f0, f1, f2, f3])),
            kind: if flags & 1 == 1 { FrameKind::Key } else { FrameKind::Delta },
            temporal_layer: flags >> 1,
            needs,
            hop_sequence: u32::from_be_bytes([0, h0, h1, h2]),
            index,
            count,
            captured: CaptureTime::from_micros(u64::from_be_bytes(captured)),
        };
        Ok(Packet { header, payload })
    }
}

/// The hop sequence counts modulo this plus one.
pub const HOP_SEQUENCE_MASK: u32 = 0x00ff_ffff;

/// A place in the order of sending as it travels.
pub fn wrap_sequence(sequence: u64) -> u32 {
    u32::try_from(sequence & u64::from(HOP_SEQUENCE_MASK)).unwrap_or(0)
}

/// The whole number whose low 24 bits are `sequence` and which is nearest to `newest`; without one, a number far enough
/// above zero for earlier ones to be told apart.
pub fn unwrap_sequence(newest: Option<u64>, sequence: u32) -> u64 {
    let span = u64::from(HOP_SEQUENCE_MASK) + 1;
    let low = u64::from(sequence & HOP_SEQUENCE_MASK);
    let Some(newest) = newest else { return span + low };
    let candidate = (newest & !(span - 1)) | low;
    if candidate + span / 2 < newest {
        candidate + span
    } else if candidate > newest + span / 2 {
        candidate.saturating_sub(span)
    } else {
        candidate
    }
}

#[cfg(test)]
impl Header {
    /// That of a key frame of one packet, from which tests go on.
    pub(crate) fn alone(track: u16, frame: u32) -> Self {
        Header {
            track: TrackId(track),
            frame: FrameNumber(frame),
            kind: FrameKind::Key,
            temporal_layer: 0,
            needs: 0,
            hop_sequence: 0,
            index: 0,
            count: 1,
            captured: CaptureTime::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet() -> Packet {
        Packet {
            header: Header {
                track: TrackId(2),
                frame: FrameNumber(0x0102_0304),
                kind: FrameKind::Key,
                temporal_layer: 1,
                needs: 2,
                hop_sequence: 0x00a0_b0c0,
                index: 3,
                count: 4,
                captured: CaptureTime::from_micros(1_000_000),
            },
            payload: Bytes::from_static(b"pic"),
        }
    }

    #[test]
    fn golden_bytes() {
        let expected =
            b"\x01\x03\x00\x02\x01\x02\x03\x04\x02\xa0\xb0\xc0\x00\x03\x00\x04\x00\x00\x00\x00\x00\x0f\x42\x40pic";
        assert_eq!(packet().encode(), expected.as_slice());
        assert_eq!(Packet::decode(&Bytes::from_static(expected)), Ok(packet()));
    }

    #[test]
    fn a_part_outside_its_frame_is_refused() {
        let mut packet = packet();
        packet.header.index = 4;
        assert_eq!(Packet::decode(&packet.encode()), Err(PacketError::Part { index: 4, count: 4 }));
    }

    #[test]
    fn the_largest_frame_passes_and_one_packet_more_does_not() {
        let mut packet = packet();
        packet.header.count = u16::try_from(MAX_FRAME_PACKETS).unwrap();
        assert!(Packet::decode(&packet.encode()).is_ok());
        packet.header.count += 1;
        assert!(matches!(Packet::decode(&packet.encode()), Err(PacketError::Part { .. })));
    }

    proptest! {
        #[test]
        fn any_datagram_is_refused_or_survives_a_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let datagram = Bytes::from(bytes);
            if let Ok(packet) = Packet::decode(&datagram) {
                prop_assert_eq!(packet.encode(), datagram);
            }
        }
    }
}
