//! The chunk: a piece of something that is in no hurry, in one QUIC datagram.
//!
//! ```text
//!  0        1                 4                                   12                                  20
//! ┌────────┬─────────────────┬───────────────────────────────────┬───────────────────────────────────┬──────
//! │ kind 5 │ hop sequence    │ transfer                          │ offset                            │ data …
//! └────────┴─────────────────┴───────────────────────────────────┴───────────────────────────────────┴──────
//! ```
//! All numbers are big-endian. The reports about media are about chunks, too ([`super::feedback`]): what they say has arrived
//! has, and the rest is sent again. A chunk may come twice, and in any order.

use bytes::{BufMut, Bytes, BytesMut};

use super::packet::{HOP_SEQUENCE_MASK, PacketError};
use crate::units::TransferId;

/// First byte of a chunk.
pub const KIND_CHUNK: u8 = 5;

/// Length of a chunk's header in bytes.
pub const CHUNK_HEADER_LEN: usize = 20;

/// A piece of a transfer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Counts as one packet of the hop.
    pub hop_sequence: u32,
    /// Of which transfer; the sender's program numbers them.
    pub transfer: TransferId,
    /// Where in it the data begins, in bytes; it ends below 2⁶⁴.
    pub offset: u64,
    /// At least one byte.
    pub data: Bytes,
}

impl Chunk {
    /// The chunk as one datagram.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(CHUNK_HEADER_LEN + self.data.len());
        bytes.put_u32(u32::from(KIND_CHUNK) << 24 | self.hop_sequence & HOP_SEQUENCE_MASK);
        bytes.put_u64(self.transfer.0);
        bytes.put_u64(self.offset);
        bytes.put_slice(&self.data);
        bytes.freeze()
    }

    /// Reads a datagram that begins with [`KIND_CHUNK`].
    ///
    /// # Errors
    /// When it ends too early, or its data would end beyond 2⁶⁴.
    pub fn decode(datagram: &Bytes) -> Result<Chunk, PacketError> {
        let Some(bytes) = datagram.first_chunk::<CHUNK_HEADER_LEN>() else {
            return Err(PacketError::Truncated(datagram.len()));
        };
        let [kind, h0, h1, h2, t0, t1, t2, t3, t4, t5, t6, t7, offset @ ..] = *bytes;
        if kind != KIND_CHUNK {
            return Err(PacketError::UnknownKind(kind));
        }
        let offset = u64::from_be_bytes(offset);
        let data = datagram.slice(CHUNK_HEADER_LEN..);
        if data.is_empty() || offset.checked_add(data.len() as u64).is_none() {
            return Err(PacketError::Empty(0));
        }
        Ok(Chunk {
            hop_sequence: u32::from_be_bytes([0, h0, h1, h2]),
            transfer: TransferId(u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7])),
            offset,
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(offset: u64) -> Chunk {
        Chunk { hop_sequence: 0x00a0_b0c0, transfer: TransferId(7), offset, data: Bytes::from_static(b"file") }
    }

    #[test]
    fn golden_bytes() {
        let expected = b"\x05\xa0\xb0\xc0\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00file";
        assert_eq!(chunk(1 << 32).encode(), expected.as_slice());
        assert_eq!(Chunk::decode(&Bytes::from_static(expected)), Ok(chunk(1 << 32)));
    }

    #[test]
    fn the_last_bytes_of_the_largest_transfer_pass_and_one_more_does_not() {
        assert!(Chunk::decode(&chunk(u64::MAX - 4).encode()).is_ok());
        assert_eq!(Chunk::decode(&chunk(u64::MAX - 3).encode()), Err(PacketError::Empty(0)));
    }

    #[test]
    fn a_chunk_of_nothing_is_refused() {
        let nothing = Chunk { data: Bytes::new(), ..chunk(0) };
        assert_eq!(Chunk::decode(&nothing.encode()), Err(PacketError::Empty(0)));
    }

    proptest! {
        #[test]
        fn any_datagram_is_refused_or_survives_a_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = KIND_CHUNK;
            }
            let datagram = Bytes::from(bytes);
            if let Ok(chunk) = Chunk::decode(&datagram) {
                prop_assert_eq!(chunk.encode(), datagram);
            }
        }
    }
}
