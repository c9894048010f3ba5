//! What is sent besides media so that losses can be made good: parity of a picture, copies of recent sound.
//!
//! ```text
//! parity:  2 | flags | track 2 | frame 4 | needs | hop sequence 3 | index 2 | data count 2 | captured 8 | parity count | length 3 | payload
//! bundle:  4 | hop sequence 3 | (length 2 | media packet)…
//! ```
//! All numbers are big-endian. A parity packet's payload is one shard of the Reed–Solomon code over its frame's packets,
//! which are padded with zeros to the first one's length and to an even number; `length` is the frame's own. Its index
//! counts the parity packets from 0. The packets of a bundle are whole, newest first; their own hop sequence means nothing.

use bytes::{BufMut, Bytes, BytesMut};

use super::packet::{HEADER_LEN, HOP_SEQUENCE_MASK, Header, Packet, PacketError};
use super::track::FrameKind;
use crate::params::{MAX_BUNDLE, MAX_FRAME_LEN, MAX_FRAME_PACKETS};
use crate::units::{CaptureTime, FrameNumber, TrackId};

/// First byte of a parity packet.
pub const KIND_PARITY: u8 = 2;

/// First byte of a bundle.
pub const KIND_BUNDLE: u8 = 4;

/// Length of a parity packet's header in bytes.
pub const PARITY_HEADER_LEN: usize = HEADER_LEN + 4;

/// One shard of parity over the packets of one frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parity {
    /// As of the frame's packets; `index` counts parity packets, `count` the frame's own.
    pub header: Header,
    /// How many parity packets the frame has: the code depends on it.
    pub total: u8,
    /// The frame's length in bytes, below 2²⁴.
    pub len: u32,
    /// The shard.
    pub payload: Bytes,
}

impl Parity {
    /// The packet as one datagram.
    pub fn encode(&self) -> Bytes {
        let header = &self.header;
        let mut bytes = BytesMut::with_capacity(PARITY_HEADER_LEN + self.payload.len());
        bytes.put_u8(KIND_PARITY);
        bytes.put_u8(u8::from(header.kind == FrameKind::Key) | (header.temporal_layer & 3) << 1);
        bytes.put_u16(header.track.0);
        bytes.put_u32(header.frame.0);
        bytes.put_u32(u32::from(header.needs) << 24 | header.hop_sequence & HOP_SEQUENCE_MASK);
        bytes.put_u16(header.index);
        bytes.put_u16(header.count);
        bytes.put_u64(header.captured.as_micros());
        bytes.put_u32(u32::from(self.total) << 24 | self.len & 0x00ff_ffff);
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }

    /// Reads a datagram that begins with [`KIND_PARITY`].
    ///
    /// # Errors
    /// When its fields contradict each other.
    pub fn decode(datagram: &Bytes) -> Result<Parity, PacketError> {
        let Some(bytes) = datagram.first_chunk::<PARITY_HEADER_LEN>() else {
            return Err(PacketError::Truncated(datagram.len()));
        };
        let [kind, flags, t0, t1, f0, f1, f2, f3, needs, h0, h1, h2, i0, i1, n0, n1, rest @ ..] = *bytes;
        let [c0, c1, c2, c3, c4, c5, c6, c7, total, l0, l1, l2] = rest;
        if kind != KIND_PARITY {
            return Err(PacketError::UnknownKind(kind));
        }
        if flags & !7 != 0 {
            return Err(PacketError::UnknownFlags(flags));
        }
        let (index, count) = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([n0, n1]));
        let len = u32::from_be_bytes([0, l0, l1, l2]);
        let payload = datagram.slice(PARITY_HEADER_LEN..);
        if count == 0 || usize::from(count) > MAX_FRAME_PACKETS || index >= u16::from(total) {
            return Err(PacketError::Part { index, count });
        }
        let is_len_possible = (len as usize) <= (payload.len() * usize::from(count)).min(MAX_FRAME_LEN);
        if payload.is_empty() || payload.len() % 2 == 1 || !is_len_possible {
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
            captured: CaptureTime::from_micros(u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7])),
        };
        Ok(Parity { header, total, len, payload })
    }
}

/// Several media packets in one datagram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bundle {
    /// Counts as one packet of the hop.
    pub hop_sequence: u32,
    /// At most [`MAX_BUNDLE`], newest first.
    pub packets: Vec<Packet>,
}

/// Bytes of a packet in a bundle.
pub fn len_in_bundle(packet: &Packet) -> usize {
    2 + HEADER_LEN + packet.payload.len()
}

impl Bundle {
    /// Bytes of the datagram.
    pub fn encoded_len(&self) -> usize {
        4 + self.packets.iter().map(len_in_bundle).sum::<usize>()
    }

    /// The bundle as one datagram.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.encoded_len());
        bytes.put_u32(u32::from(KIND_BUNDLE) << 24 | self.hop_sequence & HOP_SEQUENCE_MASK);
        for packet in &self.packets {
            let packet = packet.encode();
            bytes.put_u16(u16::try_from(packet.len()).unwrap_or(u16::MAX));
            bytes.put_slice(&packet);
        }
        bytes.freeze()
    }

    /// Reads a datagram that begins with [`KIND_BUNDLE`].
    ///
    /// # Errors
    /// When it is cut short, too many packets are in it, or one of them is none.
    pub fn decode(datagram: &Bytes) -> Result<Bundle, PacketError> {
        let truncated = || PacketError::Truncated(datagram.len());
        let Some([kind, h0, h1, h2]) = datagram.first_chunk::<4>().copied() else { return Err(truncated()) };
        if kind != KIND_BUNDLE {
            return Err(PacketError::UnknownKind(kind));
        }
        let mut packets = Vec::new();
        let mut rest = datagram.slice(4..);
        while !rest.is_empty() {
            let Some(len) = rest.first_chunk::<2>().map(|len| usize::from(u16::from_be_bytes(*len))) else {
                return Err(truncated());
            };
            if rest.len() < 2 + len {
                return Err(truncated());
            }
            if packets.len() == MAX_BUNDLE {
                return Err(PacketError::Bundle(packets.len() + 1));
            }
            packets.push(Packet::decode(&rest.slice(2..2 + len))?);
            rest = rest.slice(2 + len..);
        }
        Ok(Bundle { hop_sequence: u32::from_be_bytes([0, h0, h1, h2]), packets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            track: TrackId(2),
            frame: FrameNumber(9),
            kind: FrameKind::Delta,
            temporal_layer: 1,
            needs: 1,
            hop_sequence: 7,
            index: 0,
            count: 3,
            captured: CaptureTime::from_micros(5),
        }
    }

    #[test]
    fn golden_bytes_of_parity() {
        let parity = Parity { header: header(), total: 2, len: 5, payload: Bytes::from_static(b"ab") };
        let bytes = b"\x02\x02\x00\x02\x00\x00\x00\x09\x01\x00\x00\x07\x00\x00\x00\x03\0\0\0\0\0\0\0\x05\x02\0\0\x05ab";
        assert_eq!(parity.encode(), bytes.as_slice());
        assert_eq!(Parity::decode(&Bytes::from_static(bytes)), Ok(parity));
    }

    #[test]
    fn a_length_that_no_shards_could_hold_is_refused() {
        let parity = Parity { header: header(), total: 2, len: 7, payload: Bytes::from_static(b"ab") };
        assert!(Parity::decode(&parity.encode()).is_err());
    }

    #[test]
    fn a_bundle_brings_its_packets_and_one_more_than_allowed_is_refused() {
        let packet = Packet { header: header(), payload: Bytes::from_static(b"sound") };
        let bundle = |count| Bundle { hop_sequence: 7, packets: vec![packet.clone(); count] };
        assert_eq!(bundle(MAX_BUNDLE).encode().len(), bundle(MAX_BUNDLE).encoded_len());
        assert_eq!(Bundle::decode(&bundle(MAX_BUNDLE).encode()), Ok(bundle(MAX_BUNDLE)));
        let error = Bundle::decode(&bundle(MAX_BUNDLE + 1).encode());
        assert_eq!(error, Err(PacketError::Bundle(MAX_BUNDLE + 1)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..100), kind in 0..2) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = if kind == 0 { KIND_PARITY } else { KIND_BUNDLE };
            }
            let datagram = Bytes::from(bytes);
            let _ = Parity::decode(&datagram);
            let _ = Bundle::decode(&datagram);
        }
    }
}
