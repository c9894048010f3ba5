//! What is sent again because a report said that it was lost.

use super::history::Loss;
use super::queue::{Packets, Rank, Urgency};
use super::repair::RepairPlan;
use super::timed_queue::TimedQueue;
use crate::params::{REPEAT_DEADLINE, REPEAT_TWICE};
use crate::units::Time;

/// Packets that wait to be sent again, once for each time they are lost, while they can be of use.
#[derive(Debug, Default)]
pub struct Repeats(TimedQueue<Repeat>);

/// A packet to be sent again.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// The packets of its frame.
    pub packets: Packets,
    /// Which of them it is.
    pub index: usize,
    until: Time,
}

impl Repeats {
    /// These were lost. On a free way each goes twice, and not in the same burst.
    pub fn handle_losses(&mut self, lost: Vec<Loss>, plan: &RepairPlan, is_free: bool, now: Time) {
        for Loss { sent, origin, .. } in lost {
            let until = sent + REPEAT_DEADLINE;
            let Some((packets, index)) = origin.filter(|_| plan.is_worth_repeating(until.since(now))) else { continue };
            let repeat = Repeat { packets, index, until };
            if is_free {
                self.0.push(repeat.clone(), now + REPEAT_TWICE);
            }
            self.0.push(repeat, now);
        }
        self.handle_timeout(now);
    }

    /// What has waited for its second turn is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.0.handle_timeout(now);
    }

    /// Whether a repetition is due then.
    pub fn has_due(&self, now: Time) -> bool {
        self.0.has_due(now)
    }

    /// When a second repetition is due.
    pub fn later_due(&self) -> Option<Time> {
        self.0.later_due()
    }

    /// The next that is still worth it.
    pub fn poll(&mut self, plan: &RepairPlan, now: Time) -> Option<Repeat> {
        while let Some(repeat) = self.0.poll() {
            if plan.is_worth_repeating(repeat.until.since(now)) {
                return Some(repeat);
            }
        }
        None
    }

    /// How much the next one matters: as what it repeats, only that its time is up sooner.
    pub fn urgency(&self) -> Option<Urgency> {
        self.0.peek().map(|repeat| Urgency { rank: Rank::Base, deadline: repeat.until, is_fresh: true })
    }

    /// Nothing is to be sent again now.
    pub fn clear_due(&mut self) {
        self.0.clear_due();
    }

    /// Whether nothing waits for now.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
