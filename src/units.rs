//! Units and identities that must not be mixed: each is a type of its own.
//!
//! A number that means something carries that meaning in its type; conversions are named.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;
use std::time::Duration;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};

/// Microseconds since a machine was started. Never the time of day, never another machine's clock.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Time(u64);

impl Time {
    /// The start of the machine.
    pub const ZERO: Time = Time(0);

    /// The moment `micros` microseconds after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Time(micros)
    }

    /// The moment `millis` milliseconds after the start.
    pub const fn from_millis(millis: u64) -> Self {
        Time(millis * 1000)
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, rhs: Duration) -> Time {
        Time(self.0.saturating_add(micros(rhs)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, rhs: Duration) -> Time {
        Time(self.0.saturating_sub(micros(rhs)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Whole microseconds of a duration; half a million years fit.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// When a frame was captured: microseconds since its track's epoch, on its sender's clock.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct CaptureTime(u64);

impl CaptureTime {
    /// `micros` microseconds after the track's epoch.
    pub const fn from_micros(micros: u64) -> Self {
        CaptureTime(micros)
    }

    /// Microseconds since the track's epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

/// Bits per second; never bytes, never kilobits.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Bitrate(u64);

impl Bitrate {
    /// `bits` bits a second.
    pub const fn from_bits(bits: u64) -> Self {
        Bitrate(bits)
    }

    /// `kilobits` thousand bits a second.
    pub const fn from_kilobits(kilobits: u64) -> Self {
        Bitrate(kilobits * 1000)
    }

    /// Bits a second.
    pub const fn as_bits(self) -> u64 {
        self.0
    }

    /// The rate that moves `bytes` within `span`; zero for an empty span.
    pub fn of(bytes: u64, span: Duration) -> Self {
        let span = span.as_micros();
        if span == 0 {
            return Bitrate(0);
        }
        let bits = u128::from(bytes) * 8 * 1_000_000 / span;
        Bitrate(u64::try_from(bits).unwrap_or(u64::MAX))
    }

    /// How many bytes this rate moves within `span`.
    pub fn bytes_in(self, span: Duration) -> u64 {
        let bytes = u128::from(self.0) * span.as_micros() / 8_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl FromStr for Bitrate {
    type Err = ParseBitrateError;

    /// Reads `800k`, `2M`, `2.5M` or plain bits such as `64000`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseBitrateError(text.to_owned());
        let (number, scale) = match text.strip_suffix(['k', 'K']) {
            Some(number) => (number, 1e3),
            None => match text.strip_suffix(['m', 'M']) {
                Some(number) => (number, 1e6),
                None => (text, 1.0),
            },
        };
        let bits = number.parse::<f64>().map_err(|_| error())? * scale;
        if !(1.0..=1e12).contains(&bits) {
            return Err(error());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 1e12, as checked")]
        Ok(Bitrate(bits as u64))
    }
}

/// A text that is no bit rate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no bit rate: write for example 800k or 2M (bits per second, at most 1000000M)")]
pub struct ParseBitrateError(String);

/// Who a peer or a rendezvous is: SHA-256 of the SubjectPublicKeyInfo of its Ed25519 key.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// The identity with this digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        PeerId(bytes)
    }

    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight characters: enough to tell the members of one room apart.
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32().encode(&self.0))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for PeerId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode_base32(text).map(PeerId)
    }
}

/// A text that is no identity or secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected {expected} characters a–z and 2–7, found {found} characters that do not decode")]
pub struct ParseIdError {
    expected: usize,
    found: usize,
}

/// Lower-case base32 without padding (RFC 4648 §6): safe in file names, read aloud, typed on any keyboard.
pub fn base32() -> Encoding {
    let mut spec = Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.translate.from.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    spec.translate.to.push_str("abcdefghijklmnopqrstuvwxyz");
    spec.encoding().expect("32 distinct symbols make an encoding")
}

/// Decodes exactly `N` bytes of base32.
///
/// # Errors
/// When `text` has another length or a character outside the alphabet.
pub fn decode_base32<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let expected = (N * 8).div_ceil(5);
    let error = ParseIdError { expected, found: text.chars().count() };
    let bytes = base32().decode(text.as_bytes()).map_err(|_| error.clone())?;
    bytes.try_into().map_err(|_| error)
}

/// A room as the rendezvous knows it: derived from the room secret, which it never sees.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct RoomId([u8; 32]);

impl RoomId {
    /// The room with this derived id.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        RoomId(bytes)
    }

    /// The derived id.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32().encode(&self.0).chars().take(8).collect::<String>())
    }
}

/// One track of one peer: a camera, a microphone, a screen or a file's stream.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct TrackId(pub u16);

/// The place of a frame in its track, in the order frames are decoded; it starts at 0 and never repeats.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct FrameNumber(pub u32);

impl FrameNumber {
    /// The number of the next frame, or `None` after the last one (in 2.7 years at 50 frames a second).
    pub const fn next(self) -> Option<FrameNumber> {
        match self.0.checked_add(1) {
            Some(number) => Some(FrameNumber(number)),
            None => None,
        }
    }
}

/// One transfer of bulk from one peer to another, as the sender's program numbers it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct TransferId(pub u64);

/// One relay session: two peers and the way between them through one relay.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SessionId(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_below_zero() {
        assert_eq!(Time::from_millis(5) - Duration::from_secs(1), Time::ZERO);
        assert_eq!(Time::ZERO.since(Time::from_millis(5)), Duration::ZERO);
    }

    #[test]
    fn a_bit_rate_is_read_with_its_scale() {
        assert_eq!("800k".parse(), Ok(Bitrate::from_kilobits(800)));
        assert_eq!("2.5M".parse(), Ok(Bitrate::from_kilobits(2500)));
        assert_eq!("64000".parse(), Ok(Bitrate::from_kilobits(64)));
    }

    #[test]
    fn a_bit_rate_out_of_range_is_refused_with_an_example() {
        for text in ["", "0", "-5k", "fast", "NaN", "9999999M"] {
            let error = text.parse::<Bitrate>().unwrap_err();
            assert!(error.to_string().contains("800k"), "{error}");
        }
    }

    #[test]
    fn an_identity_survives_its_text_in_either_case() {
        let id = PeerId::from_bytes([0xa5; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
    }

    #[test]
    fn a_short_identity_says_how_long_it_should_be() {
        let error = "abc".parse::<PeerId>().unwrap_err();
        assert_eq!(error.to_string(), "expected 52 characters a–z and 2–7, found 3 characters that do not decode");
    }

    #[test]
    fn a_rate_is_bytes_over_time() {
        assert_eq!(Bitrate::of(1000, Duration::from_secs(1)), Bitrate::from_kilobits(8));
        assert_eq!(Bitrate::of(1000, Duration::ZERO), Bitrate::from_bits(0));
        assert_eq!(Bitrate::from_kilobits(8).bytes_in(Duration::from_millis(500)), 500);
    }
}
