//! Counters of one peer connection, and the rates of the last second.

use std::time::Duration;

use crate::params::STATS_LEAST;
use crate::units::{Bitrate, CaptureTime, FrameNumber, Time};
use crate::wire::packet::HOP_SEQUENCE_MASK;

/// How fast something came and went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// Bits sent, a second.
    pub(super) sent: u64,
    /// Bits received, a second.
    pub(super) received: u64,
    /// Share of the peer's packets that were lost on the way.
    pub(super) loss: f64,
}

/// Counts what is sent and received.
#[derive(Debug)]
pub(super) struct Meter {
    /// When the interval under way began.
    began: Time,
    sent: u64,
    received: u64,
    hops: HopCounter,
    last_packet: Option<Time>,
    rates: Option<Rates>,
    pub(super) longest_gap: Duration,
}

impl Meter {
    /// Counts from now on.
    pub(super) fn new(now: Time) -> Self {
        Meter {
            began: now,
            sent: 0,
            received: 0,
            hops: HopCounter::default(),
            last_packet: None,
            rates: None,
            longest_gap: Duration::ZERO,
        }
    }

    pub(super) fn handle_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    pub(super) fn handle_received(&mut self, bytes: usize, hop_sequence: u32, now: Time) {
        self.received += bytes as u64;
        self.hops.handle(hop_sequence);
        if let Some(last) = self.last_packet {
            self.longest_gap = self.longest_gap.max(now.since(last));
        }
        self.last_packet = Some(now);
    }

    /// The peer has paused or ended what it sends: the silence that follows is no gap.
    pub(super) fn handle_pause(&mut self) {
        self.last_packet = None;
    }

    /// Since this was last asked, or as it was then if that is hardly any time.
    pub(super) fn rates(&mut self, now: Time) -> Rates {
        let span = now.since(self.began);
        if let Some(rates) = self.rates.filter(|_| span < STATS_LEAST) {
            return rates;
        }
        let bits = |bytes: u64| Bitrate::of(bytes, span.max(STATS_LEAST)).as_bits();
        let rates = Rates { sent: bits(self.sent), received: bits(self.received), loss: self.hops.take_loss() };
        (self.sent, self.received, self.began) = (0, 0, now);
        *self.rates.insert(rates)
    }
}

/// Tells from gaps in the hop sequence how much was lost.
#[derive(Debug, Default)]
struct HopCounter {
    /// Highest sequence number seen, unwrapped.
    highest: Option<u64>,
    /// Highest at the end of the last interval.
    before: Option<u64>,
    received: u64,
}

impl HopCounter {
    fn handle(&mut self, sequence: u32) {
        let unwrapped = match self.highest {
            None => u64::from(sequence) + u64::from(HOP_SEQUENCE_MASK) + 1,
            Some(highest) => unwrap(highest, sequence),
        };
        self.before.get_or_insert(unwrapped - 1);
        self.highest = Some(self.highest.map_or(unwrapped, |highest| highest.max(unwrapped)));
        self.received += 1;
    }

    fn take_loss(&mut self) -> f64 {
        let (Some(highest), Some(before)) = (self.highest, self.before) else {
            return 0.0;
        };
        let expected = highest.saturating_sub(before);
        let lost = expected.saturating_sub(self.received);
        self.before = Some(highest);
        self.received = 0;
        if expected == 0 { 0.0 } else { lost as f64 / expected as f64 }
    }
}

/// The number nearest to `highest` whose low 24 bits are `sequence`.
fn unwrap(highest: u64, sequence: u32) -> u64 {
    let span = u64::from(HOP_SEQUENCE_MASK) + 1;
    let candidate = (highest & !(span - 1)) | u64::from(sequence);
    if candidate + span / 2 < highest {
        candidate + span
    } else if candidate > highest + span / 2 {
        candidate.saturating_sub(span)
    } else {
        candidate
    }
}

/// Knows how long one frame of sound lasts: by the distance of capture between neighbours.
#[derive(Debug, Default)]
pub(super) struct SoundMeter {
    last: Option<(FrameNumber, CaptureTime)>,
    step: Duration,
}

impl SoundMeter {
    pub(super) fn handle_sound(&mut self, number: FrameNumber, captured: CaptureTime) {
        if let Some((last, before)) = self.last.replace((number, captured))
            && last.next() == Some(number)
        {
            self.step = Duration::from_micros(captured.as_micros().saturating_sub(before.as_micros()));
        }
    }

    /// How long so many frames last; nothing for pictures.
    pub(super) fn lasted(&self, count: u32) -> Duration {
        self.step * count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_in_the_sequence_was_lost() {
        let mut meter = Meter::new(Time::ZERO);
        for sequence in [0, 1, 3, 2, 7, 8, 9] {
            meter.handle_received(100, sequence, Time::ZERO);
        }
        assert_eq!(meter.rates(Time::from_millis(1000)), Rates { sent: 0, received: 5600, loss: 0.3 });
    }

    #[test]
    fn rates_are_those_since_they_were_asked_and_of_no_shorter_time_than_tells_something() {
        let mut meter = Meter::new(Time::ZERO);
        let mut asked = |sent, at| {
            meter.handle_sent(sent);
            meter.rates(at).sent
        };
        let (first, later) = (Time::from_millis(10), Time::from_millis(510));
        assert_eq!(asked(1000, first), 16_000, "at first there is no older figure to give");
        assert_eq!(asked(500, later - Duration::from_micros(1)), 16_000);
        assert_eq!(asked(500, later), 16_000, "what was held back counts, too");
        assert_eq!(asked(0, later + STATS_LEAST), 0);
    }

    #[test]
    fn the_sequence_may_wrap() {
        let mut hops = HopCounter::default();
        for sequence in [HOP_SEQUENCE_MASK - 1, HOP_SEQUENCE_MASK, 0, 2] {
            hops.handle(sequence);
        }
        assert!((hops.take_loss() - 0.2).abs() < 1e-9);
    }
}
