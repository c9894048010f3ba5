//! Counters of one peer connection, and the rates of the last second.

use std::time::Duration;

use crate::params::STATS_INTERVAL;
use crate::units::{CaptureTime, FrameNumber, Time};
use crate::wire::packet::HOP_SEQUENCE_MASK;

/// Counts what is sent and received.
#[derive(Debug)]
pub(super) struct Meter {
    /// When the interval under way began.
    began: Time,
    sent: u64,
    received: u64,
    hops: HopCounter,
    last_packet: Option<Time>,
    /// Bits sent, bits received and loss of the last whole interval.
    pub(super) rates: (u64, u64, f64),
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
            rates: (0, 0, 0.0),
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

    /// Closes the interval if it is over.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        let span = now.since(self.began);
        if span < STATS_INTERVAL {
            return;
        }
        let bits = |bytes: u64| crate::units::Bitrate::of(bytes, span).as_bits();
        self.rates = (bits(self.sent), bits(self.received), self.hops.take_loss());
        (self.sent, self.received) = (0, 0);
        self.began = now;
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
        meter.handle_timeout(Time::from_millis(1000));
        assert_eq!(meter.rates, (0, 5600, 0.3));
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
