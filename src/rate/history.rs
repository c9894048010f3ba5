//! The sender's side of feedback: what was sent to one peer and when; what a report says became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::params::{HISTORY_AGE, MAX_HISTORY, REORDERING, REORDERING_KEPT, REORDERING_MARGIN, REORDERING_MOST};
use crate::rate::queue::Packets;
use crate::units::Time;
use crate::wire::feedback::Feedback;
use crate::wire::packet::unwrap_sequence;

/// What was sent lately.
#[derive(Debug, Default)]
pub struct History {
    sent: BTreeMap<u64, Sent>,
    next: u64,
    /// The highest sequence number that is known to have arrived.
    arrived: Option<u64>,
    /// How much later than a missing packet one must have been sent, and arrived, to make it a lost one.
    reordering: Duration,
    clock: ArrivalClock,
}

/// One packet on its way.
#[derive(Clone, Debug)]
struct Sent {
    at: Time,
    bytes: usize,
    /// The frame's packets and which one it is: to send it again.
    origin: Option<(Packets, usize)>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Unknown,
    /// A report did not have it; it may have been overtaken.
    Missing,
    Arrived,
    /// Taken for lost; it may still turn out to have been late.
    Lost,
}

/// What a report said that was not known before.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Packets that arrived, in the order they were sent.
    pub arrived: Vec<Arrival>,
    /// Packets that are lost: bytes, and what to send again.
    pub lost: Vec<Loss>,
}

/// A packet that arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// Its place in the order of sending.
    pub sequence: u64,
    /// When it was sent, by our clock.
    pub sent: Time,
    /// When it arrived, by the receiver's; only differences mean anything.
    pub arrived: Time,
    /// Its size.
    pub bytes: usize,
}

/// A packet that did not.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Its place in the order of sending.
    pub sequence: u64,
    /// When it was sent.
    pub sent: Time,
    /// Its size.
    pub bytes: usize,
    /// The frame's packets and which one it is.
    pub origin: Option<(Packets, usize)>,
}

impl Sent {
    fn is_on_its_way(&self) -> bool {
        matches!(self.fate, Fate::Unknown | Fate::Missing)
    }
}

impl News {
    /// Only what was sent since then.
    pub fn since(&self, then: Time) -> News {
        News {
            arrived: self.arrived.iter().filter(|arrival| arrival.sent >= then).copied().collect(),
            lost: self.lost.iter().filter(|loss| loss.sent >= then).cloned().collect(),
        }
    }
}

impl History {
    /// Nothing has been sent.
    pub fn new() -> Self {
        Self::default()
    }

    /// The place of the next packet in the order of sending; `origin` is what to send again if it is lost.
    pub fn handle_sent(&mut self, bytes: usize, origin: Option<(Packets, usize)>, now: Time) -> u64 {
        let sequence = self.next;
        self.next += 1;
        self.sent.insert(sequence, Sent { at: now, bytes, origin, fate: Fate::Unknown });
        while self.sent.len() > MAX_HISTORY
            || self.sent.first_key_value().is_some_and(|(_, sent)| now.since(sent.at) > HISTORY_AGE)
        {
            self.sent.pop_first();
        }
        sequence
    }

    /// What a report says that was not known.
    pub fn handle_feedback(&mut self, feedback: &Feedback) -> News {
        let mut news = News::default();
        let Some(newest) = self.next.checked_sub(1) else { return news };
        let first = unwrap_sequence(Some(newest), feedback.first);
        let overtaker = self.arrived_until();
        self.reordering = self.reordering.mul_f64(REORDERING_KEPT);
        for (sequence, arrival) in (first..).zip(&feedback.arrivals) {
            let Some(sent) = self.sent.get_mut(&sequence) else { continue };
            match arrival {
                Some(arrival) if sent.fate != Fate::Arrived => {
                    if sent.fate == Fate::Lost {
                        let overtaken = overtaker.map_or(Duration::ZERO, |overtaker| overtaker.since(sent.at));
                        self.reordering =
                            self.reordering.max(overtaken.mul_f64(REORDERING_MARGIN)).min(REORDERING_MOST);
                    }
                    sent.fate = Fate::Arrived;
                    let arrived = self.clock.unwrap(*arrival);
                    news.arrived.push(Arrival { sequence, sent: sent.at, arrived, bytes: sent.bytes });
                    self.arrived = self.arrived.max(Some(sequence));
                }
                None if sent.fate == Fate::Unknown => sent.fate = Fate::Missing,
                Some(_) | None => {}
            }
        }
        news.lost = self.lose(first);
        news
    }

    /// When the newest packet was sent that is known to have arrived.
    pub fn arrived_until(&self) -> Option<Time> {
        Some(self.sent.get(&self.arrived?)?.at)
    }

    /// Takes for lost what is missing though enough that was sent later has arrived (RFC 8985, section 3).
    fn lose(&mut self, first: u64) -> Vec<Loss> {
        let Some((arrived, newest)) = self.arrived.zip(self.arrived_until()) else { return Vec::new() };
        // Where nothing is overtaken a report says all that can be said about what it covers.
        let first = if self.reordering.is_zero() { first } else { 0 };
        let end = arrived.saturating_sub(REORDERING);
        let overtaken = self.sent.range_mut(first.min(end)..end);
        let lost = overtaken.filter(|(_, sent)| sent.fate == Fate::Missing && sent.at + self.reordering <= newest);
        lost.map(|(sequence, sent)| {
            sent.fate = Fate::Lost;
            Loss { sequence: *sequence, sent: sent.at, bytes: sent.bytes, origin: sent.origin.clone() }
        })
        .collect()
    }

    /// Whether packets overtake each other: what is taken for lost there may be late.
    pub fn is_reordering(&self) -> bool {
        !self.reordering.is_zero()
    }

    /// The oldest packet of which a report can still tell something.
    pub fn oldest(&self) -> u64 {
        self.sent.first_key_value().map_or(self.next, |(sequence, _)| *sequence)
    }

    /// Bytes sent and neither known to have arrived nor taken for lost.
    pub fn in_flight(&self) -> usize {
        self.sent.values().filter(|sent| sent.is_on_its_way()).map(|sent| sent.bytes).sum()
    }

    /// How long ago the oldest packet without news was sent.
    pub fn oldest_unknown(&self, now: Time) -> Duration {
        let oldest = self.sent.values().find(|sent| sent.is_on_its_way());
        oldest.map_or(Duration::ZERO, |sent| now.since(sent.at))
    }
}

/// Makes times out of the 32 bits that travel.
#[derive(Debug, Default)]
struct ArrivalClock {
    last: Option<u64>,
}

impl ArrivalClock {
    fn unwrap(&mut self, low: u32) -> Time {
        // Begin well above zero, so that an arrival reported out of order does not fall below it.
        let last = self.last.unwrap_or(u64::from(low) + (1 << 32));
        let low_of_last = u32::try_from(last & u64::from(u32::MAX)).unwrap_or(0);
        let distance = i64::from(low.wrapping_sub(low_of_last).cast_signed());
        let time = last.saturating_add_signed(distance);
        self.last = Some(last.max(time));
        Time::from_micros(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(count: usize) -> History {
        let mut history = History::new();
        for packet in 0..count {
            history.handle_sent(1000, None, Time::from_millis(packet as u64));
        }
        history
    }

    fn feedback(first: u32, arrivals: &[Option<u32>]) -> Feedback {
        Feedback { first, arrivals: arrivals.to_vec() }
    }

    #[test]
    fn a_repeated_report_is_no_news() {
        let mut history = history(3);
        let report = feedback(0, &[Some(10), Some(20), Some(30)]);
        assert_eq!(history.handle_feedback(&report).arrived.len(), 3);
        assert_eq!(history.handle_feedback(&report).arrived.len(), 0);
        assert_eq!(history.in_flight(), 0);
    }

    #[test]
    fn a_packet_is_lost_only_when_several_later_ones_have_arrived() {
        let mut history = history(5);
        assert_eq!(history.handle_feedback(&feedback(0, &[None, Some(1)])).lost.len(), 0);
        let report = feedback(0, &[None, Some(1), Some(2), Some(3)]);
        assert_eq!(history.handle_feedback(&report).lost.len(), 1);
        assert_eq!(history.handle_feedback(&report).lost.len(), 0);
    }

    #[test]
    fn a_late_packet_is_news_even_after_it_was_taken_for_lost() {
        let mut history = history(5);
        history.handle_feedback(&feedback(0, &[None, Some(1), Some(2), Some(3)]));
        let news = history.handle_feedback(&feedback(0, &[Some(9), Some(1), Some(2), Some(3)]));
        assert_eq!(news.arrived.len(), 1);
    }

    #[test]
    fn where_packets_overtake_each_other_a_missing_one_is_given_time() {
        let mut history = history(60);
        let all = |from: u32, to: u32, missing: u32| {
            let arrivals: Vec<_> = (from..to).map(|it| (it != missing).then_some(it)).collect();
            feedback(from, &arrivals)
        };
        assert_eq!(history.handle_feedback(&all(0, 21, 0)).lost.len(), 1);
        // It had been overtaken by what was sent 20 ms later.
        assert_eq!(history.handle_feedback(&all(0, 22, 99)).arrived.len(), 2);
        assert_eq!(history.handle_feedback(&all(22, 46, 22)).lost.len(), 0);
        // The report need not cover it any more.
        assert_eq!(history.handle_feedback(&all(46, 49, 99)).lost.len(), 1);
    }

    #[test]
    fn how_far_packets_overtake_each_other_is_bounded_and_forgotten() {
        let mut history = history(400);
        let arrivals: Vec<_> = (0..300).map(|it| (it != 0).then_some(it)).collect();
        history.handle_feedback(&feedback(0, &arrivals));
        history.handle_feedback(&feedback(0, &[Some(1)]));
        assert_eq!(history.reordering, REORDERING_MOST);
        for _ in 0..1000 {
            history.handle_feedback(&feedback(0, &[Some(1)]));
        }
        assert!(history.reordering < Duration::from_millis(1));
    }

    #[test]
    fn arrival_times_survive_the_wrap_of_their_32_bits() {
        let mut history = history(3);
        let news = history.handle_feedback(&feedback(0, &[Some(u32::MAX - 4), Some(5), Some(15)]));
        let gaps: Vec<u128> = news.arrived.windows(2).map(|p| p[1].arrived.since(p[0].arrived).as_micros()).collect();
        assert_eq!(gaps, [10, 10]);
    }

    #[test]
    fn memory_is_bounded() {
        let history = history(100_000);
        assert!(history.sent.len() <= MAX_HISTORY);
    }

    #[test]
    fn a_report_about_what_was_never_sent_says_nothing() {
        let mut history = history(3);
        let news = history.handle_feedback(&feedback(5000, &[Some(1); 50]));
        assert!(news.arrived.is_empty() && news.lost.is_empty());
    }
}
