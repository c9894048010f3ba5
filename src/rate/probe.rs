//! Whether a way carries more than is sent on it: now and then a short train of packets goes faster, and what arrives says
//! how fast it may go on.
//!
//! Who sends little learns little of the way (RFC 8836 §2, "application-limited"); a receiver of small pictures would never
//! get large ones. The train is made of packets that were sent before, so that it repairs what it can.

use std::time::Duration;

use super::history::News;
use crate::params::{TRAIN_LEAST, TRAIN_REST, TRAIN_REST_MOST, TRAIN_SPAN, TRAIN_TIMEOUT};
use crate::units::{Bitrate, Time};

/// Sends trains and reads what became of them.
#[derive(Debug)]
pub struct Prober {
    /// How fast we would like to send.
    wish: Bitrate,
    /// When the next train may start, and how long to wait after it if it fails.
    next: Time,
    rest: Duration,
    train: Option<Train>,
}

/// One train.
#[derive(Debug, Default)]
struct Train {
    /// The estimate at its start.
    before: Bitrate,
    rate: Bitrate,
    began: Time,
    sent: u64,
    /// When its last packet went.
    ended: Option<Time>,
    arrivals: Vec<(Time, usize)>,
    lost: usize,
}

impl Prober {
    /// A prober without a wish.
    pub fn new(now: Time) -> Self {
        Prober { wish: Bitrate::default(), next: now, rest: TRAIN_REST, train: None }
    }

    /// We would like to send this fast; zero for as fast as now.
    pub fn set_wish(&mut self, wish: Bitrate) {
        self.wish = wish;
    }

    /// Whether a packet of a train is to go now, while the estimate is this.
    pub fn is_due(&mut self, estimate: Bitrate, now: Time) -> bool {
        if self.train.is_none() && self.may_start(estimate) && now >= self.next {
            let rate = Bitrate::from_bits(estimate.as_bits() * 2);
            self.train = Some(Train { before: estimate, rate, began: now, ..Train::default() });
        }
        self.train.as_ref().is_some_and(|train| train.ended.is_none() && train.next_packet() <= now)
    }

    /// Something went, whether for the train or for its own sake.
    pub fn handle_sent(&mut self, bytes: usize, now: Time) {
        let Some(train) = self.train.as_mut().filter(|train| train.ended.is_none()) else { return };
        train.sent += bytes as u64;
        if now.since(train.began) >= TRAIN_SPAN {
            train.ended = Some(now);
        }
    }

    /// What a report says. Gives how fast may be sent, once a train has shown it.
    pub fn handle_news(&mut self, news: &News, now: Time) -> Option<Bitrate> {
        let train = self.train.as_mut()?;
        let ended = train.ended.unwrap_or(now);
        let is_of_train = |sent: Time| sent >= train.began && sent <= ended;
        train.lost += news.lost.iter().filter(|loss| is_of_train(loss.sent)).count();
        train.arrivals.extend(news.arrived.iter().filter(|a| is_of_train(a.sent)).map(|a| (a.arrived, a.bytes)));
        let is_past = train.ended.is_some_and(|ended| news.arrived.iter().any(|arrival| arrival.sent >= ended));
        let is_late = now.since(train.began) >= TRAIN_TIMEOUT;
        if !is_past && !is_late {
            return None;
        }
        let shown = self.train.take().and_then(|train| train.shown());
        self.rest = if shown.is_some() { TRAIN_REST } else { (self.rest * 2).min(TRAIN_REST_MOST) };
        self.next = now + self.rest;
        shown
    }

    /// Packets take another path: what was being measured is gone.
    pub fn handle_switch(&mut self, now: Time) {
        *self = Prober { wish: self.wish, ..Prober::new(now + TRAIN_REST) };
    }

    /// When a packet of a train may go or a train may begin.
    pub fn poll_timeout(&self, estimate: Bitrate) -> Option<Time> {
        match &self.train {
            Some(train) if train.ended.is_none() => Some(train.next_packet()),
            Some(_) => None,
            None => self.may_start(estimate).then_some(self.next),
        }
    }

    fn may_start(&self, estimate: Bitrate) -> bool {
        (TRAIN_LEAST..self.wish).contains(&estimate)
    }
}

impl Train {
    fn next_packet(&self) -> Time {
        self.began + Duration::from_secs_f64(self.sent as f64 * 8.0 / self.rate.as_bits().max(1) as f64)
    }

    /// The rate it arrived with, a little less; nothing if that is hardly more than before, or too much of it was lost.
    fn shown(mut self) -> Option<Bitrate> {
        if self.lost * 10 > self.arrivals.len() + self.lost {
            return None;
        }
        self.arrivals.sort_unstable();
        let (first, last) = (self.arrivals.first()?, self.arrivals.last()?);
        let span = last.0.since(first.0);
        // The first packet marks the beginning; its own bytes came before it.
        let bytes: usize = self.arrivals.iter().skip(1).map(|(_, bytes)| bytes).sum();
        if span < TRAIN_SPAN / 4 {
            return None;
        }
        let arrived = Bitrate::of(bytes as u64, span).min(self.rate);
        let shown = Bitrate::from_bits(arrived.as_bits() * 9 / 10);
        (shown.as_bits() * 5 >= self.before.as_bits() * 6).then_some(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::history::{Arrival, Loss};

    const KILOBITS_300: Bitrate = Bitrate::from_kilobits(300);
    const WISH: Bitrate = Bitrate::from_kilobits(2000);

    /// A train over a way that carries `capacity` and loses every `nth` packet; what it showed.
    fn run(prober: &mut Prober, capacity: Bitrate, nth: usize, from: Time) -> Option<Bitrate> {
        let mut news = News::default();
        let mut now = from;
        let mut free_at = from;
        while now < from + TRAIN_SPAN * 2 {
            if prober.is_due(KILOBITS_300, now) {
                prober.handle_sent(500, now);
                free_at = free_at.max(now) + Duration::from_secs_f64(4000.0 / capacity.as_bits() as f64);
                let sequence = news.arrived.len() + news.lost.len();
                if sequence % nth == nth - 1 {
                    news.lost.push(Loss { sequence: sequence as u64, sent: now, bytes: 500, origin: None });
                } else {
                    news.arrived.push(Arrival { sequence: 0, sent: now, arrived: free_at, bytes: 500 });
                }
            }
            now += Duration::from_millis(1);
        }
        news.arrived.push(Arrival { sequence: 0, sent: now, arrived: free_at.max(now), bytes: 500 });
        prober.handle_news(&news, now)
    }

    #[test]
    fn a_free_way_shows_nearly_twice_the_rate() {
        let mut prober = Prober::new(Time::ZERO);
        prober.set_wish(WISH);
        let shown = run(&mut prober, Bitrate::from_kilobits(10_000), 1000, Time::ZERO).unwrap();
        assert!((480_000..=540_000).contains(&shown.as_bits()), "{shown:?}");
    }

    #[test]
    fn a_way_that_is_nearly_full_shows_what_it_carries() {
        let mut prober = Prober::new(Time::ZERO);
        prober.set_wish(WISH);
        let shown = run(&mut prober, Bitrate::from_kilobits(450), 1000, Time::ZERO).unwrap();
        assert!((380_000..=410_000).contains(&shown.as_bits()), "{shown:?}");
    }

    #[test]
    fn a_train_that_is_lost_shows_nothing_and_the_next_waits_longer() {
        let mut prober = Prober::new(Time::ZERO);
        prober.set_wish(WISH);
        assert_eq!(run(&mut prober, Bitrate::from_kilobits(10_000), 4, Time::ZERO), None);
        assert!(prober.poll_timeout(KILOBITS_300).unwrap() >= Time::ZERO + TRAIN_REST * 2, "{prober:?}");
    }

    #[test]
    fn a_way_that_carries_no_more_shows_nothing() {
        let mut prober = Prober::new(Time::ZERO);
        prober.set_wish(WISH);
        assert_eq!(run(&mut prober, Bitrate::from_kilobits(315), 1000, Time::ZERO), None);
    }

    #[test]
    fn without_a_wish_nothing_is_sent() {
        let mut prober = Prober::new(Time::ZERO);
        assert!(!prober.is_due(KILOBITS_300, Time::ZERO));
        prober.set_wish(WISH);
        assert!(!prober.is_due(WISH, Time::ZERO));
        assert!(prober.is_due(KILOBITS_300, Time::ZERO));
    }
}
