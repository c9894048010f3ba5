//! When a path in use is suspected, and when it is given up.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Agent, AgentEvent};
use crate::params::{DEAD_AFTER, MAX_UNANSWERED, PROBE_SUSPECT, SUSPECT_AFTER, UNANSWERED_GRAIN};
use crate::path::route::Route;
use crate::units::Time;

/// When the selected path was spoken into, as far as no answer covers it. An answer says that the path worked when its
/// question was sent, and nothing of later.
#[derive(Debug, Default)]
pub(super) struct Unanswered(VecDeque<Time>);

impl Unanswered {
    pub(super) fn since(&self) -> Option<Time> {
        self.0.front().copied()
    }

    /// Something was said. What follows at once shares its fate.
    pub(super) fn note(&mut self, now: Time) {
        let is_apart = self.0.back().is_none_or(|last| now.since(*last) >= UNANSWERED_GRAIN);
        if is_apart && self.0.len() < MAX_UNANSWERED {
            self.0.push_back(now);
        }
    }

    /// What was said until then was heard.
    pub(super) fn settle(&mut self, sent: Time) {
        while self.0.pop_front_if(|said| *said <= sent).is_some() {}
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Agent {
    /// In whole microseconds, as time has no others.
    pub(super) fn suspect_after(&self) -> Duration {
        let patience = self.rtt().unwrap_or_default().as_micros() * 3 / 2;
        SUSPECT_AFTER.max(Duration::from_micros(u64::try_from(patience).unwrap_or(u64::MAX)))
    }

    pub(super) fn doubted_since(&self) -> Option<Time> {
        [self.unanswered.since(), self.elsewhere_since].into_iter().flatten().min()
    }

    /// Silence makes the selected path suspect, then dead.
    pub(super) fn suspect(&mut self, now: Time) {
        let Some(since) = self.doubted_since() else { return };
        let silent = now.since(since);
        if silent < self.suspect_after() || now.since(self.last_suspect_probe) < PROBE_SUSPECT {
            return;
        }
        self.last_suspect_probe = now;
        self.events.push_back(AgentEvent::Suspected);
        let proven = self.paths.iter().filter(|(_, path)| path.proof.is_some());
        let routes: Vec<Route> = proven.map(|(route, _)| *route).chain(self.selected).collect();
        for route in routes {
            self.send_probe(route, now);
        }
        if silent >= DEAD_AFTER.max(self.suspect_after() + self.rtt().unwrap_or_default() * 2) {
            self.demote(now);
        }
    }

    /// The selected path has been silent too long: it must prove itself again.
    pub(super) fn demote(&mut self, now: Time) {
        let Some(route) = self.selected else { return };
        let had_proof = self.paths.get_mut(&route).is_some_and(|path| path.proof.take().is_some());
        if had_proof {
            for path in self.paths.values_mut().filter(|path| path.proof.is_none()) {
                path.restart(now);
            }
        }
        self.unanswered.clear();
        self.unanswered.note(now);
        self.elsewhere_since = None;
        self.select();
        if had_proof && self.selected == Some(route) {
            self.events.push_back(AgentEvent::Silent);
        }
    }
}
