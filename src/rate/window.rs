//! How many bytes may be on their way to one peer: grows while the path's queue is short, shrinks when it is long.
//!
//! Media is app-limited nearly always, so a window that only grows when full stays too small for the next key frame; this
//! one grows by what is acknowledged whenever queueing delay is low (as LEDBAT, RFC 6817, without its yielding), and has a
//! floor that a picture fits in. Single losses are weather; only a lossy round with a long queue, or a very lossy one,
//! is congestion. After a change of path what was sent before it says nothing about the path in use.

use std::time::Duration;

use crate::params::{
    LOSS_TOLERATED, QUEUE_DELAY_LONG, QUEUE_DELAY_SHORT, SWITCH_BOOST, SWITCH_BOOST_TIME, WINDOW_FLOOR, WINDOW_INITIAL,
    WINDOW_MAX,
};
use crate::units::Time;

/// The congestion window of one peer connection.
#[derive(Clone, Debug)]
pub struct Window {
    bytes: u64,
    /// Least round trip seen on this path.
    base: Option<Duration>,
    /// When the present path was taken; what was sent before is not counted.
    switched: Time,
    round: Round,
}

/// What happened in the last round trip.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    began: Time,
    acknowledged: u64,
    lost: u64,
    /// Least queueing delay in the round: a single late packet is not a queue.
    queue: Option<Duration>,
}

impl Window {
    /// The window of a new connection.
    pub fn new(now: Time) -> Self {
        Window { bytes: WINDOW_INITIAL, base: None, switched: now, round: Round { began: now, ..Round::default() } }
    }

    /// Bytes that may be on their way at `now`.
    pub fn bytes(&self, now: Time) -> u64 {
        let is_fresh = self.switched > Time::ZERO && now.since(self.switched) < SWITCH_BOOST_TIME;
        self.bytes + if is_fresh { SWITCH_BOOST } else { 0 }
    }

    /// Packets take another path from now on.
    pub fn handle_switch(&mut self, now: Time) {
        self.switched = now;
        self.base = None;
        self.round = Round { began: now, ..Round::default() };
    }

    /// `bytes` sent at `sent` were acknowledged.
    pub fn handle_ack(&mut self, now: Time, sent: Time, bytes: u64) {
        if sent < self.switched {
            return;
        }
        let rtt = now.since(sent);
        let base = self.base.map_or(rtt, |base| base.min(rtt));
        self.base = Some(base);
        let queue = rtt.saturating_sub(base);
        self.round.queue = Some(self.round.queue.map_or(queue, |least| least.min(queue)));
        self.round.acknowledged += bytes;
        if queue < QUEUE_DELAY_SHORT {
            self.bytes = (self.bytes + bytes).min(WINDOW_MAX);
        }
        self.end_round(now, base);
    }

    /// `bytes` sent at `sent`, and maybe later, were lost.
    pub fn handle_loss(&mut self, sent: Time, bytes: u64) {
        if sent >= self.switched {
            self.round.lost += bytes;
        }
    }

    /// Once in a round trip the window shrinks if there is reason to.
    fn end_round(&mut self, now: Time, base: Duration) {
        let round = self.round;
        if now.since(round.began) < base.max(Duration::from_millis(10)) {
            return;
        }
        let queue = round.queue.unwrap_or_default();
        let total = round.acknowledged + round.lost;
        let is_lossy = round.lost * 100 > total * LOSS_TOLERATED;
        if queue > QUEUE_DELAY_LONG || is_lossy && queue > QUEUE_DELAY_SHORT {
            self.bytes = (self.bytes * 85 / 100).max(WINDOW_FLOOR);
        } else if round.lost * 100 > total * LOSS_TOLERATED * 3 {
            self.bytes = (self.bytes * 70 / 100).max(WINDOW_FLOOR);
        }
        self.round = Round { began: now, ..Round::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: u64 = 40;

    /// A window after `rounds` round trips of `rtt` ms in which `acknowledged` and `lost` bytes came back.
    fn after(rounds: u64, rtt: u64, acknowledged: u64, lost: u64) -> Window {
        let mut window = Window::new(Time::ZERO);
        window.handle_ack(Time::from_millis(RTT), Time::ZERO, 0);
        for round in 0..rounds {
            let sent = Time::from_millis(100 + round * rtt);
            window.handle_loss(sent, lost);
            window.handle_ack(sent + Duration::from_millis(rtt), sent, acknowledged);
        }
        window
    }

    #[test]
    fn it_grows_while_the_queue_is_short_even_if_the_sender_is_the_limit() {
        assert!(after(20, RTT, 5000, 0).bytes > WINDOW_INITIAL);
    }

    #[test]
    fn a_long_queue_shrinks_it_to_the_floor_and_no_further() {
        assert_eq!(after(50, RTT + 200, 5000, 0).bytes, WINDOW_FLOOR);
    }

    #[test]
    fn single_losses_on_a_short_queue_are_weather() {
        assert!(after(20, RTT, 9800, 200).bytes >= WINDOW_INITIAL);
    }

    #[test]
    fn heavy_loss_is_congestion_whatever_the_queue() {
        assert!(after(20, RTT, 1000, 4000).bytes < WINDOW_INITIAL);
    }

    #[test]
    fn it_is_capped() {
        assert_eq!(after(2000, RTT, 10_000, 0).bytes, WINDOW_MAX);
    }

    #[test]
    fn what_was_sent_before_a_switch_does_not_count() {
        let mut window = after(5, RTT, 5000, 0);
        let switch = Time::from_millis(1000);
        window.handle_switch(switch);
        let before = window.bytes;
        window.handle_loss(Time::from_millis(999), 100_000);
        window.handle_ack(Time::from_millis(2000), Time::from_millis(999), 1000);
        window.handle_ack(Time::from_millis(2000), Time::from_millis(1960), 0);
        assert_eq!(window.bytes, before);
    }

    #[test]
    fn after_a_switch_there_is_room_for_what_waited() {
        let mut window = after(5, RTT, 5000, 0);
        let switch = Time::from_millis(1000);
        window.handle_switch(switch);
        assert_eq!(window.bytes(switch), window.bytes + SWITCH_BOOST);
        assert_eq!(window.bytes(switch + SWITCH_BOOST_TIME), window.bytes);
    }
}
