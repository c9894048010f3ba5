//! Our end of the control connection: when to connect, when to ask, what is known of the rendezvous.

use std::net::SocketAddr;
use std::time::Duration;

use super::attempt::Attempt;
use crate::params::{RENDEZVOUS_ASK, RENDEZVOUS_QUIET, RENDEZVOUS_RETRY};
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
    Connecting(Attempt),
    /// It has proven who it is, but not yet said that we are welcome: whether it has our last flight we do not know.
    Greeting(Attempt),
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
        matches!(self.state, State::Greeting(_) | State::Connected)
    }

    pub(super) fn handle_connected(&mut self, now: Time) {
        if let State::Connecting(attempt) = self.state {
            self.state = State::Greeting(attempt);
        }
        (self.heard, self.asked) = (now, now);
    }

    /// The welcome: only now is it worth trying at once after a loss.
    pub(super) fn handle_welcome(&mut self, observed: SocketAddr) {
        if self.is_connected() {
            self.state = State::Connected;
        }
        self.failures = 0;
        self.observed = Some(observed);
    }

    pub(super) fn handle_received(&mut self, now: Time) {
        self.heard = now;
    }

    /// It takes part in the handshake.
    pub(super) fn handle_answer(&mut self, now: Time) {
        if let State::Connecting(attempt) = &mut self.state {
            attempt.handle_answer(now);
        }
    }

    /// What we send comes to it from elsewhere now. A server takes that for a move only when the handshake has come to its end
    /// there, and for a stranger's before (RFC 9000 §9). Whether it is given up, to be begun anew.
    pub(super) fn handle_rerouted(&mut self, now: Time) -> bool {
        let is_under_way = matches!(self.state, State::Connecting(_) | State::Greeting(_));
        if is_under_way {
            self.handle_closed(now);
        }
        is_under_way
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
                self.state = State::Connecting(Attempt::new(now));
                Some(Step::Connect)
            }
            State::Greeting(attempt) if attempt.last_deadline() > now => {
                self.asked = now;
                Some(Step::Ask)
            }
            State::Connecting(_) | State::Greeting(_) => {
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
            State::Connecting(attempt) => Some(attempt.deadline()),
            // An answer shows what of the greeting was lost, sooner than its own timer does after a slow handshake.
            State::Greeting(attempt) => Some(attempt.last_deadline().min(self.asked + RENDEZVOUS_ASK)),
            State::Connected => Some((self.heard + RENDEZVOUS_QUIET).max(self.asked + RENDEZVOUS_ASK)),
            State::Idle => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{CONNECT_MOST, CONNECT_TIMEOUT};

    const OBSERVED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5000);

    /// Whose first attempt has begun.
    fn connecting() -> Rendezvous {
        let mut rendezvous = Rendezvous::new();
        rendezvous.start(Time::ZERO);
        assert_eq!(rendezvous.handle_timeout(Time::ZERO), Some(Step::Connect));
        rendezvous
    }

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
        let mut rendezvous = connecting();
        assert_eq!(rendezvous.handle_timeout(Time::ZERO + CONNECT_TIMEOUT), Some(Step::Abort));
    }

    #[test]
    fn a_welcome_must_come_in_time() {
        let mut rendezvous = connecting();
        rendezvous.handle_connected(Time::from_millis(10));
        let ask = Time::from_millis(10) + RENDEZVOUS_ASK;
        assert_eq!(rendezvous.poll_timeout(), Some(ask));
        assert_eq!(rendezvous.handle_timeout(ask), Some(Step::Ask));
        assert_eq!(rendezvous.handle_timeout(Time::ZERO + CONNECT_MOST), Some(Step::Abort));
    }

    #[test]
    fn a_handshake_is_begun_anew_when_it_takes_another_way_and_a_connection_is_not() {
        let mut rendezvous = Rendezvous::new();
        rendezvous.start(Time::ZERO);
        assert!(!rendezvous.handle_rerouted(Time::ZERO), "there is none yet");
        rendezvous.handle_timeout(Time::ZERO);
        rendezvous.handle_connected(Time::from_millis(10));
        assert!(rendezvous.handle_rerouted(Time::from_millis(20)));
        let again = rendezvous.poll_timeout().unwrap();
        assert_eq!(rendezvous.handle_timeout(again), Some(Step::Connect));
        rendezvous.handle_connected(again);
        rendezvous.handle_welcome(OBSERVED);
        assert!(!rendezvous.handle_rerouted(again));
        assert!(rendezvous.is_connected());
    }

    #[test]
    fn a_silent_rendezvous_is_asked_whether_it_is_there() {
        let mut rendezvous = connecting();
        rendezvous.handle_connected(Time::from_millis(10));
        rendezvous.handle_welcome(OBSERVED);
        let quiet = Time::from_millis(10) + RENDEZVOUS_QUIET;
        assert_eq!(rendezvous.poll_timeout(), Some(quiet));
        assert_eq!(rendezvous.handle_timeout(quiet), Some(Step::Ask));
        assert_eq!(rendezvous.poll_timeout(), Some(quiet + RENDEZVOUS_ASK));
        rendezvous.handle_received(quiet);
        assert_eq!(rendezvous.poll_timeout(), Some(quiet + RENDEZVOUS_QUIET));
    }
}
