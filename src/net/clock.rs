//! The one place where time is read.

#![expect(clippy::disallowed_types, reason = "the core's time is made from the clock here")]

use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};

use crate::trust::{PairSecret, RoomSecret};
use crate::units::Time;

/// Turns the clock into [`Time`] since a start, and back where a library wants its own type.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_unix: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Clock { start: Instant::now(), start_unix: unix.unwrap_or_default() }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.time(Instant::now())
    }

    /// The time at `instant`.
    pub fn time(&self, instant: Instant) -> Time {
        let micros = instant.saturating_duration_since(self.start).as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The clock's instant at `time`.
    pub fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_micros(time.as_micros())
    }

    /// Microseconds since 1970 at `time`.
    pub fn unix_micros(&self, time: Time) -> u64 {
        let unix = self.start_unix + Duration::from_micros(time.as_micros());
        u64::try_from(unix.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Microseconds since 1970, now.
pub fn unix_micros_now() -> u64 {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(unix.as_micros()).unwrap_or(u64::MAX)
}

/// A number that is equal for all programs on this machine since it was started, and means nothing to whoever does not
/// hold the room's secret; 0 where the system has no such number. Equal numbers mean that clocks agree.
pub fn machine_clock(secret: &RoomSecret) -> u64 {
    let Ok(boot) = std::fs::read("/proc/sys/kernel/random/boot_id") else { return 0 };
    let pair = PairSecret::from_bytes(Sha256::digest(&boot).into());
    let key = secret.probe_key(&pair);
    let (first, _) = key.as_bytes().split_first_chunk::<8>().expect("a key has 32 bytes");
    u64::from_be_bytes(*first)
}
