//! What waits to be sent beside the frames themselves, at once or later: repetitions, parity and second sounds are spread over a
//! while where losses come in runs, so that a run does not take them together with what they stand for.

use std::collections::VecDeque;

use crate::units::Time;

/// Things in line, each with its time.
#[derive(Debug)]
pub struct TimedQueue<T> {
    due: VecDeque<T>,
    /// What goes later, and when, the next first.
    later: VecDeque<(Time, T)>,
}

impl<T> Default for TimedQueue<T> {
    fn default() -> Self {
        TimedQueue { due: VecDeque::new(), later: VecDeque::new() }
    }
}

impl<T> TimedQueue<T> {
    /// It goes then, after what goes at the same time.
    pub fn push(&mut self, item: T, due: Time) {
        let at = self.later.partition_point(|(other, _)| *other <= due);
        self.later.insert(at, (due, item));
    }

    /// What has waited for its turn is due.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((_, item)) = self.later.pop_front_if(|(at, _)| *at <= now) {
            self.due.push_back(item);
        }
    }

    /// When more is due.
    pub fn later_due(&self) -> Option<Time> {
        self.later.front().map(|(at, _)| *at)
    }

    /// Whether something is due then.
    pub fn has_due(&self, now: Time) -> bool {
        !self.is_empty() || self.later_due().is_some_and(|at| at <= now)
    }

    /// The next that is due, which stays.
    pub fn peek(&self) -> Option<&T> {
        self.due.front()
    }

    /// The next that is due.
    pub fn poll(&mut self) -> Option<T> {
        self.due.pop_front()
    }

    /// What is due is not to be sent; what comes later stays.
    pub fn clear_due(&mut self) {
        self.due.clear();
    }

    /// Whether nothing is due.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(items: &[(u64, char)]) -> TimedQueue<char> {
        let mut queue = TimedQueue::default();
        for (millis, item) in items {
            queue.push(*item, Time::from_millis(*millis));
        }
        queue
    }

    /// What is due then.
    fn due(queue: &mut TimedQueue<char>, millis: u64) -> String {
        queue.handle_timeout(Time::from_millis(millis));
        std::iter::from_fn(|| queue.poll()).collect()
    }

    #[test]
    fn each_goes_at_its_time_and_in_the_order_of_the_times() {
        let mut queue = queue(&[(20, 'd'), (0, 'a'), (10, 'b'), (10, 'c'), (40, 'e')]);
        assert!(queue.is_empty(), "nothing is due until the time is told");
        assert_eq!(due(&mut queue, 0), "a");
        assert_eq!(queue.later_due(), Some(Time::from_millis(10)));
        assert_eq!(due(&mut queue, 30), "bcd");
        assert_eq!(due(&mut queue, 40), "e");
        assert_eq!(queue.later_due(), None);
    }

    #[test]
    fn what_is_cleared_never_goes_and_the_rest_does() {
        let mut queue = queue(&[(0, 'a'), (10, 'b')]);
        queue.handle_timeout(Time::ZERO);
        assert_eq!(queue.peek(), Some(&'a'));
        queue.clear_due();
        assert_eq!(due(&mut queue, 10), "b");
    }
}
