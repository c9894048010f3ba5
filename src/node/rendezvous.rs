//! Our end of the control connection: when to connect, when to ask, what is known of the rendezvous.

use std::net::SocketAddr;
use std::time::Duration;

use crate::params::{CONNECT_TIMEOUT, RENDEZVOUS_ASK, RENDEZVOUS_QUIET, RENDEZVOUS_RETRY};
use crate::units::Time;

/// The control connection, seen from the peer.
#[derive(Debug)]
pub(super) struct Rendezvous {
    state: State,
    failures: usize,
    heard: Time,
    asked: Time,
    /// Where it sees us.
    pub(super) observed: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Waiting {
        until: Time,
    },
    Connecting {
        since: Time,
    },
    Connected,
    /// We have left, or never began.
    Idle,
}

/// What is to be done about the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Connect,
    /// It takes too long: begin anew.
    Abort,
    Ask,
}

impl Rendezvous {
    pub(super) fn new() -> Self {
        Rendezvous { state: State::Idle, failures: 0, heard: Time::ZERO, asked: Time::ZERO, observed: None }
    }

    pub(super) fn start(&mut self, now: Time) {
        self.state = State::Waiting { until: now };
    }

    pub(super) fn stop(&mut self) {
        self.state = State::Idle;
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    pub(super) fn handle_connected(&mut self, now: Time) {
        self.state = State::Connected;
        self.heard = now;
    }

    /// The welcome: only now is it worth trying at once after a loss.
    pub(super) fn handle_welcome(&mut self, observed: SocketAddr) {
        self.failures = 0;
        self.observed = Some(observed);
    }

    pub(super) fn handle_received(&mut self, now: Time) {
        self.heard = now;
    }

    /// The connection is gone, or did not come about.
    pub(super) fn handle_closed(&mut self, now: Time) {
        if self.state != State::Idle {
            let wait = RENDEZVOUS_RETRY.get(self.failures).or(RENDEZVOUS_RETRY.last());
            self.failures += 1;
            self.state = State::Waiting { until: now + wait.copied().unwrap_or(Duration::ZERO) };
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time) -> Option<Step> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return None;
        }
        match self.state {
            State::Waiting { .. } => {
                self.state = State::Connecting { since: now };
                Some(Step::Connect)
            }
            State::Connecting { .. } => {
                self.handle_closed(now);
                Some(Step::Abort)
            }
            State::Connected => {
                self.asked = now;
                Some(Step::Ask)
            }
            State::Idle => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Connecting { since } => Some(since + CONNECT_TIMEOUT),
            State::Connected => Some((self.heard + RENDEZVOUS_QUIET).max(self.asked + RENDEZVOUS_ASK)),
            State::Idle => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_again_at_once_and_then_ever_more_rarely() {
        let mut rendezvous = Rendezvous::new();
        rendezvous.start(Time::ZERO);
        let mut now = Time::ZERO;
        let mut waits = Vec::new();
        for _ in 0..6 {
            assert_eq!(rendezvous.handle_timeout(now), Some(Step::Connect));
            rendezvous.handle_closed(now);
            let next = rendezvous.poll_timeout().unwrap();
            waits.push(next.since(now).as_millis());
            now = next;
        }
        assert_eq!(waits, [0, 250, 500, 1000, 1000, 1000]);
    }

    #[test]
    fn a_connection_attempt_has_a_limit() {
        let mut rendezvous = Rendezvous::new();
        rendezvous.start(Time::ZERO);
        rendezvous.handle_timeout(Time::ZERO);
        assert_eq!(rendezvous.handle_timeout(Time::ZERO + CONNECT_TIMEOUT), Some(Step::Abort));
    }

    #[test]
    fn a_silent_rendezvous_is_asked_whether_it_is_there() {
        let mut rendezvous = Rendezvous::new();
        rendezvous.start(Time::ZERO);
        rendezvous.handle_connected(Time::from_millis(10));
        let quiet = Time::from_millis(10) + RENDEZVOUS_QUIET;
        assert_eq!(rendezvous.poll_timeout(), Some(quiet));
        assert_eq!(rendezvous.handle_timeout(quiet), Some(Step::Ask));
        assert_eq!(rendezvous.poll_timeout(), Some(quiet + RENDEZVOUS_ASK));
        rendezvous.handle_received(quiet);
        assert_eq!(rendezvous.poll_timeout(), Some(quiet + RENDEZVOUS_QUIET));
    }
}
