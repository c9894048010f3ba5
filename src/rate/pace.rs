//! When the next packet may go: the rate as a level that fills up, with room for a burst while the way is free.
//!
//! A burst of a small picture goes at once and in one call; a large one is spread so that the sound of others does not wait
//! behind it.

use std::time::Duration;

use crate::params::{
    NARROW, PACE_BURST, PACE_BURST_FULL, PACE_BURST_SPAN, PACE_FACTOR, PACE_FACTOR_NARROW, QUEUE_QUIET,
};
use crate::units::{Bitrate, Time};

/// Spreads packets over time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    rate: Bitrate,
    burst: f64,
    /// Bytes that may go now; below zero after what did not wait.
    level: f64,
    filled: Time,
}

impl Pace {
    /// A pace with room for a first burst.
    pub fn new(now: Time) -> Self {
        let burst = PACE_BURST as f64;
        Pace { rate: Bitrate::from_bits(0), burst, level: burst, filled: now }
    }

    /// The way carries `estimate`, or nobody knows what when it is new, and packets wait `queue` on it.
    pub fn set_rate(&mut self, estimate: Bitrate, queue: Duration, is_new: bool, now: Time) {
        self.fill(now);
        let factor = if estimate < NARROW { PACE_FACTOR_NARROW } else { PACE_FACTOR };
        self.set(estimate, factor, PACE_BURST, queue, is_new);
    }

    /// The same of what leads to so many peers, who together would send more than it carries if it is short.
    pub fn set_rate_of_all(&mut self, estimate: Bitrate, queue: Duration, peers: usize, is_short: bool, now: Time) {
        self.fill(now);
        let (factor, burst) =
            if is_short { (PACE_FACTOR_NARROW, PACE_BURST) } else { (PACE_FACTOR, PACE_BURST * peers) };
        self.set(estimate, factor, burst, queue, false);
    }

    fn set(&mut self, estimate: Bitrate, (times, of): (u64, u64), most: usize, queue: Duration, is_new: bool) {
        self.rate = Bitrate::from_bits(estimate.as_bits() * times / of);
        let is_free = queue <= QUEUE_QUIET;
        let carried = estimate.as_bits() as f64 / 8.0 * PACE_BURST_SPAN.as_secs_f64();
        self.burst = match (is_free, is_new) {
            (true, true) => most as f64,
            (true, false) => carried.clamp(PACE_BURST_FULL as f64, most as f64),
            (false, _) => PACE_BURST_FULL as f64,
        };
        self.level = self.level.min(self.burst);
    }

    /// Whether a packet may go.
    pub fn may_send(&self, now: Time) -> bool {
        self.level_at(now) > 0.0
    }

    /// A packet went.
    pub fn handle_sent(&mut self, bytes: usize, now: Time) {
        self.fill(now);
        self.level -= bytes as f64;
    }

    /// When a packet may go.
    pub fn free_at(&self) -> Time {
        if self.level > 0.0 || self.rate.as_bits() == 0 {
            return self.filled;
        }
        let wait = -self.level * 8.0 / self.rate.as_bits() as f64;
        // Times are whole microseconds; one more, or nothing could go yet.
        self.filled + Duration::from_secs_f64(wait) + Duration::from_micros(1)
    }

    /// How fast packets go.
    pub fn rate(&self) -> Bitrate {
        self.rate
    }

    fn fill(&mut self, now: Time) {
        self.level = self.level_at(now);
        self.filled = self.filled.max(now);
    }

    fn level_at(&self, now: Time) -> f64 {
        let gained = now.since(self.filled).as_secs_f64() * self.rate.as_bits() as f64 / 8.0;
        (self.level + gained).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Bitrate = Bitrate::from_kilobits(800);

    /// Bytes that go in a second, a packet of 1000 bytes at a time, while packets wait `queue` on the way.
    fn in_a_second(queue: Duration) -> usize {
        let mut pace = Pace::new(Time::ZERO);
        let mut now = Time::ZERO;
        let mut sent = 0;
        pace.set_rate(RATE, queue, true, now);
        while now < Time::from_millis(1000) {
            while pace.may_send(now) {
                pace.handle_sent(1000, now);
                sent += 1000;
            }
            now = pace.free_at().max(now + Duration::from_micros(1));
        }
        sent
    }

    #[test]
    fn it_is_a_little_faster_than_the_estimate() {
        let expected = RATE.as_bits() * PACE_FACTOR.0 / PACE_FACTOR.1 / 8;
        let sent = in_a_second(Duration::from_secs(1)) as u64;
        assert!((expected..expected + 3 * PACE_BURST_FULL as u64).contains(&sent), "{sent} of {expected}");
    }

    #[test]
    fn a_free_way_takes_a_larger_burst() {
        assert!(in_a_second(Duration::ZERO) > in_a_second(Duration::from_secs(1)));
    }

    #[test]
    fn it_says_when_the_next_packet_may_go() {
        let mut pace = Pace::new(Time::ZERO);
        pace.set_rate(RATE, Duration::ZERO, true, Time::ZERO);
        pace.handle_sent(PACE_BURST + 5000, Time::ZERO);
        assert!(!pace.may_send(Time::ZERO));
        assert!(pace.may_send(pace.free_at()));
    }

    #[test]
    fn what_leads_to_several_takes_a_burst_for_each_unless_it_is_short() {
        let at_once = |peers, is_short| {
            let mut pace = Pace::new(Time::ZERO);
            pace.set_rate_of_all(Bitrate::from_kilobits(50_000), Duration::ZERO, peers, is_short, Time::ZERO);
            let now = Time::from_millis(1000);
            let mut packets = 0;
            while pace.may_send(now) {
                pace.handle_sent(1000, now);
                packets += 1;
            }
            packets
        };
        assert!(at_once(3, false) >= 2 * at_once(1, false));
        assert_eq!(at_once(3, true), at_once(1, true));
    }
}
