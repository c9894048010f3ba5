//! The moments at which pictures stand still.
//!
//! The times at which pictures are shown go in, a count and a sum come out, by the rule behind `freezeCount` and
//! `totalFreezesDuration` of WebRTC's statistics, so that figures of both can stand side by side: a picture that comes later than
//! three times the mean distance of the last ones, its own included, or 150 ms beyond it, whichever is longer.

use std::collections::VecDeque;
use std::time::Duration;

use crate::params::{FREEZE_FACTOR, FREEZE_LEAST_GAPS, FREEZE_MARGIN, FREEZE_MEMORY};
use crate::units::Time;

/// Finds freezes among the pictures of one track.
#[derive(Debug, Default)]
pub struct FreezeMeter {
    last: Option<Time>,
    /// The distances of the last pictures.
    gaps: VecDeque<Duration>,
    freezes: u64,
    total: Duration,
}

impl FreezeMeter {
    /// A picture is shown at `now`.
    pub fn handle_picture(&mut self, now: Time) {
        let Some(last) = self.last.replace(now) else { return };
        let gap = now.since(last);
        if self.gaps.len() == FREEZE_MEMORY {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap);
        if self.gaps.len() >= FREEZE_LEAST_GAPS && gap >= self.limit() {
            self.freezes += 1;
            self.total += gap;
        }
    }

    /// How often pictures stood still.
    pub fn freezes(&self) -> u64 {
        self.freezes
    }

    /// For how long in all, from the picture that stood to the one that followed.
    pub fn total(&self) -> Duration {
        self.total
    }

    fn limit(&self) -> Duration {
        let count = u32::try_from(self.gaps.len()).unwrap_or(u32::MAX).max(1);
        let mean = self.gaps.iter().sum::<Duration>() / count;
        (mean * FREEZE_FACTOR).max(mean + FREEZE_MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows pictures at these distances.
    fn meter(gaps_ms: impl IntoIterator<Item = u64>) -> FreezeMeter {
        let (mut meter, mut now) = (FreezeMeter::default(), Time::ZERO);
        meter.handle_picture(now);
        for gap in gaps_ms {
            now += Duration::from_millis(gap);
            meter.handle_picture(now);
        }
        meter
    }

    #[test]
    fn a_picture_that_comes_late_is_a_freeze_of_the_whole_distance() {
        let meter = meter([33, 33, 33, 33, 33, 500, 33]);
        assert_eq!((meter.freezes(), meter.total()), (1, Duration::from_millis(500)));
    }

    #[test]
    fn only_what_is_later_by_the_margin_is_one() {
        // The mean is 40 ms without the last and, with n = 30, (29 · 40 + gap) / 30 with it.
        let limit = |gap| meter(std::iter::repeat_n(40, 29).chain([gap])).freezes();
        assert_eq!((limit(195), limit(196)), (0, 1));
    }

    #[test]
    fn fewer_pictures_than_before_are_no_freeze() {
        let meter = meter(std::iter::repeat_n(33, 100).chain(std::iter::repeat_n(180, 100)));
        assert_eq!(meter.freezes(), 0);
    }

    #[test]
    fn nothing_is_said_before_five_distances_are_known() {
        assert_eq!(meter([33, 33, 33, 900]).freezes(), 0);
        assert_eq!(meter([33, 33, 33, 33, 900]).freezes(), 1);
    }
}
