//! What is sent again because a report said that it was lost.

use std::collections::VecDeque;

use super::history::Loss;
use super::queue::{Packets, Rank, Urgency};
use super::repair::RepairPlan;
use crate::params::{REPEAT_DEADLINE, REPEAT_TWICE};
use crate::units::Time;

/// Packets that wait to be sent again, once for each time they are lost, while they can be of use.
#[derive(Debug, Default)]
pub struct Repeats {
    now: VecDeque<Repeat>,
    /// Second repetitions and when they go.
    later: VecDeque<(Time, Repeat)>,
}

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
        let repeat = |Loss { sent, origin, .. }: Loss| {
            let (packets, index) = origin?;
            let until = sent + REPEAT_DEADLINE;
            plan.is_worth_repeating(until.since(now)).then_some(Repeat { packets, index, until })
        };
        let repeats: Vec<Repeat> = lost.into_iter().filter_map(repeat).collect();
        if is_free {
            self.later.extend(repeats.iter().map(|repeat| (now + REPEAT_TWICE, repeat.clone())));
        }
        self.now.extend(repeats);
    }

    /// What has waited for its second turn is due.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((_, repeat)) = self.later.pop_front_if(|(at, _)| *at <= now) {
            self.now.push_back(repeat);
        }
    }

    /// When a second repetition is due.
    pub fn later_due(&self) -> Option<Time> {
        self.later.front().map(|(at, _)| *at)
    }

    /// The next that is still worth it.
    pub fn poll(&mut self, plan: &RepairPlan, now: Time) -> Option<Repeat> {
        while let Some(repeat) = self.now.pop_front() {
            if plan.is_worth_repeating(repeat.until.since(now)) {
                return Some(repeat);
            }
        }
        None
    }

    /// How much the next one matters: as what it repeats, only that its time is up sooner.
    pub fn urgency(&self) -> Option<Urgency> {
        self.now.front().map(|repeat| Urgency { rank: Rank::Base, deadline: repeat.until, is_fresh: true })
    }

    /// Nothing is to be sent again now.
    pub fn clear(&mut self) {
        self.now.clear();
    }

    /// Whether nothing waits for now.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty()
    }
}
