//! A rate as it is measured: what passed in the last while.

use std::collections::VecDeque;
use std::time::Duration;

use crate::params::RATE_SPAN;
use crate::units::Time;

/// Bits a second over the last while.
#[derive(Debug, Default)]
pub(super) struct RateMeter {
    events: VecDeque<(Time, usize)>,
    last: Time,
    /// What passed so shortly before the last may not all be known yet.
    settles: Duration,
}

impl RateMeter {
    /// One that is told in several turns what has passed: all of it so long afterwards.
    pub(super) fn settling(settles: Duration) -> Self {
        RateMeter { settles, ..RateMeter::default() }
    }

    /// Something of `bytes` bytes passed.
    pub(super) fn add(&mut self, at: Time, bytes: usize) {
        self.events.push_back((at, bytes));
        self.last = self.last.max(at);
        while self.events.front().is_some_and(|(first, _)| at.since(*first) > RATE_SPAN + self.settles) {
            self.events.pop_front();
        }
    }

    /// The rate of the end of the span only, bits a second.
    pub(super) fn rate_of_last(&self, span: Duration) -> f64 {
        let end = self.end();
        let is_in_span = |at: Time| at <= end && end.since(at) < span;
        let bytes: usize = self.events.iter().filter(|(at, _)| is_in_span(*at)).map(|(_, bytes)| bytes).sum();
        bytes as f64 * 8.0 / span.as_secs_f64()
    }

    /// Bits a second.
    pub(super) fn rate(&self) -> f64 {
        let Some((first, _)) = self.events.front() else { return 0.0 };
        let end = self.end();
        // The first packet marks the beginning of the span, so its own bytes came before it.
        let bytes: usize = self.events.iter().skip(1).filter(|(at, _)| *at <= end).map(|(_, bytes)| bytes).sum();
        bytes as f64 * 8.0 / end.since(*first).max(Duration::from_millis(20)).as_secs_f64()
    }

    /// Until when everything is known.
    fn end(&self) -> Time {
        self.last - self.settles
    }
}
