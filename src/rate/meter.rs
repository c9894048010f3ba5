//! A rate as it is measured: what passed in the last while.

use std::collections::VecDeque;
use std::time::Duration;

use crate::params::RATE_SPAN;
use crate::units::Time;

/// Bits a second over the last while.
#[derive(Debug, Default)]
pub(super) struct RateMeter {
    events: VecDeque<(Time, usize)>,
    bytes: usize,
}

impl RateMeter {
    /// Something of `bytes` bytes passed.
    pub(super) fn add(&mut self, at: Time, bytes: usize) {
        self.events.push_back((at, bytes));
        self.bytes += bytes;
        while let Some((first, old)) = self.events.front().copied().filter(|(first, _)| at.since(*first) > RATE_SPAN) {
            self.events.pop_front();
            debug_assert!(first <= at, "times of one clock are in order, but for a little reordering");
            self.bytes -= old;
        }
    }

    /// The rate of the end of the span only, bits a second.
    pub(super) fn rate_of_last(&self, span: Duration) -> f64 {
        let Some((last, _)) = self.events.back() else { return 0.0 };
        let bytes: usize = self.events.iter().filter(|(at, _)| last.since(*at) < span).map(|(_, bytes)| bytes).sum();
        bytes as f64 * 8.0 / span.as_secs_f64()
    }

    /// Bits a second.
    pub(super) fn rate(&self) -> f64 {
        let (Some((first, bytes)), Some((last, _))) = (self.events.front(), self.events.back()) else { return 0.0 };
        // The first packet marks the beginning of the span, so its own bytes came before it.
        let span = last.since(*first).max(Duration::from_millis(20)).as_secs_f64();
        (self.bytes - bytes) as f64 * 8.0 / span
    }
}
