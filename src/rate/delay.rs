//! How long packets wait on a way: the excess of their one-way time over its recent minimum.
//!
//! Arrivals go in, the queue comes out (as LEDBAT, RFC 6817 §3.4.2, clocks need not agree). The least excess of the last
//! moments counts, so that jitter is not taken for a queue.

use std::collections::VecDeque;
use std::time::Duration;

use super::history::Arrival;
use crate::params::{BASE_DELAY_DOUBT, BASE_DELAY_SPAN, FLOW_GAP, QUEUE_GROWN, QUEUE_SAMPLE};
use crate::units::Time;

/// How a new path compares with the one before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NewPath {
    /// It leaves out the relay.
    WithoutRelay,
    /// It takes a relay instead of the direct way.
    OverRelay,
    /// Nobody can tell.
    Unlike,
}

/// What one-way times tell of a way.
#[derive(Debug, Default)]
pub(super) struct Delay {
    base: BaseDelay,
    /// The same of the direct way, while a relay carries.
    direct: Option<BaseDelay>,
    /// One-way excess of the packets of the last moments, with their arrival.
    excess: VecDeque<(Time, Duration)>,
    /// When the packets that come now began to come without a break, and when the last one did, by the receiver's clock.
    flow: Option<(Time, Time)>,
}

impl Delay {
    /// How long packets wait on the way, as far as it is known.
    pub(super) fn queue(&self) -> Duration {
        self.excess.iter().map(|(_, excess)| *excess).min().unwrap_or_default()
    }

    /// A packet has arrived.
    pub(super) fn handle_arrival(&mut self, arrival: &Arrival) {
        let took = arrival.arrived.as_micros().cast_signed() - arrival.sent.as_micros().cast_signed();
        let base = self.base.update(took, arrival.arrived);
        let excess = Duration::from_micros(u64::try_from(took - base).unwrap_or(0));
        self.excess.push_back((arrival.arrived, excess));
        let (began, last) = self.flow.unwrap_or((arrival.arrived, arrival.arrived));
        let is_resumed = arrival.arrived.since(last) > FLOW_GAP;
        self.flow = Some((if is_resumed { arrival.arrived } else { began }, last.max(arrival.arrived)));
        while self.excess.front().is_some_and(|(at, _)| arrival.arrived.since(*at) > QUEUE_SAMPLE) {
            self.excess.pop_front();
        }
    }

    /// Packets take another path from now on: what was learned is kept where it holds for the new one too. A queue that both
    /// have in common would be taken for the way itself otherwise.
    pub(super) fn handle_switch(&mut self, path: NewPath) {
        match path {
            NewPath::WithoutRelay => self.base = self.direct.take().unwrap_or_else(|| std::mem::take(&mut self.base)),
            NewPath::OverRelay => self.direct = Some(std::mem::take(&mut self.base)),
            NewPath::Unlike => {
                self.base = BaseDelay::default();
                self.direct = None;
            }
        }
        if path != NewPath::WithoutRelay {
            self.excess.clear();
        }
    }

    /// What was taken for a queue is the way itself.
    pub(super) fn forget_base(&mut self) {
        self.base = BaseDelay::default();
    }

    /// Whether nothing came for a moment and now something does: what was held up comes late, whether the way is full or not.
    pub(super) fn has_just_resumed(&self) -> bool {
        self.flow.is_some_and(|(began, last)| last.since(began) < QUEUE_SAMPLE)
    }
}

/// Tells a way that has become longer from a full one.
#[derive(Debug, Default)]
pub(super) struct LongerWay {
    standing: Option<Standing>,
}

/// A queue that hardly moves: since when, between which bounds, and how fast was sent then.
#[derive(Clone, Copy, Debug)]
struct Standing {
    since: Time,
    least: Duration,
    most: Duration,
    rate: f64,
}

impl LongerWay {
    /// There seems to be a queue, and less than this rate will be sent now. If it has stood for long and hardly moved, though
    /// less and less was sent, it is none: gives the rate of when it came.
    pub(super) fn judge(&mut self, queue: Duration, rate: f64, now: Time) -> Option<f64> {
        // What is lost without a queue says nothing of the length.
        if queue < QUEUE_GROWN {
            self.standing = None;
            return None;
        }
        let begins = Standing { since: now, least: queue, most: queue, rate };
        let standing = self.standing.unwrap_or(begins);
        let (least, most) = (standing.least.min(queue), standing.most.max(queue));
        let has_moved = most - least > most / 10;
        let standing = if has_moved { begins } else { Standing { least, most, ..standing } };
        let is_longer = now.since(standing.since) > BASE_DELAY_DOUBT;
        self.standing = Some(standing).filter(|_| !is_longer);
        is_longer.then_some(standing.rate)
    }
}

/// The least one-way time of the last while, in two halves: clocks drift, routes change.
#[derive(Debug, Default)]
struct BaseDelay {
    began: Option<Time>,
    before: Option<i64>,
    least: Option<i64>,
}

impl BaseDelay {
    fn update(&mut self, took: i64, at: Time) -> i64 {
        let began = *self.began.get_or_insert(at);
        if at.since(began) > BASE_DELAY_SPAN / 2 {
            self.before = self.least.take();
            self.began = Some(at);
        }
        let least = self.least.map_or(took, |least| least.min(took));
        self.least = Some(least);
        self.before.map_or(least, |before| before.min(least))
    }
}
