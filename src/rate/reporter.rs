//! The receiver's side of feedback: packets of one hop come in, reports about them go out.
//!
//! A report covers what has come since the report before the last, and what earlier ones covered as far as it may cost that
//! much, so that a burst of lost reports costs nothing. Reports are as frequent as 50 ms while packets come, fewer when their
//! bytes would exceed a fiftieth of the media, and none when idle.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::params::{
    FEEDBACK_COST, FEEDBACK_INTERVAL, FEEDBACK_INTERVAL_MAX, FEEDBACK_REACH, FEEDBACK_SHARE, MAX_FEEDBACK_COUNT,
};
use crate::units::Time;
use crate::wire::feedback::Feedback;
use crate::wire::packet::{unwrap_sequence, wrap_sequence};

/// Notes arrivals and reports them.
#[derive(Debug, Default)]
pub struct Reporter {
    arrivals: BTreeMap<u64, Time>,
    /// The highest sequence number seen.
    highest: Option<u64>,
    /// Where the last reports ended.
    covered: VecDeque<u64>,
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
            self.covered = VecDeque::from([sequence]);
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

    /// The report, if one is due. On a narrow way back it does not repeat more than it must.
    pub fn poll(&mut self, is_narrow: bool, now: Time) -> Option<Feedback> {
        if self.due? > now {
            return None;
        }
        let end = self.highest? + 1;
        let least = end.saturating_sub(MAX_FEEDBACK_COUNT as u64);
        let mut reaches = self.covered.iter().rev().map(|from| (*from).max(least));
        let last = reaches.next()?;
        let from = reaches.next().unwrap_or(last);
        if !self.may_cost(end - from) && now.since(self.last) < FEEDBACK_INTERVAL_MAX {
            self.due = Some(now + FEEDBACK_INTERVAL.min(Duration::from_millis(25)));
            return None;
        }
        let from = reaches.take_while(|from| !is_narrow && self.may_cost(end - from)).last().unwrap_or(from);
        let report = self.report(from, end);
        self.covered.push_back(end);
        if self.covered.len() > FEEDBACK_REACH {
            self.covered.pop_front();
        }
        self.arrivals = self.arrivals.split_off(self.covered.front()?);
        self.due = None;
        self.last = now;
        self.bytes = 0;
        Some(report)
    }

    /// Whether a report about so many packets costs at most its share of the media it is about.
    fn may_cost(&self, count: u64) -> bool {
        let cost = usize::try_from(count).unwrap_or(usize::MAX).saturating_add(FEEDBACK_COST);
        cost.saturating_mul(FEEDBACK_SHARE) <= self.bytes
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

    /// Reports about packets that come every 5 ms, but for those in `lost`, for `count` packets of so many bytes.
    fn reports(count: u32, lost: &[u32], bytes: usize) -> Vec<(Time, Feedback)> {
        let mut reporter = Reporter::new();
        let mut reports = Vec::new();
        for sequence in 0..count {
            let now = Time::from_millis(u64::from(sequence) * 5);
            if !lost.contains(&sequence) {
                reporter.handle_packet(sequence, bytes, now);
            }
            reports.extend(reporter.poll(false, now).map(|report| (now, report)));
        }
        reports
    }

    /// What they say about a packet.
    fn about(reports: &[(Time, Feedback)], sequence: u32) -> Vec<Option<u32>> {
        let says = |report: &Feedback| {
            let at = usize::try_from(sequence.checked_sub(report.first)?).ok()?;
            report.arrivals.get(at).copied()
        };
        reports.iter().filter_map(|(_, report)| says(report)).collect()
    }

    #[test]
    fn reports_come_at_most_every_fifty_milliseconds() {
        let reports = reports(200, &[], 1000);
        assert!(reports.windows(2).all(|pair| pair[1].0.since(pair[0].0) >= FEEDBACK_INTERVAL));
        assert!(reports.len() >= 18, "{}", reports.len());
    }

    #[test]
    fn every_packet_is_reported_so_often_that_a_burst_of_reports_may_be_lost() {
        let reports = reports(100, &[42], 1000);
        assert_eq!(about(&reports, 42), [None; FEEDBACK_REACH]);
        assert_eq!(about(&reports, 43).len(), FEEDBACK_REACH);
        assert!(about(&reports, 43).iter().all(Option::is_some));
    }

    #[test]
    fn where_reports_are_dear_every_packet_is_reported_twice() {
        // Of a report about twenty packets, ten of which are new.
        let reports = reports(100, &[42], (20 + FEEDBACK_COST) * FEEDBACK_SHARE / 10 + 1);
        assert_eq!(about(&reports, 42), [None, None]);
        assert_eq!(about(&reports, 43).len(), 2);
    }

    #[test]
    fn nothing_is_reported_when_nothing_comes() {
        let mut reporter = Reporter::new();
        for sequence in 0..3 {
            reporter.handle_packet(sequence, 1000, Time::ZERO);
        }
        assert!(reporter.poll(false, Time::from_millis(1000)).is_some());
        assert_eq!(reporter.poll_timeout(), None);
    }

    #[test]
    fn sound_alone_is_reported_more_rarely() {
        let mut reporter = Reporter::new();
        let mut bytes = 0;
        for packet in 0..500_u32 {
            let now = Time::from_millis(u64::from(packet) * 20);
            reporter.handle_packet(packet, 120, now);
            bytes += reporter.poll(false, now).map_or(0, |report| report.encode().len());
        }
        assert!(bytes * 48 <= 500 * 120, "{bytes} bytes of reports about {} of sound", 500 * 120);
    }
}
