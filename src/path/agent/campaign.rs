//! Guessing ports: when it makes sense, and how often.

use super::{Agent, AgentEvent};
use crate::params::{PUNCH_AFTER, PUNCH_LISTEN, PUNCH_REST};
use crate::path::punch::{Guess, Punch};
use crate::path::route::Policy;
use crate::units::Time;

impl Agent {
    /// Begins a campaign of guesses where one makes sense, but not the same again, nor lottery after lottery.
    pub(super) fn plan(&mut self, now: Time) {
        let has_direct = self.selected.is_some_and(|route| route.is_direct());
        let may_guess = self.config.may_gamble && self.config.policy != Policy::RelayOnly && !has_direct;
        let Some(target) = self.target.filter(|_| may_guess) else { return };
        let Some(punch) = Punch::plan(self.ours, self.theirs, target, now) else { return };
        let is_pending = self.punch.as_ref().is_some_and(|present| !present.has_begun());
        let is_like = self.punch.as_ref().is_some_and(|present| present.is_like(&punch));
        let rest = if punch.is_lottery() { PUNCH_REST } else { PUNCH_AFTER };
        let has_rested = self.punched.is_none_or(|began| now.since(began) >= rest);
        if if is_pending { !is_like } else { has_rested } {
            self.punch = Some(punch);
        }
    }

    pub(super) fn guess(&mut self, now: Time) {
        if self.listens_until.is_some_and(|until| now >= until) {
            self.listens_until = None;
        }
        while let Some(guess) = self.punch.as_mut().and_then(|punch| punch.poll(now, &mut self.rng)) {
            match guess {
                Guess::Probe(route) => self.send_probe(route, now),
                Guess::OpenSockets(count) => {
                    self.listens_until = Some(now + PUNCH_LISTEN);
                    self.events.push_back(AgentEvent::OpenSockets(count));
                }
            }
            self.punched = Some(now);
        }
    }
}
