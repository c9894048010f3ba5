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

use std::collections::VecDeque;
use std::time::Duration;

use super::history::{Arrival, News};
use crate::params::{
    BASE_DELAY_SPAN, ESTIMATE_FLOOR, ESTIMATE_MAX, ESTIMATE_START, FEEDBACK_TIMEOUT, GROWTH_FAST, GROWTH_NEW,
    GROWTH_SLOW, LOSS_ALARM, QUEUE_DRAIN, QUEUE_GROWN, QUEUE_QUIET, QUEUE_SAMPLE, RATE_SPAN,
};
use crate::units::{Bitrate, Time};

/// The rate of one path.
#[derive(Debug)]
pub struct Estimator {
    rate: f64,
    base: BaseDelay,
    /// One-way excess of the packets of the last moments, with their arrival.
    excess: VecDeque<(Time, Duration)>,
    delivered: RateMeter,
    sent: RateMeter,
    /// Where the way's capacity was last found, bits a second.
    capacity: Option<f64>,
    loss: LossJudge,
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
}

impl Estimator {
    /// The estimate of a path nothing is known of.
    pub fn new(now: Time) -> Self {
        Estimator {
            rate: ESTIMATE_START.as_bits() as f64,
            base: BaseDelay::default(),
            excess: VecDeque::new(),
            delivered: RateMeter::default(),
            sent: RateMeter::default(),
            capacity: None,
            loss: LossJudge::default(),
            is_new: true,
            last_cut: now,
            last_growth: now,
            waiting_since: None,
            before_silence: None,
            switched: now,
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
        self.excess.iter().map(|(_, excess)| *excess).min().unwrap_or_default()
    }

    /// Share of packets lost on the way lately, 0 to 1.
    pub fn loss(&self) -> f64 {
        self.loss.share
    }

    /// Something was sent.
    pub fn handle_sent(&mut self, bytes: usize, now: Time) {
        self.sent.add(now, bytes);
        self.waiting_since.get_or_insert(now);
    }

    /// A report said something new.
    pub fn handle_news(&mut self, news: &News, now: Time) {
        if news.arrived.is_empty() && news.lost.is_empty() {
            return;
        }
        let news = &news.since(self.switched);
        self.waiting_since = None;
        self.end_silence();
        for arrival in &news.arrived {
            self.note_arrival(arrival);
        }
        let judged = self.loss.judge(news, self.rate, now);
        let queue = self.queue();
        if queue >= QUEUE_GROWN {
            self.cut_to_delivered(queue, now);
        } else if judged {
            self.cut(self.rate * 0.85, now);
        } else if queue <= QUEUE_QUIET {
            self.grow(now);
        } else {
            self.last_growth = now;
        }
    }

    /// Packets take another path from now on: the rate is kept, what was learned of the old path's delay is not.
    pub fn handle_switch(&mut self, now: Time) {
        self.base = BaseDelay::default();
        self.excess.clear();
        self.capacity = None;
        self.loss = LossJudge::default();
        self.is_new = true;
        self.waiting_since = None;
        self.end_silence();
        (self.switched, self.last_cut) = (now, now);
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
            self.is_new = true;
        }
    }

    fn note_arrival(&mut self, arrival: &Arrival) {
        self.delivered.add(arrival.arrived, arrival.bytes);
        let took = arrival.arrived.as_micros().cast_signed() - arrival.sent.as_micros().cast_signed();
        let base = self.base.update(took, arrival.arrived);
        let excess = Duration::from_micros(u64::try_from(took - base).unwrap_or(0));
        self.excess.push_back((arrival.arrived, excess));
        while self.excess.front().is_some_and(|(at, _)| arrival.arrived.since(*at) > QUEUE_SAMPLE) {
            self.excess.pop_front();
        }
    }

    /// The way is full: what arrives is what it carries.
    fn cut_to_delivered(&mut self, queue: Duration, now: Time) {
        if now.since(self.last_cut) < QUEUE_SAMPLE * 2 {
            return;
        }
        let delivered = self.delivered.rate();
        self.capacity = Some(delivered);
        let share = if queue >= QUEUE_DRAIN { 0.6 } else { 0.85 };
        self.cut((delivered * share).min(self.rate), now);
    }

    fn cut(&mut self, rate: f64, now: Time) {
        self.rate = rate.max(ESTIMATE_FLOOR.as_bits() as f64);
        self.is_new = false;
        self.last_cut = now;
        self.last_growth = now;
    }

    fn grow(&mut self, now: Time) {
        let span = now.since(std::mem::replace(&mut self.last_growth, now)).min(Duration::from_millis(200));
        // What is not sent cannot be seen to arrive.
        let tested = self.sent.rate() * if self.is_new { 2.0 } else { 1.5 };
        if self.rate >= tested.max(ESTIMATE_START.as_bits() as f64) {
            return;
        }
        if self.capacity.is_some_and(|capacity| self.rate > capacity * 1.15) {
            self.capacity = None;
        }
        let near = self.capacity.is_some_and(|capacity| self.rate > capacity * 0.85);
        let growth = match near {
            true => GROWTH_SLOW,
            false if self.is_new => GROWTH_NEW,
            false => GROWTH_FAST,
        };
        self.rate = (self.rate * growth.powf(span.as_secs_f64())).min(ESTIMATE_MAX.as_bits() as f64);
    }
}

/// The least one-way time of the last while, in two halves: clocks drift, routes change.
#[derive(Debug, Default)]
struct BaseDelay {
    began: Option<Time>,
    before: Option<i64>,
    least: Option<i64>,
}

impl BaseDelay {
    fn update(&mut self, took: i64, at: Time) -> i64 {
        let began = *self.began.get_or_insert(at);
        if at.since(began) > BASE_DELAY_SPAN / 2 {
            self.before = self.least.take();
            self.began = Some(at);
        }
        let least = self.least.map_or(took, |least| least.min(took));
        self.least = Some(least);
        self.before.map_or(least, |before| before.min(least))
    }
}

/// Bits a second over the last while.
#[derive(Debug, Default)]
struct RateMeter {
    events: VecDeque<(Time, usize)>,
    bytes: usize,
}

impl RateMeter {
    fn add(&mut self, at: Time, bytes: usize) {
        self.events.push_back((at, bytes));
        self.bytes += bytes;
        while let Some((first, old)) = self.events.front().copied().filter(|(first, _)| at.since(*first) > RATE_SPAN) {
            self.events.pop_front();
            debug_assert!(first <= at, "times of one clock are in order, but for a little reordering");
            self.bytes -= old;
        }
    }

    fn rate(&self) -> f64 {
        let (Some((first, bytes)), Some((last, _))) = (self.events.front(), self.events.back()) else { return 0.0 };
        // The first packet marks the beginning of the span, so its own bytes came before it.
        let span = last.since(*first).max(Duration::from_millis(20)).as_secs_f64();
        (self.bytes - bytes) as f64 * 8.0 / span
    }
}

/// Tells loss that comes from sending too much from loss that is just there.
#[derive(Debug, Default)]
struct LossJudge {
    share: f64,
    /// Loss that sending less did not lessen.
    weather: f64,
    trial: Option<Trial>,
    seen: usize,
}

/// The rate was cut because of loss; did it help?
#[derive(Clone, Copy, Debug)]
struct Trial {
    began: Time,
    share: f64,
}

impl LossJudge {
    /// Whether loss asks for a lower rate.
    fn judge(&mut self, news: &News, _rate: f64, now: Time) -> bool {
        for lost in std::iter::repeat_n(1.0, news.lost.len()).chain(std::iter::repeat_n(0.0, news.arrived.len())) {
            self.seen += 1;
            let weight = (1.0 / self.seen as f64).max(0.01);
            self.share += (lost - self.share) * weight;
        }
        self.weather = self.weather.min(self.share + 0.02).max(0.0);
        match self.trial {
            Some(trial) if now.since(trial.began) < TRIAL_TIME => false,
            Some(trial) => {
                if self.share > trial.share * 0.7 {
                    self.weather = self.share;
                }
                self.trial = None;
                false
            }
            None if self.seen > 50 && self.share - self.weather > LOSS_ALARM => {
                self.trial = Some(Trial { began: now, share: self.share });
                true
            }
            None => false,
        }
    }
}

/// How long a cut has to show that it helps.
const TRIAL_TIME: Duration = Duration::from_millis(800);

#[cfg(test)]
mod tests {
    use super::*;
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
        wish: u64,
    }

    const WAY: Way = Way { rate: 2_000_000, queue_ms: 250, loss_percent: 0, jitter_ms: 0, wish: 10_000_000 };
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
            let arrived = self.free_at + Duration::from_millis(25 + jitter);
            self.delivered += BYTES as u64;
            self.pending.push_back((arrived, Some(Arrival { sent, arrived, bytes: BYTES })));
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
            self.estimator.handle_news(&news, self.now);
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
