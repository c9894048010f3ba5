//! How fast may be sent to one peer: learned from when packets arrive, and which do not.
//!
//! Reports go in, a rate comes out. The queue on the way is measured as the excess of one-way time over its recent minimum
//! (as LEDBAT, RFC 6817 §3.4.2, clocks need not agree); the least excess of the last moments counts, so that jitter is not
//! taken for a queue. A growing queue cuts the rate below what arrives (as GCC, draft-ietf-rmcat-gcc §5.5), an empty one
//! lets it grow: at once on a new way (a slow start), fast while the way's capacity is unknown, slowly near where it was
//! last found (§5.4).
//!
//! Loss without a queue is first tried as congestion; when sending less does not make it less, it is weather, and only
//! what exceeds the weather counts.

use std::time::Duration;

pub use super::delay::NewPath;

use super::delay::{Delay, LongerWay};
use super::history::News;
use super::meter::RateMeter;
use super::weather::{Verdict, Weather};
use crate::params::{
    CAPACITY_MEMORY, CAPACITY_NEAR, CAPACITY_REACH, COLLAPSE_SHARE, COUPLED_CAPACITY_MEMORY, COUPLED_CAPACITY_REACH,
    CUT_REST, CUT_SHARE, CUT_SHARE_DRAIN, CUT_SHARE_TRIAL, ESTIMATE_FLOOR, ESTIMATE_MAX, ESTIMATE_START,
    FEEDBACK_INTERVAL_MAX, FEEDBACK_TIMEOUT, FULL_MEMORY, GROWTH_AT_ONCE, GROWTH_FAST, GROWTH_NARROW, GROWTH_NEW,
    GROWTH_SHARED, GROWTH_SLOW, GROWTH_STEP, GROWTH_TESTED, GROWTH_TESTED_NEW, GROWTH_UNTESTED, IDLE_SHARE, NARROW,
    OWN_QUEUE_MEMORY, PACKET_PAYLOAD, QUEUE_DRAIN, QUEUE_GROWN, QUEUE_QUIET, QUEUE_SAMPLE,
};
use crate::units::{Bitrate, Time};

/// What is not to be laid to a path, because others see it too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Common {
    /// The queue that all see.
    pub queue: Duration,
    /// How long more than that must stand before it is the path's own: the others' reports may be on their way.
    pub patience: Duration,
}

impl Common {
    /// There is nobody else.
    pub const NONE: Common = Common { queue: Duration::ZERO, patience: Duration::ZERO };
}

/// The rate of one path.
#[derive(Debug)]
pub struct Estimator {
    rate: f64,
    delay: Delay,
    /// Whether what was taken for a queue was a longer way: it is not narrow then, however little is sent.
    was_longer: bool,
    delivered: RateMeter,
    sent: RateMeter,
    /// The queue at the report before, while it is one.
    queue_before: Duration,
    /// Where the way's capacity was last found, bits a second.
    capacity: Option<f64>,
    capacity_memory: Duration,
    /// How many times the capacity that was found is approached slowly.
    capacity_reach: f64,
    weather: Weather,
    /// Whether no limit of the way has been met yet.
    is_new: bool,
    last_cut: Time,
    last_growth: Time,
    /// Since when something has been sent without any report.
    waiting_since: Option<Time>,
    /// The rate before reports stayed away.
    before_silence: Option<f64>,
    /// Since when packets take the present path.
    switched: Time,
    /// When a queue was last seen.
    full_at: Option<Time>,
    /// Since when there has been one of the path's own, and when there last was for sure.
    full_since: Option<Time>,
    own_at: Option<Time>,
    /// Whether less is or was sent on trial because the way was full.
    is_relieving: bool,
    /// Whether what looks like a queue may be the way itself.
    longer: LongerWay,
}

impl Estimator {
    /// The estimate of a path nothing is known of.
    pub fn new(now: Time) -> Self {
        Estimator {
            rate: ESTIMATE_START.as_bits() as f64,
            delay: Delay::default(),
            was_longer: false,
            delivered: RateMeter::default(),
            sent: RateMeter::default(),
            queue_before: Duration::ZERO,
            capacity: None,
            capacity_memory: CAPACITY_MEMORY,
            capacity_reach: CAPACITY_REACH,
            weather: Weather::default(),
            is_new: true,
            last_cut: now,
            last_growth: now,
            waiting_since: None,
            before_silence: None,
            switched: now,
            full_at: None,
            full_since: None,
            own_at: None,
            is_relieving: false,
            longer: LongerWay::default(),
        }
    }

    /// The same of what several paths have in common: some of their reports come `settles` after the others.
    pub fn of_several(settles: Duration, now: Time) -> Self {
        Estimator {
            delivered: RateMeter::settling(settles),
            capacity_memory: COUPLED_CAPACITY_MEMORY,
            capacity_reach: COUPLED_CAPACITY_REACH,
            ..Estimator::new(now)
        }
    }

    /// How fast may be sent.
    pub fn rate(&self) -> Bitrate {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between floor and maximum")]
        Bitrate::from_bits(self.rate as u64)
    }

    /// Whether no limit of the way has been met yet.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// How long packets wait on the way, as far as it is known.
    pub fn queue(&self) -> Duration {
        self.delay.queue()
    }

    /// Whether the way was full about then: what it lost of what was sent then it may have dropped for want of room.
    pub fn was_full(&self, then: Time) -> bool {
        self.full_at.is_some_and(|at| then.since(at).max(at.since(then)) < FULL_MEMORY)
    }

    /// Share of packets lost on the way lately, 0 to 1.
    pub fn loss(&self) -> f64 {
        self.weather.share()
    }

    /// Whether a trial of sending less has just ended that began when the way was full.
    pub fn take_relief(&mut self) -> bool {
        !self.weather.is_trying() && std::mem::take(&mut self.is_relieving)
    }

    /// Whether it is being tried if less is lost when less is sent: nothing that can be left out may go.
    pub fn is_trying_less(&self) -> bool {
        self.weather.is_trying()
    }

    /// Something was sent.
    pub fn handle_sent(&mut self, bytes: usize, now: Time) {
        self.sent.add(now, bytes);
        self.waiting_since.get_or_insert(now);
    }

    /// A report said something new. What is `common` to other paths is not this one's.
    pub fn handle_news(&mut self, news: &News, common: Common, now: Time) {
        let news = &news.since(self.switched);
        if news.arrived.is_empty() && news.lost.is_empty() {
            return;
        }
        self.waiting_since = None;
        self.end_silence();
        for arrival in &news.arrived {
            self.delivered.add(arrival.arrived, arrival.bytes);
            self.delay.handle_arrival(arrival);
        }
        let verdict = self.weather.judge(news, self.rate, now);
        let slack = self.packet_time();
        if self.queue() >= QUEUE_GROWN + slack {
            self.full_at = Some(now);
        }
        let queue = self.queue().saturating_sub(common.queue);
        let is_full = queue >= QUEUE_GROWN + slack;
        self.full_since = self.full_since.filter(|_| is_full).or(is_full.then_some(now));
        let is_doubtful = is_full && self.is_doubtful(common.patience, now);
        if verdict == Verdict::TryLess {
            self.is_relieving = self.was_full(now);
            // Also where a queue is seen: if it stood there since the beginning, it is longer than it looks.
            self.cut(self.delivered.rate().min(self.rate) * CUT_SHARE_TRIAL, now);
        } else if is_doubtful || is_full && self.delay.has_just_resumed() {
            self.last_growth = now;
        } else if is_full || self.weather.is_collapse() {
            self.cut_to_delivered(queue, now);
        } else {
            self.queue_before = Duration::ZERO;
            self.longer = LongerWay::default();
            if queue > QUEUE_QUIET + slack {
                self.last_growth = now;
            } else {
                self.follow(verdict, now);
            }
        }
    }

    /// Whether a queue may be another's, because the way has shown none of its own lately and this one is young.
    fn is_doubtful(&mut self, patience: Duration, now: Time) -> bool {
        let is_known = self.own_at.is_some_and(|at| now.since(at) < OWN_QUEUE_MEMORY);
        let is_young = self.full_since.is_some_and(|since| now.since(since) < patience);
        if is_young && !is_known {
            return true;
        }
        self.own_at = Some(now);
        false
    }

    /// What one packet takes on the way, to tell from a queue.
    fn packet_time(&self) -> Duration {
        let slowest = self.rate.max(ESTIMATE_FLOOR.as_bits() as f64 * 2.0);
        Duration::from_secs_f64(PACKET_PAYLOAD as f64 * 8.0 / slowest) / 4
    }

    /// The way has no queue that we could see.
    fn follow(&mut self, verdict: Verdict, now: Time) {
        match verdict {
            Verdict::Fair => self.grow(now),
            Verdict::TryLess | Verdict::Wait => self.last_growth = now,
            Verdict::Restore(rate) => {
                self.rate = self.rate.max(rate);
                self.last_growth = now;
            }
        }
    }

    /// A train of packets has shown that the way carries this much.
    pub fn handle_probe(&mut self, shown: Bitrate, now: Time) {
        let shown = shown.as_bits() as f64;
        if shown > self.rate {
            self.rate = shown.min(ESTIMATE_MAX.as_bits() as f64);
            self.capacity = self.capacity.filter(|capacity| *capacity > shown);
            self.last_growth = now;
        }
    }

    /// Packets take another path from now on: the rate is kept, what was learned of the old path's delay only where it holds
    /// for the new one too. A queue that both have in common would be taken for the way itself otherwise.
    pub fn handle_switch(&mut self, path: NewPath, now: Time) {
        self.delay.handle_switch(path);
        if path != NewPath::WithoutRelay {
            self.switched = now;
        }
        self.capacity = None;
        self.weather = Weather::default();
        self.is_new = true;
        self.waiting_since = None;
        self.end_silence();
        self.last_cut = now;
    }

    /// Without reports the rate is halved again and again: whatever is sent adds to what stands in the way.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.waiting_since = Some(now);
            self.before_silence.get_or_insert(self.rate);
            self.rate = (self.rate / 2.0).max(ESTIMATE_FLOOR.as_bits() as f64);
            self.last_cut = now;
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.waiting_since.map(|since| since + FEEDBACK_TIMEOUT)
    }

    /// Nothing came through and now something does: the way was cut, not full, and may carry what it did.
    fn end_silence(&mut self) {
        if let Some(before) = self.before_silence.take() {
            self.rate = self.rate.max(before / 2.0);
        }
    }

    /// The way is full: what arrives is what it carries.
    fn cut_to_delivered(&mut self, queue: Duration, now: Time) {
        if let Some(before) = self.longer.judge(queue, self.rate, now) {
            self.delay.forget_base();
            // The cuts since then were for nothing.
            self.rate = self.rate.max(before * CUT_SHARE);
            self.was_longer = true;
            return;
        }
        let mut delivered = self.delivered.rate();
        // On a narrow way a moment holds too few packets to count.
        if self.rate >= NARROW.as_bits() as f64 {
            delivered = delivered.min(self.delivered.rate_of_last(QUEUE_SAMPLE));
        }
        // A way that has suddenly become far narrower drops everything meanwhile, sound too.
        let has_collapsed = delivered < self.rate * COLLAPSE_SHARE && queue >= QUEUE_DRAIN;
        let is_draining = queue < std::mem::replace(&mut self.queue_before, queue);
        if (now.since(self.last_cut) < CUT_REST || is_draining) && !has_collapsed {
            self.last_growth = now;
            return;
        }
        // Who hardly sends anything learns nothing of the capacity.
        if !self.is_at_floor() {
            self.capacity = Some(delivered);
        }
        let share = if queue >= QUEUE_DRAIN + self.packet_time() { CUT_SHARE_DRAIN } else { CUT_SHARE };
        let rate = (delivered * share).max(self.untested(share, queue));
        self.cut(rate.min(self.rate), now);
    }

    /// What is left to who hardly uses what it may: the queue is others', and would keep its pictures paused for good.
    fn untested(&self, share: f64, queue: Duration) -> f64 {
        let is_idle = self.sent.rate() < self.rate * IDLE_SHARE && queue < QUEUE_DRAIN;
        if is_idle { (self.rate * share).min(GROWTH_UNTESTED.as_bits() as f64) } else { 0.0 }
    }

    fn is_at_floor(&self) -> bool {
        self.rate <= ESTIMATE_FLOOR.as_bits() as f64 * 1.5
    }

    fn cut(&mut self, rate: f64, now: Time) {
        self.rate = rate.max(ESTIMATE_FLOOR.as_bits() as f64);
        (self.is_new, self.was_longer) = (false, false);
        self.last_cut = now;
        self.last_growth = now;
    }

    fn grow(&mut self, now: Time) {
        let span = now.since(std::mem::replace(&mut self.last_growth, now)).min(FEEDBACK_INTERVAL_MAX);
        let tested = match self.is_new {
            true => (self.sent.rate() * GROWTH_TESTED_NEW).max(ESTIMATE_START.as_bits() as f64),
            false => {
                (self.sent.rate() * GROWTH_TESTED + GROWTH_STEP.as_bits() as f64).max(GROWTH_UNTESTED.as_bits() as f64)
            }
        };
        if self.rate >= tested {
            return;
        }
        if self.capacity.is_some_and(|capacity| self.rate > capacity * self.capacity_reach) {
            self.capacity = None;
        }
        let growth = self.growth_near_capacity(now).unwrap_or_else(|| self.growth_far_from_capacity());
        let grown = self.rate * growth.powf(span.as_secs_f64()).min(GROWTH_AT_ONCE);
        let stepped = self.rate + GROWTH_STEP.as_bits() as f64 * span.as_secs_f64();
        self.rate = grown.max(stepped).min(ESTIMATE_MAX.as_bits() as f64);
    }

    fn growth_far_from_capacity(&self) -> f64 {
        match self.is_new {
            true => GROWTH_NEW,
            false if self.was_longer => GROWTH_FAST,
            // A narrow way's queue is full before a report tells.
            false if self.is_narrow() => GROWTH_NARROW,
            false => GROWTH_FAST,
        }
    }

    /// How fast the rate grows near to where the capacity was found; `None` elsewhere. What was found a while ago may have
    /// been another's share. Beyond the capacity the growth turns, little by little, into that of a way of which nothing is
    /// known: what arrived while a queue stood says within a seventh what the way carries (as CUBIC, RFC 9438 §4.1, probes
    /// beyond its last maximum).
    fn growth_near_capacity(&self, now: Time) -> Option<f64> {
        let is_recent = now.since(self.last_cut) < self.capacity_memory;
        let reached = self.capacity.filter(|_| is_recent).map(|capacity| self.rate / capacity)?;
        let beyond = (reached - CAPACITY_REACH) / (self.capacity_reach - CAPACITY_REACH).max(f64::EPSILON);
        let (slow, fast) = (self.growth_shared(), self.growth_far_from_capacity());
        (reached > CAPACITY_NEAR).then(|| slow + (fast - slow).max(0.0) * beyond.clamp(0.0, 1.0))
    }

    /// Who sends more grows by a smaller part of it than who sends less, while a cut takes the same part from both: so
    /// those who share a way come to equal shares (Bansal and Balakrishnan, "Binomial Congestion Control Algorithms").
    fn growth_shared(&self) -> f64 {
        match self.is_narrow() {
            true => GROWTH_SLOW,
            false => 1.0 + (GROWTH_SHARED.as_bits() as f64 / self.rate).sqrt(),
        }
    }

    /// Whether the way is so narrow that a few packets are a queue.
    fn is_narrow(&self) -> bool {
        self.rate < NARROW.as_bits() as f64 / 2.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::params::BASE_DELAY_DOUBT;
    use crate::rate::history::Arrival;
    use rand_chacha::ChaCha8Rng;
    use rand_core::{RngCore, SeedableRng};

    /// A sender that sends what it may, up to `wish`, through one bottleneck.
    struct Run {
        estimator: Estimator,
        now: Time,
        free_at: Time,
        pending: VecDeque<(Time, Option<Arrival>)>,
        rng: ChaCha8Rng,
        worst_queue: Duration,
        delivered: u64,
    }

    #[derive(Clone, Copy)]
    struct Way {
        rate: u64,
        queue_ms: u64,
        loss_percent: u32,
        jitter_ms: u64,
        length_ms: u64,
        wish: u64,
    }

    const WAY: Way =
        Way { rate: 2_000_000, queue_ms: 250, loss_percent: 0, jitter_ms: 0, length_ms: 25, wish: 10_000_000 };
    const BYTES: usize = 1000;

    impl Run {
        fn new() -> Self {
            Run {
                estimator: Estimator::new(Time::ZERO),
                now: Time::ZERO,
                free_at: Time::ZERO,
                pending: VecDeque::new(),
                rng: ChaCha8Rng::seed_from_u64(1),
                worst_queue: Duration::ZERO,
                delivered: 0,
            }
        }

        fn go(&mut self, way: Way, span: Duration) -> f64 {
            let ends = self.now + span;
            (self.worst_queue, self.delivered) = (Duration::ZERO, 0);
            let mut report = self.now + Duration::from_millis(50);
            while self.now < ends {
                let rate = self.estimator.rate().as_bits().min(way.wish);
                self.send(way);
                self.now += Duration::from_micros(BYTES as u64 * 8 * 1_000_000 / rate);
                if self.now >= report {
                    report = self.now + Duration::from_millis(50);
                    self.report();
                }
                self.estimator.handle_timeout(self.now);
            }
            self.delivered as f64 * 8.0 / span.as_secs_f64()
        }

        fn send(&mut self, way: Way) {
            self.estimator.handle_sent(BYTES, self.now);
            let waits = self.free_at.since(self.now);
            let dropped = waits > Duration::from_millis(way.queue_ms) || self.rng.next_u32() % 100 < way.loss_percent;
            let sent = self.now;
            if dropped {
                self.pending.push_back((self.now, None));
                return;
            }
            self.worst_queue = self.worst_queue.max(waits);
            self.free_at = self.free_at.max(self.now) + Duration::from_micros(BYTES as u64 * 8 * 1_000_000 / way.rate);
            let jitter = if way.jitter_ms == 0 { 0 } else { u64::from(self.rng.next_u32()) % way.jitter_ms };
            let arrived = self.free_at + Duration::from_millis(way.length_ms + jitter);
            self.delivered += BYTES as u64;
            self.pending.push_back((arrived, Some(Arrival { sequence: 0, sent, arrived, bytes: BYTES })));
        }

        fn report(&mut self) {
            let mut news = News::default();
            let seen = self.now - Duration::from_millis(25);
            self.pending.retain(|(at, arrival)| {
                let is_seen = *at <= seen;
                match arrival {
                    Some(arrival) if is_seen => news.arrived.push(*arrival),
                    None if is_seen => news.lost.push(super::super::history::Loss {
                        sequence: 0,
                        sent: *at,
                        bytes: BYTES,
                        origin: None,
                    }),
                    Some(_) | None => {}
                }
                !is_seen
            });
            news.arrived.sort_by_key(|arrival| arrival.arrived);
            self.estimator.handle_news(&news, Common::NONE, self.now);
        }
    }

    const SECONDS_10: Duration = Duration::from_secs(10);

    #[test]
    fn a_free_way_is_filled_and_its_queue_kept_short() {
        let mut run = Run::new();
        run.go(WAY, SECONDS_10);
        let rate = run.go(WAY, SECONDS_10);
        assert!(rate > 0.85 * WAY.rate as f64, "{rate}");
        assert!(run.worst_queue < Duration::from_millis(120), "{:?}", run.worst_queue);
    }

    #[test]
    fn a_way_that_narrows_is_noticed_within_two_seconds_and_one_that_widens_is_used_again() {
        let mut run = Run::new();
        run.go(Way { rate: 4_000_000, ..WAY }, SECONDS_10);
        let narrow = Way { rate: 300_000, ..WAY };
        run.go(narrow, Duration::from_secs(2));
        let rate = run.go(narrow, SECONDS_10);
        assert!(run.worst_queue < Duration::from_millis(300), "{:?}", run.worst_queue);
        assert!(rate > 0.7 * 300_000.0, "{rate}");
        let wide = Way { rate: 4_000_000, ..WAY };
        run.go(wide, Duration::from_secs(8));
        let rate = run.go(wide, Duration::from_secs(5));
        assert!(rate > 0.85 * 4_000_000.0, "{rate}");
    }

    #[test]
    fn loss_that_is_weather_does_not_starve_the_call() {
        for loss_percent in [2, 10, 20] {
            let mut run = Run::new();
            let way = Way { loss_percent, rate: 4_000_000, wish: 1_500_000, ..WAY };
            run.go(way, SECONDS_10);
            run.go(way, SECONDS_10);
            assert!(run.estimator.rate().as_bits() > 1_000_000, "{loss_percent}: {:?}", run.estimator.rate());
        }
    }

    #[test]
    fn jitter_is_not_taken_for_a_queue() {
        let mut run = Run::new();
        let way = Way { jitter_ms: 80, rate: 4_000_000, wish: 1_500_000, ..WAY };
        run.go(way, SECONDS_10);
        assert!(run.estimator.rate().as_bits() > 1_200_000, "{:?}", run.estimator.rate());
    }

    #[test]
    fn what_several_share_is_left_slowly_where_its_capacity_was_found() {
        // How long the rate takes from a fifth above the capacity to twice as much, when the way has become wide.
        let takes = |estimator| {
            let mut run = Run { estimator, ..Run::new() };
            run.go(Way { rate: 1_200_000, ..WAY }, SECONDS_10);
            let capacity = run.estimator.capacity.expect("it was full");
            let mut reaches = |times: f64| {
                while run.estimator.rate < capacity * times && run.now < Time::from_millis(60_000) {
                    run.go(Way { rate: 100_000_000, ..WAY }, Duration::from_millis(50));
                }
                run.now
            };
            let near = reaches(1.2);
            reaches(2.0).since(near)
        };
        assert!(takes(Estimator::new(Time::ZERO)) < Duration::from_millis(1000));
        let several = takes(Estimator::of_several(Duration::ZERO, Time::ZERO));
        assert!((Duration::from_millis(1500)..Duration::from_secs(5)).contains(&several), "{several:?}");
    }

    #[test]
    fn who_hardly_sends_keeps_what_pictures_need_while_others_fill_the_way() {
        let mut run = Run::new();
        run.go(WAY, SECONDS_10);
        let idle = Way { wish: 80_000, ..WAY };
        // Others fill the way for a third of a second, again and again.
        for _ in 0..10 {
            for _ in 0..5 {
                run.free_at = run.now + Duration::from_millis(60);
                run.go(idle, Duration::from_millis(50));
            }
            let rate = run.estimator.rate();
            assert!(rate >= Bitrate::from_kilobits(90), "{rate:?}");
            run.go(idle, Duration::from_secs(1));
        }
        assert!(run.estimator.rate() <= Bitrate::from_kilobits(200), "{:?}", run.estimator.rate());
    }

    #[test]
    fn a_way_that_becomes_longer_soon_carries_what_it_did() {
        let mut run = Run::new();
        let way = Way { rate: 8_000_000, wish: 1_500_000, ..WAY };
        run.go(way, SECONDS_10);
        let before = run.estimator.rate().as_bits();
        let longer = Way { length_ms: 150, ..way };
        run.go(longer, BASE_DELAY_DOUBT);
        assert!(run.estimator.rate().as_bits() < before / 4, "it may be a queue");
        run.go(longer, Duration::from_secs(1));
        assert!(run.estimator.rate().as_bits() > before * 4 / 5, "{:?} of {before}", run.estimator.rate());
    }

    #[test]
    fn a_sender_with_little_to_send_is_not_promised_much() {
        let mut run = Run::new();
        run.go(Way { wish: 400_000, rate: 100_000_000, ..WAY }, SECONDS_10);
        assert!(run.estimator.rate().as_bits() < 1_000_000, "{:?}", run.estimator.rate());
    }

    #[test]
    fn without_reports_the_rate_falls_to_its_floor() {
        let mut estimator = Estimator::new(Time::ZERO);
        estimator.handle_sent(BYTES, Time::ZERO);
        while let Some(at) = estimator.poll_timeout().filter(|at| *at < Time::from_millis(10_000)) {
            estimator.handle_timeout(at);
        }
        assert_eq!(estimator.rate(), ESTIMATE_FLOOR);
    }

    #[test]
    fn a_narrow_way_carries_its_rate() {
        let mut run = Run::new();
        let way = Way { rate: 150_000, ..WAY };
        run.go(way, SECONDS_10);
        let rate = run.go(way, SECONDS_10);
        assert!(rate > 0.7 * 150_000.0, "{rate}");
    }
}
