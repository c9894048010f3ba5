//! Parity that waits to be sent: at once, or spread over a while where losses come in runs, so that a run does not take it
//! together with what it protects.

use std::collections::VecDeque;
use std::time::Duration;

use crate::units::Time;
use crate::wire::repair::Parity;

/// Parity in line.
#[derive(Debug, Default)]
pub struct ParityQueue {
    now: VecDeque<Parity>,
    /// What goes later, and when, the next first.
    later: VecDeque<(Time, Parity)>,
}

impl ParityQueue {
    /// The parity of one frame: each packet goes so much later than the one before it, the first so much later than now.
    pub fn push(&mut self, parity: Vec<Parity>, apart: Duration, now: Time) {
        for (nth, packet) in (1..).zip(parity) {
            let due = now + apart * nth;
            let at = self.later.partition_point(|(other, _)| *other <= due);
            self.later.insert(at, (due, packet));
        }
        self.handle_timeout(now);
    }

    /// What has waited for its turn is due.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((_, parity)) = self.later.pop_front_if(|(at, _)| *at <= now) {
            self.now.push_back(parity);
        }
    }

    /// When more is due.
    pub fn later_due(&self) -> Option<Time> {
        self.later.front().map(|(at, _)| *at)
    }

    /// The next that is due.
    pub fn poll(&mut self) -> Option<Parity> {
        self.now.pop_front()
    }

    /// Nothing of it is to be sent, neither now nor later.
    pub fn clear(&mut self) {
        self.now.clear();
        self.later.clear();
    }

    /// Whether nothing is due.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::Header;
    use bytes::Bytes;

    fn parity(frame: u32) -> Vec<Parity> {
        let packet = Parity { header: Header::alone(1, frame), total: 3, len: 0, payload: Bytes::new() };
        vec![packet; 3]
    }

    /// The frames whose parity is due then.
    fn due(queue: &mut ParityQueue, millis: u64) -> Vec<u32> {
        queue.handle_timeout(Time::from_millis(millis));
        std::iter::from_fn(|| queue.poll()).map(|parity| parity.header.frame.0).collect()
    }

    #[test]
    fn parity_goes_at_once_or_spread_and_in_the_order_of_its_turns() {
        let mut queue = ParityQueue::default();
        queue.push(parity(0), Duration::ZERO, Time::ZERO);
        assert_eq!(due(&mut queue, 0), [0, 0, 0]);
        queue.push(parity(1), Duration::from_millis(20), Time::ZERO);
        assert!(queue.is_empty(), "nothing of it is due yet");
        assert_eq!(queue.later_due(), Some(Time::from_millis(20)));
        assert_eq!(due(&mut queue, 20), [1]);
        queue.push(parity(2), Duration::from_millis(5), Time::from_millis(30));
        assert_eq!(due(&mut queue, 60), [2, 1, 2, 2, 1]);
        assert_eq!(queue.later_due(), None);
    }

    #[test]
    fn what_is_cleared_never_goes() {
        let mut queue = ParityQueue::default();
        queue.push(parity(0), Duration::ZERO, Time::ZERO);
        queue.push(parity(1), Duration::from_millis(20), Time::ZERO);
        queue.clear();
        assert!(due(&mut queue, 1000).is_empty());
    }
}
