//! What an operator allows: each number bounds what one stranger or all of them together can cost.
//!
//! A table of a configuration file goes in, checked [`Limits`] come out. No limit can be switched off, only moved
//! within the bounds in which the rendezvous still works.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::params;
use crate::relay::RelayLimits;
use crate::units::Bitrate;

/// All limits of one rendezvous.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Peers at the same time.
    pub peers: usize,
    /// Peers from one IPv4 address or one IPv6 /56.
    pub peers_per_address: usize,
    /// Peers in one room.
    pub peers_per_room: usize,
    /// Rooms at the same time.
    pub rooms: usize,
    /// Control messages a second from one peer, on average.
    pub messages_per_second: u64,
    /// Control messages at once from one peer.
    pub message_burst: u64,
    /// Handshakes a minute from one IPv4 address or one IPv6 /56.
    pub handshakes_per_minute: u64,
    /// Handshakes at the same time before newcomers have to prove their address.
    pub handshakes_unproven: usize,
    /// Handshakes at the same time before newcomers are ignored.
    pub handshakes: usize,
    /// Relay sessions at the same time.
    pub relay_sessions: usize,
    /// Bits a second of one relay session, both directions together.
    #[serde(rename = "relay_session_kbps", with = "kilobits")]
    pub relay_session_rate: Bitrate,
    /// Bits a second of all relay sessions together.
    #[serde(rename = "relay_total_kbps", with = "kilobits")]
    pub relay_total_rate: Bitrate,
    /// How long a peer may take from the handshake to its first message.
    #[serde(rename = "hello_ms", with = "millis")]
    pub hello: Duration,
    /// How long a peer lives without a packet from it.
    #[serde(rename = "idle_ms", with = "millis")]
    pub idle: Duration,
    /// Tunnels at the same time.
    pub tunnels: usize,
    /// Tunnels from one IPv4 address or one IPv6 /56.
    pub tunnels_per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            peers: params::PEERS,
            peers_per_address: params::PEERS_PER_ADDRESS,
            peers_per_room: params::PEERS_PER_ROOM,
            rooms: params::ROOMS,
            messages_per_second: params::MESSAGES_PER_SECOND,
            message_burst: params::MESSAGE_BURST,
            handshakes_per_minute: params::HANDSHAKES_PER_MINUTE,
            handshakes_unproven: params::HANDSHAKES_UNPROVEN,
            handshakes: params::HANDSHAKES,
            relay_sessions: params::RELAY_SESSIONS,
            relay_session_rate: params::RELAY_SESSION_RATE,
            relay_total_rate: params::RELAY_TOTAL_RATE,
            hello: params::HELLO,
            idle: params::IDLE,
            tunnels: params::TUNNELS,
            tunnels_per_address: params::TUNNELS_PER_ADDRESS,
        }
    }
}

impl Limits {
    /// Checks every limit against the bounds in which the rendezvous still works.
    ///
    /// # Errors
    /// Names the first limit that lies outside, with its bounds.
    pub fn check(&self) -> Result<(), LimitError> {
        let rows = [
            ("peers", self.peers as u64, 2, 1_000_000),
            ("peers_per_address", self.peers_per_address as u64, 1, 1_000_000),
            ("peers_per_room", self.peers_per_room as u64, 2, 1000),
            ("rooms", self.rooms as u64, 1, 1_000_000),
            ("messages_per_second", self.messages_per_second, 1, 10_000),
            ("message_burst", self.message_burst, 5, 100_000),
            ("handshakes_per_minute", self.handshakes_per_minute, 1, 1_000_000),
            ("handshakes_unproven", self.handshakes_unproven as u64, 0, 65_536),
            ("handshakes", self.handshakes as u64, 1, 65_536),
            ("relay_sessions", self.relay_sessions as u64, 0, 1_000_000),
            ("relay_session_kbps", kilobits::of(self.relay_session_rate), 64, 1_000_000),
            ("relay_total_kbps", kilobits::of(self.relay_total_rate), 64, 100_000_000),
            ("hello_ms", whole_millis(self.hello), 100, 60_000),
            ("idle_ms", whole_millis(self.idle), 5_000, 600_000),
            ("tunnels", self.tunnels as u64, 0, 1_000_000),
            ("tunnels_per_address", self.tunnels_per_address as u64, 1, 1_000_000),
        ];
        match rows.into_iter().find(|&(_, value, min, max)| value < min || value > max) {
            Some((name, value, min, max)) => Err(LimitError { name, value, min, max }),
            None => Ok(()),
        }
    }

    /// The part of them that the relay needs.
    pub fn relay(&self) -> RelayLimits {
        RelayLimits {
            sessions: self.relay_sessions,
            session_rate: self.relay_session_rate,
            total_rate: self.relay_total_rate,
        }
    }
}

/// A limit outside its bounds.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("limit {name} = {value} is out of bounds: {min} to {max} are allowed")]
pub struct LimitError {
    name: &'static str,
    value: u64,
    min: u64,
    max: u64,
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

mod millis {
    use super::{Deserialize, Duration, whole_millis};
    use serde::{Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        whole_millis(*duration).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

mod kilobits {
    use super::{Bitrate, Deserialize};
    use serde::{Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(rate: &Bitrate, serializer: S) -> Result<S::Ok, S::Error> {
        of(*rate).serialize(serializer)
    }

    pub(super) fn of(rate: Bitrate) -> u64 {
        rate.as_bits() / 1000
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bitrate, D::Error> {
        let bits = u64::deserialize(deserializer)?.saturating_mul(1000);
        Ok(Bitrate::from_bits(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_lie_within_their_bounds() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn a_limit_out_of_bounds_is_named_with_its_bounds() {
        let limits = Limits { peers_per_room: 1, ..Limits::default() };
        let error = limits.check().unwrap_err().to_string();
        assert_eq!(error, "limit peers_per_room = 1 is out of bounds: 2 to 1000 are allowed");
    }

    #[test]
    fn a_duration_and_a_rate_are_checked_in_the_unit_they_are_written_in() {
        let short = Limits { hello: Duration::from_millis(99), ..Limits::default() };
        assert!(short.check().unwrap_err().to_string().contains("hello_ms = 99"));
        let slow = Limits { relay_session_rate: Bitrate::from_kilobits(63), ..Limits::default() };
        assert!(slow.check().unwrap_err().to_string().contains("relay_session_kbps = 63"));
    }
}
