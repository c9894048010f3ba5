//! What the ways to several peers have in common: our uplink, through which all of them go.
//!
//! The queue that (nearly) all see at the same time stands in our uplink; what one sees beyond it stands in its own way. So
//! one more estimate is kept, of the common queue and of everything that arrives anywhere, and each peer has a share of it:
//! those who want little get that, the others equal parts of the rest (coupled congestion control, RFC 8699, with max-min
//! shares; the shared bottleneck is told by the queue itself, where RFC 8382 compares statistics of it).
//!
//! With one peer there is nothing to share, and its own estimate holds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::estimate::{Common, Estimator, NewPath};
use super::history::{Arrival, News};
use super::pace::Pace;
use crate::params::{
    COUPLED_LIARS, COUPLED_LOSS, COUPLED_MEMORY, COUPLED_PATIENCE, COUPLED_PROBATION, FEEDBACK_INTERVAL,
};
use crate::units::{Bitrate, PeerId, Time};

/// The uplink as the ways to all peers show it.
#[derive(Debug)]
pub struct Coupling {
    ways: BTreeMap<PeerId, Way>,
    estimator: Estimator,
    pace: Pace,
    /// Whether it carries less than all would send.
    is_short: bool,
}

/// What was last heard of one way.
#[derive(Clone, Copy, Debug)]
struct Way {
    since: Time,
    /// What of the uplink's queue it may take for its own length, because that stood when it came.
    hidden: Duration,
    seen: Time,
    queue: Duration,
    loss: f64,
}

/// A peer's part of the uplink.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    /// What goes to the peer at most.
    pub most: Bitrate,
    /// What goes to all.
    pub of: Bitrate,
}

/// What one way shows when a report has come.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// How long packets wait on it.
    pub queue: Duration,
    /// Share of packets it loses lately, 0 to 1.
    pub loss: f64,
    /// What the report said.
    pub news: &'a News,
}

impl Coupling {
    /// An uplink nothing is known of.
    pub fn new(now: Time) -> Self {
        Coupling {
            ways: BTreeMap::new(),
            estimator: Estimator::of_several(FEEDBACK_INTERVAL, now),
            pace: Pace::new(now),
            is_short: false,
        }
    }

    /// Whether several ways share the uplink.
    pub fn is_shared(&self) -> bool {
        self.ways.len() > 1
    }

    /// Something was sent to anybody.
    pub fn handle_sent(&mut self, bytes: usize, now: Time) {
        self.estimator.handle_sent(bytes, now);
        self.pace.handle_sent(bytes, now);
    }

    /// A report of this peer's.
    pub fn handle_report(&mut self, peer: PeerId, sight: Sight<'_>, now: Time) {
        self.ways.retain(|_, way| now.since(way.seen) < COUPLED_MEMORY);
        let was_shared = self.is_shared();
        let new = Way { since: now, hidden: self.queue(), seen: now, queue: sight.queue, loss: sight.loss };
        let known = self.ways.get(&peer).map(|way| Way { since: way.since, hidden: way.hidden, ..new });
        self.ways.insert(peer, known.unwrap_or(new));
        self.reveal();
        if !was_shared && self.is_shared() {
            // What was found so far was perhaps the limit of one way.
            self.estimator.handle_switch(NewPath::WithoutRelay, now);
        }
        let news = self.as_common(sight.news, now);
        self.estimator.handle_news(&news, Common::NONE, now);
    }

    /// What is not to be laid to one way, because all see it.
    pub fn common(&self) -> Common {
        if self.is_shared() { Common { queue: self.queue(), patience: COUPLED_PATIENCE } } else { Common::NONE }
    }

    /// What a report says of a way, without the losses that the full uplink explains.
    pub fn without_ours<'a>(&self, news: &'a News) -> Cow<'a, News> {
        if !self.is_shared() {
            return Cow::Borrowed(news);
        }
        let others = news.lost.iter().filter(|loss| !self.estimator.was_full(loss.sent));
        Cow::Owned(News { lost: others.cloned().collect(), arrived: news.arrived.clone() })
    }

    /// A train of packets has shown that a way carries this much more than was thought, and so the uplink does.
    pub fn handle_probe(&mut self, more: Bitrate, now: Time) {
        let shown = self.estimator.rate().as_bits().saturating_add(more.as_bits());
        self.estimator.handle_probe(Bitrate::from_bits(shown), now);
    }

    /// How fast may be sent to all together.
    pub fn rate(&self) -> Bitrate {
        self.estimator.rate()
    }

    /// When the next packet may go to anybody; sound does not ask.
    pub fn free_at(&self, now: Time) -> Time {
        if self.is_shared() && !self.pace.may_send(now) { self.pace.free_at() } else { now }
    }

    /// What each of those may have who would take so much: nobody more, and nobody less who wants it. `None` where there is
    /// enough for all.
    pub fn share(&mut self, mut demands: Vec<Bitrate>, now: Time) -> Option<Share> {
        let sum: u64 = demands.iter().map(|demand| demand.as_bits()).sum();
        let mut left = self.estimator.rate().as_bits();
        self.is_short = self.is_shared() && sum > left;
        self.set_pace(now);
        if !self.is_short {
            return None;
        }
        demands.sort_unstable();
        let mut takers = demands.len() as u64;
        for demand in demands {
            if demand.as_bits() * takers > left {
                break;
            }
            left -= demand.as_bits();
            takers -= 1;
        }
        Some(Share { most: Bitrate::from_bits(left / takers.max(1)), of: self.estimator.rate() })
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.estimator.handle_timeout(now);
        self.set_pace(now);
    }

    /// Also while there is nothing to share: who comes then finds it as it is, and not all that ever went held against it.
    fn set_pace(&mut self, now: Time) {
        self.pace.set_rate_of_all(self.estimator.rate(), self.queue(), self.ways.len().max(1), self.is_short, now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.estimator.poll_timeout().filter(|_| self.is_shared())
    }

    /// Nothing is hidden from a way any more that has seen the queue when it was short, or is known for long.
    fn reveal(&mut self) {
        let queue = self.queue();
        for way in self.ways.values_mut() {
            let is_known = way.seen.since(way.since) >= COUPLED_PROBATION;
            way.hidden = if is_known { Duration::ZERO } else { way.hidden.min(queue) };
        }
    }

    /// The queue that all see but a few.
    fn queue(&self) -> Duration {
        self.least(|way| way.queue + way.hidden).unwrap_or_default()
    }

    /// The least that all ways but a few have of something.
    fn least<T: PartialOrd>(&self, of: impl Fn(&Way) -> T) -> Option<T> {
        let mut all: Vec<T> = self.ways.values().map(of).collect();
        all.sort_unstable_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
        let liars = all.len().saturating_sub(1) / COUPLED_LIARS;
        all.into_iter().nth(liars)
    }

    /// A report as if the uplink were all there is: its packets waited as long as all see, and by our own clock.
    fn as_common(&self, news: &News, now: Time) -> News {
        let queue = self.queue();
        let newest = news.arrived.iter().map(|arrival| arrival.arrived).max().unwrap_or(now);
        let shift = |arrival: &Arrival| {
            let arrived = now - newest.since(arrival.arrived);
            Arrival { sent: arrived - queue, arrived, ..*arrival }
        };
        let is_lossy = self.least(|way| way.loss).is_some_and(|loss| loss >= COUPLED_LOSS);
        let lost = if is_lossy { news.lost.clone() } else { Vec::new() };
        News { arrived: news.arrived.iter().map(shift).collect(), lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::history::Loss;

    const NEWS_EVERY: Duration = Duration::from_millis(50);
    const FULL: Duration = Duration::from_millis(80);

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    /// Each of the ways is reported of for so long, with the queue that `queue` says, while all send a megabit a second.
    fn run(coupling: &mut Coupling, ways: u8, queue: impl Fn(u8) -> Duration, from: Time, seconds: u64) -> Time {
        let mut now = from;
        while now < from + Duration::from_secs(seconds) {
            now += NEWS_EVERY;
            for way in 0..ways {
                let bytes = 6250 / usize::from(ways);
                coupling.handle_sent(bytes, now);
                let arrival = Arrival { sequence: 0, sent: now - queue(way), arrived: now, bytes };
                let news = News { arrived: vec![arrival], lost: Vec::new() };
                coupling.handle_report(peer(way), Sight { queue: queue(way), loss: 0.0, news: &news }, now);
                coupling.share(Vec::new(), now);
            }
        }
        now
    }

    #[test]
    fn a_queue_that_all_see_is_ours_and_one_that_a_single_way_shows_is_not() {
        let mut coupling = Coupling::new(Time::ZERO);
        let now = run(&mut coupling, 3, |_| Duration::ZERO, Time::ZERO, 5);
        let free = coupling.rate();
        let now = run(&mut coupling, 3, |way| if way == 0 { FULL } else { Duration::ZERO }, now, 2);
        assert_eq!(coupling.common().queue, Duration::ZERO);
        assert!(coupling.rate() >= free, "{:?} of {free:?}", coupling.rate());
        run(&mut coupling, 3, |_| FULL, now, 1);
        assert_eq!(coupling.common().queue, FULL);
        assert!(coupling.rate() < Bitrate::from_kilobits(1000), "{:?}", coupling.rate());
    }

    #[test]
    fn who_came_while_the_queue_stood_does_not_hide_it() {
        let mut coupling = Coupling::new(Time::ZERO);
        let now = run(&mut coupling, 2, |_| FULL, Time::ZERO, 5);
        // A third takes the queue for the length of its way.
        let now = run(&mut coupling, 3, |way| if way == 2 { Duration::ZERO } else { FULL }, now, 1);
        assert_eq!(coupling.common().queue, FULL);
        // So does one of five, however long it is there.
        run(&mut coupling, 5, |way| if way == 2 { Duration::ZERO } else { FULL }, now, 5);
        assert_eq!(coupling.common().queue, FULL);
    }

    #[test]
    fn who_came_second_does_not_hide_the_queue_that_the_first_sees() {
        let mut coupling = Coupling::new(Time::ZERO);
        let now = run(&mut coupling, 1, |_| FULL, Time::ZERO, 1);
        let found = coupling.rate();
        let second = |way| if way == 1 { Duration::ZERO } else { FULL };
        let now = run(&mut coupling, 2, second, now, 1);
        assert_eq!(coupling.common().queue, FULL);
        assert!(coupling.rate() <= found, "{:?} of {found:?}", coupling.rate());
        // As soon as the queue was short it sees all of it, so what it does not see is the first one's own.
        let now = run(&mut coupling, 2, |_| Duration::ZERO, now, 1);
        run(&mut coupling, 2, second, now, 1);
        assert_eq!(coupling.common().queue, Duration::ZERO);
    }

    #[test]
    fn with_one_peer_there_is_nothing_to_share() {
        let mut coupling = Coupling::new(Time::ZERO);
        let now = run(&mut coupling, 1, |_| FULL, Time::ZERO, 5);
        assert_eq!((coupling.common(), coupling.free_at(now)), (Common::NONE, now));
        assert_eq!(coupling.share(vec![Bitrate::from_kilobits(100_000)], now), None);
        // Nor is there when the others have gone.
        let now = run(&mut coupling, 2, |_| FULL, now, 1);
        assert!(coupling.is_shared());
        run(&mut coupling, 1, |_| FULL, now, 2);
        assert!(!coupling.is_shared());
    }

    #[test]
    fn what_went_to_one_alone_is_not_held_against_the_second() {
        let mut coupling = Coupling::new(Time::ZERO);
        let now = run(&mut coupling, 1, |_| Duration::ZERO, Time::ZERO, 60);
        let now = run(&mut coupling, 2, |_| Duration::ZERO, now, 1);
        assert!(coupling.is_shared());
        assert!(coupling.free_at(now) <= now + NEWS_EVERY, "{:?} at {now:?}", coupling.free_at(now));
    }

    #[test]
    fn who_wants_little_gets_it_and_the_others_share_the_rest_equally() {
        let mut coupling = Coupling::new(Time::ZERO);
        let now = run(&mut coupling, 4, |_| Duration::ZERO, Time::ZERO, 5);
        let all = coupling.rate().as_bits();
        let demands = |parts: [u64; 4]| parts.map(|part| Bitrate::from_bits(all * part / 100)).to_vec();
        assert_eq!(coupling.share(demands([25, 25, 25, 25]), now), None);
        let share = coupling.share(demands([10, 100, 100, 20]), now).unwrap();
        assert_eq!(share.of.as_bits(), all);
        assert!(share.most.as_bits().abs_diff(all * 35 / 100) <= 2, "{share:?} of {all}");
    }

    #[test]
    fn losses_are_laid_to_the_uplink_only_while_it_is_full() {
        let mut coupling = Coupling::new(Time::ZERO);
        let now = run(&mut coupling, 2, |_| Duration::ZERO, Time::ZERO, 5);
        let lost =
            |now| News { lost: vec![Loss { sequence: 0, sent: now, bytes: 1000, origin: None }], arrived: Vec::new() };
        assert_eq!(coupling.without_ours(&lost(now)).lost.len(), 1);
        let now = run(&mut coupling, 2, |_| FULL, now, 1);
        assert_eq!(coupling.without_ours(&lost(now)).lost.len(), 0);
    }
}
