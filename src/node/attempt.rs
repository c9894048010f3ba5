//! An attempt to connect, and when it is given up.

use crate::params::{CONNECT_MOST, CONNECT_TIMEOUT};
use crate::units::Time;

/// A handshake under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Attempt {
    began: Time,
    /// When the other side was last heard in it.
    heard: Time,
}

impl Attempt {
    pub(super) fn new(now: Time) -> Self {
        Attempt { began: now, heard: now }
    }

    /// The other side answers: on a way that loses much what has been said of the handshake is not to be said anew.
    pub(super) fn handle_answer(&mut self, now: Time) {
        self.heard = now;
    }

    /// When it is given up.
    pub(super) fn deadline(&self) -> Time {
        (self.heard + CONNECT_TIMEOUT).min(self.last_deadline())
    }

    /// When it is given up even if answers come.
    pub(super) fn last_deadline(self) -> Time {
        self.began + CONNECT_MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_answers_is_given_more_time_but_not_for_ever() {
        let mut attempt = Attempt::new(Time::ZERO);
        assert_eq!(attempt.deadline(), Time::ZERO + CONNECT_TIMEOUT);
        attempt.handle_answer(Time::from_millis(1500));
        assert_eq!(attempt.deadline(), Time::from_millis(1500) + CONNECT_TIMEOUT);
        attempt.handle_answer(Time::ZERO + CONNECT_MOST);
        assert_eq!(attempt.deadline(), Time::ZERO + CONNECT_MOST);
    }
}
