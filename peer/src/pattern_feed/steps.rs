//! How large and how often the pattern is drawn, so that the rate the way carries makes good pictures.
//!
//! What was asked for, a rate and the time go in; a size and every how many-th picture come out. Less is drawn at once when
//! there are too few bits for a pixel, more only after there would have been enough for a while, because each new size
//! begins with a key frame. Size is given up before pictures: what moves must go on moving.

use meipo::units::{Bitrate, Time};

use crate::args::PatternSpec;
use crate::params::{GOOD_BITS_PER_PIXEL, LEAST_BITS_PER_PIXEL, PATTERN_MIN_SIDE, STEP_UP_AFTER, TIME_CODE_MIN_WIDTH};

/// What is drawn at some rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Step {
    /// Pixels a line; even.
    pub(super) width: u16,
    /// Lines; even.
    pub(super) height: u16,
    /// One picture in so many is drawn.
    pub(super) one_in: u32,
}

/// Chooses among the steps of one pattern.
#[derive(Debug)]
pub(super) struct Steps {
    spec: PatternSpec,
    /// Bits for a pixel below which a step is left, and from which one is taken.
    least: f64,
    good: f64,
    at: usize,
    /// Since when there have been bits enough for a better step.
    room_since: Option<Time>,
}

impl Steps {
    /// The steps down from what was asked for; `ceiling` is enough for that, however little it is.
    pub(super) fn new(spec: PatternSpec, ceiling: Bitrate) -> Self {
        let mut steps = Steps { spec, least: LEAST_BITS_PER_PIXEL, good: GOOD_BITS_PER_PIXEL, at: 0, room_since: None };
        // A little less, for the sum may have been rounded.
        let asked = ceiling.as_bits() as f64 / steps.pixels(0) * 0.99;
        (steps.least, steps.good) = (steps.least.min(asked), steps.good.min(asked));
        steps
    }

    /// What to draw when `rate` may be sent.
    pub(super) fn follow(&mut self, rate: Bitrate, now: Time) -> Step {
        while self.at + 1 < LADDER.len() && !self.is_carried(self.at, self.least, rate) {
            self.at += 1;
        }
        let is_better = |steps: &Self| steps.at > 0 && steps.is_carried(steps.at - 1, steps.good, rate);
        if !is_better(self) {
            self.room_since = None;
        } else if now.since(*self.room_since.get_or_insert(now)) >= STEP_UP_AFTER {
            self.room_since = None;
            while is_better(self) {
                self.at -= 1;
            }
        }
        self.step(self.at)
    }

    fn is_carried(&self, at: usize, bits_per_pixel: f64, rate: Bitrate) -> bool {
        rate.as_bits() as f64 >= bits_per_pixel * self.pixels(at)
    }

    /// Pixels a second.
    fn pixels(&self, at: usize) -> f64 {
        let Step { width, height, one_in } = self.step(at);
        f64::from(width) * f64::from(height) * f64::from(self.spec.rate) / f64::from(one_in)
    }

    fn step(&self, at: usize) -> Step {
        let (eighths, one_in) = LADDER.get(at).copied().unwrap_or((8, 1));
        let PatternSpec { width, height, .. } = self.spec;
        let least = (u32::from(TIME_CODE_MIN_WIDTH) * 8).div_ceil(u32::from(width)).min(8);
        let side = |whole: u16| {
            let part = u32::from(whole) * eighths.max(least) / 16 * 2;
            u16::try_from(part).unwrap_or(whole).max(PATTERN_MIN_SIDE.min(whole))
        };
        Step { width: side(width), height: side(height), one_in }
    }
}

/// Eighths of each side, and one picture in how many.
const LADDER: [(u32, u32); 7] = [(8, 1), (6, 1), (4, 1), (4, 2), (3, 2), (2, 2), (2, 4)];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SPEC: PatternSpec = PatternSpec { width: 640, height: 480, rate: 30 };
    const CEILING: Bitrate = Bitrate::from_kilobits(1200);

    /// What is drawn at these rates, each for so many seconds.
    fn drawn(spec: PatternSpec, ceiling: Bitrate, course: &[(u64, u64)]) -> Vec<(u16, u16, u32)> {
        let mut steps = Steps::new(spec, ceiling);
        let mut now = Duration::ZERO;
        let draw = |(kilobits, seconds): &(u64, u64)| {
            now += Duration::from_secs(*seconds);
            let at = |time: Duration| Time::from_micros(u64::try_from(time.as_micros()).unwrap());
            steps.follow(Bitrate::from_kilobits(*kilobits), at(now - Duration::from_secs(*seconds)));
            let Step { width, height, one_in } = steps.follow(Bitrate::from_kilobits(*kilobits), at(now));
            (width, height, one_in)
        };
        course.iter().map(draw).collect()
    }

    #[test]
    fn pictures_become_smaller_first_and_fewer_then() {
        let course = [(1200, 1), (230, 1), (229, 1), (100, 1), (50, 1), (20, 1), (7, 1), (1, 1)];
        let expected = [
            (640, 480, 1),
            (480, 360, 1),
            (480, 360, 1),
            (320, 240, 1),
            (320, 240, 2),
            (240, 180, 2),
            (160, 120, 4),
            (160, 120, 4),
        ];
        assert_eq!(drawn(SPEC, CEILING, &course), expected);
        assert_eq!(drawn(SPEC, CEILING, &[(231, 1)]), [(640, 480, 1)]);
    }

    #[test]
    fn they_grow_back_after_five_seconds_of_room_and_not_before() {
        let course = [(100, 1), (1200, 4), (100, 1), (1200, 4), (1200, 1)];
        let widths: Vec<u16> = drawn(SPEC, CEILING, &course).into_iter().map(|(width, ..)| width).collect();
        assert_eq!(widths, [320, 320, 320, 320, 640]);
    }

    #[test]
    fn whoever_asks_for_few_bits_gets_the_size_asked_for() {
        let ceiling = Bitrate::from_kilobits(60);
        assert_eq!(drawn(SPEC, ceiling, &[(60, 1), (30, 1)]), [(640, 480, 1), (320, 240, 1)]);
    }

    #[test]
    fn no_picture_is_too_narrow_for_its_time_code() {
        let small = PatternSpec { width: 200, height: 16, rate: 30 };
        assert_eq!(drawn(small, CEILING, &[(1, 1)]), [(174, 16, 4)]);
        let narrow = PatternSpec { width: 120, height: 16, rate: 30 };
        assert_eq!(drawn(narrow, CEILING, &[(1, 1)]), [(120, 16, 2)]);
    }
}
