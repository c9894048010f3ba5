//! Token bucket: how much of something may happen, on average and at once.
//!
//! Amounts and the time go in, yes or no comes out. What was refused costs nothing, so a sender that slows down is
//! served again at once.

use crate::units::Time;

/// Allows `rate` units a second on average and `burst` units at once. It starts full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bucket {
    rate: u64,
    burst: u64,
    /// Millionths of a unit, so that slow rates lose nothing to rounding.
    level: u64,
    filled: Time,
}

impl Bucket {
    /// A full bucket.
    pub const fn new(rate: u64, burst: u64, now: Time) -> Self {
        Bucket { rate, burst, level: burst.saturating_mul(MICRO), filled: now }
    }

    /// Takes `amount` units if they are there.
    pub fn take(&mut self, amount: u64, now: Time) -> bool {
        let is_there = self.holds(amount, now);
        if is_there {
            self.level -= amount.saturating_mul(MICRO);
        }
        is_there
    }

    /// Whether `amount` units are there.
    pub fn holds(&mut self, amount: u64, now: Time) -> bool {
        self.fill(now);
        amount.saturating_mul(MICRO) <= self.level
    }

    fn fill(&mut self, now: Time) {
        let micros = now.as_micros().saturating_sub(self.filled.as_micros());
        let full = self.burst.saturating_mul(MICRO);
        self.level = self.level.saturating_add(micros.saturating_mul(self.rate)).min(full);
        self.filled = self.filled.max(now);
    }
}

const MICRO: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_follows_waits() {
        let mut bucket = Bucket::new(5, 20, Time::ZERO);
        assert!(bucket.take(20, Time::ZERO));
        assert!(!bucket.take(1, Time::from_millis(199)));
        assert!(bucket.take(1, Time::from_millis(200)));
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let mut bucket = Bucket::new(1, 10, Time::ZERO);
        assert!(!bucket.take(11, Time::ZERO));
        assert!(bucket.take(10, Time::ZERO));
    }

    #[test]
    fn a_long_rest_saves_up_one_burst_only() {
        let mut bucket = Bucket::new(5, 20, Time::ZERO);
        let later = Time::from_millis(3_600_000);
        assert!(!bucket.take(21, later));
        assert!(bucket.take(20, later));
    }

    #[test]
    fn time_that_runs_backward_gives_nothing() {
        let mut bucket = Bucket::new(10, 10, Time::from_millis(1000));
        assert!(bucket.take(10, Time::from_millis(1000)));
        assert!(!bucket.take(1, Time::ZERO));
        assert!(!bucket.take(1, Time::from_millis(1000)));
    }

    #[test]
    fn no_rate_overflows() {
        let mut bucket = Bucket::new(u64::MAX, u64::MAX, Time::ZERO);
        assert!(bucket.take(1, Time::from_micros(u64::MAX)));
    }
}
