//! The receiver's side of feedback: packets of one hop come in, reports about them go out.
//!
//! A report covers what has come since the report before the last, so that a lost report costs nothing. Reports are as
//! frequent as 50 ms while packets come, fewer when their bytes would exceed a fiftieth of the media, and none when idle.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::params::{FEEDBACK_COST, FEEDBACK_INTERVAL, FEEDBACK_INTERVAL_MAX, FEEDBACK_SHARE, MAX_FEEDBACK_COUNT};
use crate::units::Time;
use crate::wire::feedback::Feedback;
use crate::wire::packet::{unwrap_sequence, wrap_sequence};

/// Notes arrivals and reports them.
#[derive(Debug, Default)]
pub struct Reporter {
    arrivals: BTreeMap<u64, Time>,
    /// The highest sequence number seen.
    highest: Option<u64>,
    /// Where the report before the last ended, and where the last did.
    covered: [u64; 2],
    due: Option<Time>,
    last: Time,
    /// Bytes of media since the last report.
    bytes: usize,
}

impl Reporter {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet of the hop came, in a datagram of `bytes` bytes.
    pub fn handle_packet(&mut self, hop_sequence: u32, bytes: usize, now: Time) {
        let sequence = unwrap_sequence(self.highest, hop_sequence);
        if self.highest.is_none() {
            self.covered = [sequence; 2];
        }
        self.highest = Some(self.highest.map_or(sequence, |highest| highest.max(sequence)));
        self.arrivals.entry(sequence).or_insert(now);
        self.bytes += bytes;
        while self.arrivals.len() > MAX_FEEDBACK_COUNT {
            self.arrivals.pop_first();
        }
        if self.due.is_none() {
            self.due = Some((self.last + FEEDBACK_INTERVAL).max(now));
        }
    }

    /// When a report is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// The report, if one is due.
    pub fn poll(&mut self, now: Time) -> Option<Feedback> {
        if self.due? > now {
            return None;
        }
        let end = self.highest? + 1;
        let [from, _] = self.covered;
        let from = from.max(end.saturating_sub(MAX_FEEDBACK_COUNT as u64));
        let report = self.report(from, end);
        if !self.is_affordable(&report, now) {
            return None;
        }
        let [_, before] = self.covered;
        self.covered = [before.max(from), end];
        self.arrivals = self.arrivals.split_off(&self.covered[0]);
        self.due = None;
        self.last = now;
        self.bytes = 0;
        Some(report)
    }

    /// Whether the report costs at most its share of the media it is about; if not, it is put off.
    fn is_affordable(&mut self, report: &Feedback, now: Time) -> bool {
        let cost = report.arrivals.len() + FEEDBACK_COST;
        let waited = now.since(self.last);
        if cost * FEEDBACK_SHARE <= self.bytes || waited >= FEEDBACK_INTERVAL_MAX {
            return true;
        }
        self.due = Some(now + FEEDBACK_INTERVAL.min(Duration::from_millis(25)));
        false
    }

    fn report(&self, from: u64, end: u64) -> Feedback {
        let arrival = |sequence: u64| {
            let arrived = self.arrivals.get(&sequence)?;
            Some(u32::try_from(arrived.as_micros() & u64::from(u32::MAX)).unwrap_or(0))
        };
        let first = wrap_sequence(from);
        Feedback { first, arrivals: (from..end).map(arrival).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports about packets that come every 5 ms, but for those in `lost`, for `count` packets of 1000 bytes.
    fn reports(count: u32, lost: &[u32]) -> Vec<(Time, Feedback)> {
        let mut reporter = Reporter::new();
        let mut reports = Vec::new();
        for sequence in 0..count {
            let now = Time::from_millis(u64::from(sequence) * 5);
            if !lost.contains(&sequence) {
                reporter.handle_packet(sequence, 1000, now);
            }
            reports.extend(reporter.poll(now).map(|report| (now, report)));
        }
        reports
    }

    #[test]
    fn reports_come_at_most_every_fifty_milliseconds() {
        let reports = reports(200, &[]);
        assert!(reports.windows(2).all(|pair| pair[1].0.since(pair[0].0) >= FEEDBACK_INTERVAL));
        assert!(reports.len() >= 18, "{}", reports.len());
    }

    #[test]
    fn every_packet_is_reported_twice_so_that_a_report_may_be_lost() {
        let reports = reports(100, &[42]);
        let says = |report: &Feedback, sequence: u32| {
            let at = usize::try_from(sequence.checked_sub(report.first)?).ok()?;
            report.arrivals.get(at).copied()
        };
        let about = |sequence| reports.iter().filter_map(|(_, report)| says(report, sequence)).collect::<Vec<_>>();
        assert_eq!(about(42), [None, None]);
        assert_eq!(about(43).len(), 2);
        assert!(about(43).iter().all(Option::is_some));
    }

    #[test]
    fn nothing_is_reported_when_nothing_comes() {
        let mut reporter = Reporter::new();
        for sequence in 0..3 {
            reporter.handle_packet(sequence, 1000, Time::ZERO);
        }
        assert!(reporter.poll(Time::from_millis(1000)).is_some());
        assert_eq!(reporter.poll_timeout(), None);
    }

    #[test]
    fn sound_alone_is_reported_more_rarely() {
        let mut reporter = Reporter::new();
        let mut bytes = 0;
        for packet in 0..500_u32 {
            let now = Time::from_millis(u64::from(packet) * 20);
            reporter.handle_packet(packet, 120, now);
            bytes += reporter.poll(now).map_or(0, |report| report.encode().len());
        }
        assert!(bytes * 48 <= 500 * 120, "{bytes} bytes of reports about {} of sound", 500 * 120);
    }
}
