//! When frames are due: one clock for all tracks of a peer, so that lips and voice stay together.
//!
//! What each whole frame took from its capture goes in, how long after their capture frames leave comes out. That time
//! grows at once when a frame is late and shrinks slowly towards what nearly all frames of the last seconds took, so a
//! viewer sees one pause instead of ten. Clocks that drift, and ways that grow longer, are followed by the same rule.
//!
//! Sound waits long enough for a copy of it in the next packet. Pictures have no such copies: where they come evenly they
//! leave a little earlier than the sound that was captured with them, as little as nobody sees (ITU-R BT.1359).

use std::collections::VecDeque;
use std::time::Duration;

use crate::params::{
    PLAYOUT_COVERED, PLAYOUT_MEMORY, PLAYOUT_PICTURE_LEAD, PLAYOUT_PICTURE_MOST, PLAYOUT_PICTURE_SLACK, PLAYOUT_REBASE,
    PLAYOUT_REBASE_AFTER, PLAYOUT_REVIEW, PLAYOUT_SETTLE, PLAYOUT_SHRINK, PLAYOUT_SHRINK_SHARE,
};
use crate::units::{CaptureTime, Time};

/// When frames leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Playout {
    /// Evenly, this long after the fastest frame would have: for eyes and ears on a way that is known.
    Live {
        /// What unevenness is smoothed.
        delay: Duration,
    },
    /// Evenly, as long after the fastest frame as the way asks for: for eyes and ears.
    Adaptive {
        /// Delay on a way without unevenness.
        least: Duration,
        /// Delay never exceeded.
        most: Duration,
    },
    /// As soon as all earlier frames are there; a missing one is awaited this long: for recordings.
    Ordered {
        /// How long a gap may last.
        patience: Duration,
    },
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sense {
    /// Its absence is heard at once.
    Sound,
    /// It may come a little late.
    Picture,
}

/// Knows how long after its capture a frame of one peer is due.
#[derive(Clone, Debug)]
pub struct PlayoutClock {
    least: i64,
    most: i64,
    /// How much earlier than sound pictures may leave.
    lead: i64,
    /// What the frames of the last seconds took, microseconds, with their arrival.
    seen: VecDeque<(Time, Sense, i64)>,
    /// The least of it.
    base: Option<i64>,
    /// How long after their capture frames leave.
    offset: i64,
    /// How much earlier than that pictures leave.
    ahead: i64,
    /// Since when the base has held.
    began: Time,
    reviewed: Time,
    last: Time,
    /// Since when all frames took far longer than the base.
    beyond: Option<Time>,
}

/// When the frames of one sense are due, as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long after their capture, microseconds; `None` before the first one came.
    offset: Option<i64>,
    delay: Duration,
    sense: Sense,
}

impl Pace {
    /// When a frame captured then is due; `None` before the first one came.
    pub fn due(&self, captured: CaptureTime) -> Option<Time> {
        let due = signed(captured.as_micros()).saturating_add(self.offset?);
        Some(Time::from_micros(u64::try_from(due).unwrap_or(0)))
    }

    /// How long sound is held beyond the fastest way.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// What the frames are for.
    pub fn sense(&self) -> Sense {
        self.sense
    }
}

impl PlayoutClock {
    /// A clock that knows nothing of the way yet.
    pub fn new(playout: Playout) -> Self {
        let (least, most, lead) = match playout {
            Playout::Live { delay } => (delay, delay, Duration::ZERO),
            Playout::Adaptive { least, most } => (least, most.max(least), PLAYOUT_PICTURE_LEAD),
            Playout::Ordered { .. } => (Duration::ZERO, Duration::ZERO, Duration::ZERO),
        };
        PlayoutClock {
            least: micros(least),
            most: micros(most),
            lead: micros(lead),
            seen: VecDeque::new(),
            base: None,
            offset: 0,
            ahead: 0,
            began: Time::ZERO,
            reviewed: Time::ZERO,
            last: Time::ZERO,
            beyond: None,
        }
    }

    /// A whole frame has come, whether it is still of use or not.
    pub fn handle_frame(&mut self, captured: CaptureTime, sense: Sense, now: Time) {
        let took = signed(now.as_micros()) - signed(captured.as_micros());
        let Some(base) = self.base.filter(|base| !self.is_elsewhere(took.saturating_sub(*base), now)) else {
            return self.restart(took, sense, now);
        };
        self.last = now;
        if took - base > micros(PLAYOUT_REBASE) {
            return;
        }
        let is_settling = now.since(self.began) < PLAYOUT_SETTLE;
        if is_settling {
            self.offset -= (base - took).max(0);
        }
        let base = base.min(took);
        self.base = Some(base);
        // What is sent to a newcomer first was captured long ago: it says nothing of the way.
        let most = match sense {
            Sense::Sound => self.most,
            Sense::Picture if is_settling => self.least,
            Sense::Picture => self.most.min(micros(PLAYOUT_PICTURE_MOST)).max(self.least),
        };
        self.review(now);
        let took = took.min(base + most);
        self.seen.push_back((now, sense, took));
        self.offset = self.offset.max(took).max(base + self.least);
    }

    /// When frames of this sense are due.
    pub fn pace(&self, sense: Sense) -> Pace {
        let ahead = if sense == Sense::Picture { self.ahead } else { 0 };
        Pace { offset: self.base.map(|_| self.offset - ahead), delay: self.delay(), sense }
    }

    /// How long frames are held beyond the fastest way.
    pub fn delay(&self) -> Duration {
        let held = self.base.map_or(0, |base| self.offset - base);
        Duration::from_micros(u64::try_from(held).unwrap_or(0))
    }

    /// Whether the sender's clock stood still or jumped, or ours did: what was seen before says nothing any more. What
    /// piled up while we slept looks alike, but fresh frames follow it.
    fn is_elsewhere(&mut self, late: i64, now: Time) -> bool {
        let rebase = micros(PLAYOUT_REBASE);
        if late < -rebase {
            return true;
        }
        if late <= rebase {
            self.beyond = None;
            return false;
        }
        let since = *self.beyond.get_or_insert(now);
        now.since(self.last) > PLAYOUT_REBASE || now.since(since) > PLAYOUT_REBASE_AFTER
    }

    fn restart(&mut self, took: i64, sense: Sense, now: Time) {
        self.seen.clear();
        self.seen.push_back((now, sense, took));
        self.base = Some(took);
        (self.offset, self.ahead) = (took + self.least, 0);
        (self.began, self.reviewed, self.last) = (now, now, now);
        self.beyond = None;
    }

    /// Now and then the past is forgotten, and the delay shrinks towards what the way asks for.
    fn review(&mut self, now: Time) {
        let span = now.since(self.reviewed);
        if span < PLAYOUT_REVIEW {
            return;
        }
        self.reviewed = now;
        while self.seen.front().is_some_and(|(at, ..)| now.since(*at) > PLAYOUT_MEMORY) {
            self.seen.pop_front();
        }
        let Some(base) = self.seen.iter().map(|(.., took)| *took).min() else { return };
        self.base = Some(base);
        let covered = covered(self.seen.iter().map(|(.., took)| *took)).unwrap_or(base);
        let target = covered.clamp(base + self.least, base + self.most);
        let excess = self.offset - target;
        let pace = micros(PLAYOUT_SHRINK) + excess / PLAYOUT_SHRINK_SHARE;
        let step = pace * micros(span.min(PLAYOUT_REBASE)) / 1_000_000;
        self.offset = (self.offset - step.clamp(0, excess.max(0))).max(base + self.least);
        if now.since(self.began) >= PLAYOUT_SETTLE {
            self.review_pictures(span);
        }
    }

    /// Pictures leave as much earlier as nearly all of the last seconds could have. A single one that is late is shown late:
    /// unlike a sound it leaves no gap.
    fn review_pictures(&mut self, span: Duration) {
        let pictures = self.seen.iter().filter(|(_, sense, _)| *sense == Sense::Picture);
        let Some(covered) = covered(pictures.map(|(.., took)| *took)) else { return };
        let step = micros(PLAYOUT_SHRINK) * micros(span.min(PLAYOUT_REBASE)) / 1_000_000;
        let earliest = self.offset - covered + micros(PLAYOUT_PICTURE_SLACK);
        self.ahead = earliest.clamp(0, self.lead).min(self.ahead + step);
    }
}

/// What nearly all took; `None` of none.
fn covered(took: impl Iterator<Item = i64>) -> Option<i64> {
    let mut took: Vec<i64> = took.collect();
    took.sort_unstable();
    took.get(took.len().saturating_sub(1) * PLAYOUT_COVERED / 100).copied()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Microseconds as a signed number; half a million years fit.
fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{PLAYOUT_LEAST, PLAYOUT_MOST};

    const ADAPTIVE: Playout = Playout::Adaptive { least: PLAYOUT_LEAST, most: PLAYOUT_MOST };

    /// Sounds, 20 ms apart by a clock that gains `ppm`, that take 25 ms and what `extra` says in milliseconds.
    struct Run {
        clock: PlayoutClock,
        sound: u64,
        ppm: i64,
        /// Frames that came after they were due, and frames in all.
        late: u64,
    }

    impl Run {
        fn new(ppm: i64) -> Self {
            Run { clock: PlayoutClock::new(ADAPTIVE), sound: 0, ppm, late: 0 }
        }

        fn go(&mut self, sounds: u64, extra: impl Fn(u64) -> u64) {
            self.late = 0;
            for _ in 0..sounds {
                self.sound += 1;
                let captured = self.sound * 20_000;
                let true_time = captured.saturating_add_signed(-signed(captured) * self.ppm / 1_000_000);
                let now = Time::from_micros(true_time + 25_000 + extra(self.sound) * 1000);
                let captured = CaptureTime::from_micros(captured);
                self.late += u64::from(self.clock.pace(Sense::Sound).due(captured).is_some_and(|due| due < now));
                self.clock.handle_frame(captured, Sense::Sound, now);
            }
        }

        fn delay_ms(&self) -> u128 {
            self.clock.delay().as_millis()
        }
    }

    #[test]
    fn on_an_even_way_the_delay_is_the_least_one() {
        let mut run = Run::new(0);
        run.go(500, |_| 0);
        assert_eq!(run.clock.delay(), PLAYOUT_LEAST);
    }

    #[test]
    fn a_late_frame_makes_the_delay_grow_at_once_and_calm_brings_it_back_within_ten_seconds() {
        let mut run = Run::new(0);
        run.go(500, |_| 0);
        run.go(1, |_| 300);
        assert_eq!(run.delay_ms(), 300);
        run.go(500, |_| 0);
        assert!(run.delay_ms() < 60, "{}", run.delay_ms());
        assert_eq!(run.late, 0);
    }

    #[test]
    fn the_delay_covers_nearly_all_of_the_jitter_and_not_more() {
        let mut run = Run::new(0);
        run.go(2000, |sound| sound * 37 % 80);
        run.go(500, |sound| sound * 37 % 80);
        assert!((70..=80).contains(&run.delay_ms()), "{}", run.delay_ms());
        assert!(run.late < 15, "{}", run.late);
    }

    #[test]
    fn it_follows_clocks_that_drift_for_hours() {
        for ppm in [-200, 200] {
            let mut run = Run::new(ppm);
            run.go(2 * 3600 * 50, |_| 0);
            assert!(run.clock.delay() <= PLAYOUT_LEAST * 2, "{ppm}: {:?}", run.clock.delay());
            run.go(3000, |_| 0);
            assert_eq!(run.late, 0, "{ppm}");
        }
    }

    #[test]
    fn what_piled_up_while_we_slept_does_not_count() {
        let mut run = Run::new(0);
        run.go(500, |_| 0);
        let awake = (run.sound + 1500) * 20_000 + 25_000;
        for sound in run.sound + 1..=run.sound + 1500 {
            let captured = CaptureTime::from_micros(sound * 20_000);
            run.clock.handle_frame(captured, Sense::Sound, Time::from_micros(awake));
        }
        run.sound += 1500;
        assert!(run.clock.delay() <= PLAYOUT_MOST);
        run.go(1000, |_| 0);
        assert!(run.delay_ms() < 60, "{}", run.delay_ms());
    }

    #[test]
    fn a_sender_whose_clock_stood_still_is_followed() {
        let mut run = Run::new(0);
        run.go(500, |_| 0);
        run.go(50, |_| 60_000);
        assert_eq!(run.clock.delay(), PLAYOUT_LEAST);
    }

    #[test]
    fn pictures_alone_do_not_make_a_conversation_slow() {
        let mut clock = PlayoutClock::new(ADAPTIVE);
        clock.handle_frame(CaptureTime::from_micros(0), Sense::Sound, Time::from_millis(25));
        clock.handle_frame(CaptureTime::from_micros(5_000_000), Sense::Sound, Time::from_millis(5025));
        clock.handle_frame(CaptureTime::from_micros(4_500_000), Sense::Picture, Time::from_millis(5030));
        assert_eq!(clock.delay(), PLAYOUT_PICTURE_MOST);
    }

    #[test]
    fn pictures_that_come_evenly_leave_before_the_sound_and_late_ones_with_it() {
        let mut clock = PlayoutClock::new(ADAPTIVE);
        let mut frames = |from: u64, to: u64, picture_takes: u64| {
            for at in from..to {
                let (captured, now) = (CaptureTime::from_micros(at * 20_000), Time::from_millis(at * 20 + 25));
                clock.handle_frame(captured, Sense::Sound, now);
                clock.handle_frame(captured, Sense::Picture, now + Duration::from_millis(picture_takes));
            }
            let captured = CaptureTime::from_micros(to * 20_000);
            let due = |sense| clock.pace(sense).due(captured).unwrap().as_micros();
            due(Sense::Sound) - due(Sense::Picture)
        };
        assert_eq!(frames(0, 50, 5), 0, "not before it is known how they come");
        assert_eq!(frames(50, 500, 15), 15_000);
        assert_eq!(frames(500, 501, 22), 15_000, "one late picture is none");
        assert_eq!(frames(501, 520, 22), 10_000, "several are");
        assert_eq!(frames(520, 1000, 60), micros_of(PLAYOUT_PICTURE_SLACK), "sound waits for them");
        assert_eq!(frames(1000, 3000, 0), micros_of(PLAYOUT_PICTURE_LEAD));
    }

    fn micros_of(duration: Duration) -> u64 {
        u64::try_from(duration.as_micros()).unwrap()
    }
}
