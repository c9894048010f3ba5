//! The feedback packet: which packets of a hop arrived, and when, in one QUIC datagram.
//!
//! ```text
//!  0        1                    4                 6
//! ┌────────┬────────────────────┬─────────────────┬───────────────────────────────────┐ 10
//! │ kind 3 │ first sequence     │ count           │ arrival of the first that arrived │
//! ├────────┴────────────────────┴─────────────────┴───────────────────────────────────┤
//! │ a byte for each: 0 lost · 1–254 arrived (byte − 65) × 250 µs after the one before │
//! │ · 255 arrived, two bytes follow: the same distance, signed                        │
//! └───────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! All numbers are big-endian; the arrival time is the low 32 bits of the receiver's microseconds. A packet costs a byte,
//! so a report about 50 ms of video has some 25 bytes; what one report says, the next repeats, in case it is lost.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::packet::HOP_SEQUENCE_MASK;
use crate::params::MAX_FEEDBACK_COUNT;

/// First byte of a feedback datagram.
pub const KIND_FEEDBACK: u8 = 3;

/// What a receiver says about consecutive packets of one hop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Feedback {
    /// Sequence number of the first packet, modulo 2²⁴.
    pub first: u32,
    /// For each packet from the first on: when it arrived by the receiver's clock, in microseconds modulo 2³², to the
    /// nearest 250; `None` if it has not.
    pub arrivals: Vec<Option<u32>>,
}

/// Why a datagram is no feedback. Any peer can cause these.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedbackError {
    /// It ends inside its header or its list.
    #[error("feedback of {0} bytes ends too early")]
    Truncated(usize),
    /// It is about too many packets.
    #[error("feedback about {0} packets; at most {MAX_FEEDBACK_COUNT} are allowed")]
    Count(u16),
    /// Bytes are left over.
    #[error("feedback with {0} bytes left over")]
    LeftOver(usize),
}

impl Feedback {
    /// The report as one datagram.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER_LEN + self.arrivals.len());
        bytes.put_u32(u32::from(KIND_FEEDBACK) << 24 | self.first & HOP_SEQUENCE_MASK);
        bytes.put_u16(u16::try_from(self.arrivals.len()).unwrap_or(u16::MAX));
        let base = self.arrivals.iter().flatten().next().copied().unwrap_or(0);
        bytes.put_u32(base);
        let mut before = 0_i64;
        for arrival in &self.arrivals {
            let Some(arrival) = arrival else {
                bytes.put_u8(LOST);
                continue;
            };
            let since_base = i64::from(arrival.wrapping_sub(base).cast_signed());
            let units = (since_base - before * TICK_US).div_euclid(TICK_US);
            let units = units.clamp(i64::from(i16::MIN), i64::from(i16::MAX));
            before += units;
            match u8::try_from(units + ZERO).ok().filter(|byte| (1..ESCAPE).contains(byte)) {
                Some(byte) => bytes.put_u8(byte),
                None => {
                    bytes.put_u8(ESCAPE);
                    bytes.put_i16(i16::try_from(units).unwrap_or(i16::MAX));
                }
            }
        }
        bytes.freeze()
    }

    /// Reads a datagram that begins with [`KIND_FEEDBACK`].
    ///
    /// # Errors
    /// When it is cut short, about too many packets, or has bytes left over.
    pub fn decode(datagram: &[u8]) -> Result<Feedback, FeedbackError> {
        let truncated = || FeedbackError::Truncated(datagram.len());
        let mut rest = datagram;
        if rest.len() < HEADER_LEN {
            return Err(truncated());
        }
        let first = rest.get_u32() & HOP_SEQUENCE_MASK;
        let count = rest.get_u16();
        if usize::from(count) > MAX_FEEDBACK_COUNT {
            return Err(FeedbackError::Count(count));
        }
        let base = rest.get_u32();
        let mut before = 0_i64;
        let mut arrivals = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let units = match rest.try_get_u8().map_err(|_| truncated())? {
                LOST => {
                    arrivals.push(None);
                    continue;
                }
                ESCAPE => i64::from(rest.try_get_i16().map_err(|_| truncated())?),
                byte => i64::from(byte) - ZERO,
            };
            before += units;
            let offset = u32::try_from((before * TICK_US).rem_euclid(1 << 32)).unwrap_or(0);
            arrivals.push(Some(base.wrapping_add(offset)));
        }
        match rest.len() {
            0 => Ok(Feedback { first, arrivals }),
            left => Err(FeedbackError::LeftOver(left)),
        }
    }

    /// How exact the arrival times are.
    pub const TICK: Duration = Duration::from_micros(TICK_US.unsigned_abs());
}

const HEADER_LEN: usize = 10;
const TICK_US: i64 = 250;
const LOST: u8 = 0;
const ESCAPE: u8 = 255;
/// The byte that means no time at all: room for 16 ms of reordering below it and 47 ms of distance above.
const ZERO: i64 = 65;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let feedback = Feedback { first: 7, arrivals: vec![Some(1000), None, Some(2000), Some(1_000_000)] };
        let bytes = feedback.encode();
        assert_eq!(&bytes[..], b"\x03\x00\x00\x07\x00\x04\x00\x00\x03\xe8\x41\x00\x45\xff\x0f\x98");
        assert_eq!(Feedback::decode(&bytes), Ok(feedback));
    }

    #[test]
    fn the_longest_report_passes_and_a_longer_one_does_not() {
        let report = |count| Feedback { first: 0, arrivals: vec![None; count] };
        assert!(Feedback::decode(&report(MAX_FEEDBACK_COUNT).encode()).is_ok());
        assert!(matches!(Feedback::decode(&report(MAX_FEEDBACK_COUNT + 1).encode()), Err(FeedbackError::Count(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Feedback::decode(&bytes);
        }

        #[test]
        fn arrivals_survive_to_a_tick(
            base in any::<u32>(),
            gaps in proptest::collection::vec(proptest::option::of(-20_000_i32..200_000), 1..100),
        ) {
            let mut at = base;
            let arrivals: Vec<Option<u32>> = gaps
                .into_iter()
                .map(|gap| gap.map(|gap| {
                    at = at.wrapping_add_signed(gap);
                    at
                }))
                .collect();
            let read = Feedback::decode(&Feedback { first: 1, arrivals: arrivals.clone() }.encode()).unwrap();
            prop_assert_eq!(read.arrivals.len(), arrivals.len());
            for (read, sent) in read.arrivals.iter().zip(&arrivals) {
                prop_assert_eq!(read.is_some(), sent.is_some());
                if let (Some(read), Some(sent)) = (read, sent) {
                    prop_assert!(sent.wrapping_sub(*read).cast_signed().abs() < 2 * 250);
                }
            }
        }
    }
}
