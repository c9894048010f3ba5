//! How much is sent besides media so that losses can be made good: as much as the way's losses ask for, nothing on a clean
//! way.
//!
//! Sound carries copies of the sounds before it (RFC 2198's idea): a loss is made good 20 ms later, whatever the round trip.
//! Pictures are sent again where a round trip fits before they are due, and carry parity where it does not or where a
//! repetition would too often be lost itself.

use std::time::Duration;

use super::history::{Loss, News};
use super::odds::{fails, fails_spread, lacking};
use crate::params::{
    BASE_LAYER_SHARE, COPY_REACH, ECHO_LEAST, FEEDBACK_INTERVAL, MAX_BUNDLE, MAX_PARITY, PARITY_RESIDUAL,
    PARITY_RESIDUAL_REPEATED, PARITY_SPREAD, PARITY_WORTH, REPAIR_BUDGET, REPAIR_CLEAN, REPAIR_RESIDUAL, REPAIR_WORTH,
    ROOMY_RESIDUAL, ROOMY_RUN_MOST, ROOMY_SHARE_MOST, RUNS_KEPT, SINGLE_RUN_MOST, SPREAD_RESIDUAL, USUAL_FRAME,
};

/// What the way's losses ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepairPlan {
    /// Share of packets lost, 0 to 1, smoothed: quick to rise, slow to fall.
    share: f64,
    /// Packets lost lately, and in how many runs: the older, the less they count.
    lost: f64,
    runs: f64,
    rtt: Duration,
}

impl RepairPlan {
    /// A way that loses nothing.
    pub fn new() -> Self {
        RepairPlan::default()
    }

    /// A report came.
    pub fn handle_news(&mut self, news: &News, rtt: Duration) {
        self.rtt = rtt;
        let (lost, arrived) = (news.lost.len() as f64, news.arrived.len() as f64);
        let total = lost + arrived;
        if total == 0.0 {
            return;
        }
        let share = lost / total;
        // A rise is believed at once, a fall the later the less there is to gain by it.
        let pace = match (share > self.share, self.share > 0.1) {
            (true, _) | (false, true) => 0.02,
            (false, false) => 0.003,
        };
        let weight = (total * pace).min(0.5);
        self.share += (share - self.share) * weight;
        let kept = RUNS_KEPT.powf(lost);
        self.lost = self.lost * kept + lost;
        self.runs = self.runs * kept + runs(news);
    }

    /// Less was sent for a while because the way was full, and this share of it was lost: what was lost beyond that came from
    /// sending too much.
    pub fn handle_relief(&mut self, share: f64) {
        self.share = self.share.min(share);
    }

    /// The way is another one.
    pub fn handle_switch(&mut self) {
        *self = RepairPlan { rtt: self.rtt, ..RepairPlan::new() };
    }

    /// Packets lost in a row, on average.
    fn burst(&self) -> f64 {
        if self.runs == 0.0 { 1.0 } else { self.lost / self.runs }
    }

    /// Share of packets lost, as the plan sees it.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// What repair costs pictures, as a share of their bytes: parity of a usual frame, and repetitions.
    pub fn overhead(&self, is_roomy: bool) -> f64 {
        let protected = if is_roomy { 1.0 } else { BASE_LAYER_SHARE };
        self.parity(USUAL_FRAME, is_roomy) as f64 / USUAL_FRAME as f64 * protected + self.share * 2.0
    }

    /// Whether parity for every picture would spare nearly all of them the wait for a repetition, if the way had the room:
    /// where not half of them are lost, nor very many in a row.
    pub fn would_use_room(&self) -> bool {
        (REPAIR_CLEAN..=ROOMY_SHARE_MOST).contains(&self.share) && self.burst() <= ROOMY_RUN_MOST
    }

    /// Whether packets are lost one by one, not in runs longer than by chance: those have a length of 1 / (1 - share).
    fn is_single(&self) -> bool {
        self.burst() * (1.0 - self.share) < SINGLE_RUN_MOST
    }

    /// Whether sounds are to go twice where that fits: a copy makes a loss good only with a sound that follows, and all sounds
    /// wait as long as nearly all of the copies take.
    pub fn wants_echoes(&self) -> bool {
        self.share >= ECHO_LEAST
    }

    /// How many of the sounds before it a sound carries, if each goes once or twice.
    pub fn sound_copies(&self, is_echoed: bool) -> usize {
        if self.share < REPAIR_CLEAN {
            return 0;
        }
        // Each copy multiplies what stays lost by the share again; a burst takes that many copies with it.
        let lost = self.share.clamp(REPAIR_CLEAN, 0.9).powi(if is_echoed { 2 } else { 1 });
        let needed = REPAIR_RESIDUAL.ln() / lost.ln();
        let copies = needed.ceil() - 1.0 + (self.burst() - 1.0).round();
        bounded(copies, 1, MAX_BUNDLE - 1)
    }

    /// Which of the sounds before it a sound carries, by how far back they lie, when sounds are this share of all packets: the
    /// ones next to it where single packets are lost, some beyond the end of the usual burst where they come in rows.
    pub fn copy_distances(&self, copies: usize, sound_share: f64) -> Vec<usize> {
        let reach = (2.0 * self.burst() * sound_share).min(COPY_REACH as f64);
        let step = ((reach - 1.0) / copies.saturating_sub(1).max(1) as f64).max(1.0);
        (0..copies).map(|nth| bounded((1.0 + step * nth as f64).round(), nth + 1, COPY_REACH)).collect()
    }

    /// Whether a lost packet is worth sending again: `due` is how long its frame may still take.
    pub fn is_worth_repeating(&self, due: Duration) -> bool {
        due > self.rtt / 2 + REPAIR_WORTH
    }

    /// How many parity packets a frame of `count` packets carries. On a roomy way so many that hardly any waits for a
    /// repetition: bytes that nobody misses buy a round trip of delay.
    pub fn parity(&self, count: usize, is_roomy: bool) -> usize {
        let repeats = !is_roomy && self.rtt + FEEDBACK_INTERVAL <= REPAIR_BUDGET;
        let floor = if repeats { PARITY_WORTH } else { REPAIR_CLEAN };
        if self.share < floor {
            return 0;
        }
        if is_roomy && !self.is_single() {
            let lacking = lacking(count, self.share, self.burst());
            let is_enough = |parity: &usize| fails_spread(&lacking, *parity, self.share) <= SPREAD_RESIDUAL;
            return (1..MAX_PARITY).find(is_enough).unwrap_or(MAX_PARITY);
        }
        let tolerated = match (is_roomy, repeats) {
            (true, _) => ROOMY_RESIDUAL,
            // What a repetition will make good need not be made good at once.
            (false, true) => PARITY_RESIDUAL_REPEATED,
            (false, false) => PARITY_RESIDUAL,
        };
        let spread = self.burst().clamp(1.0, 4.0);
        (1..=MAX_PARITY).find(|parity| fails(count, *parity, self.share, spread) <= tolerated).unwrap_or(MAX_PARITY)
    }

    /// How much later than the one before it each of `count` parity packets of a frame goes: at once where single packets are
    /// lost; where whole runs are, spread over what a repetition would take, so that a run does not take all of them.
    pub fn parity_apart(&self, count: usize) -> Duration {
        let span = (self.rtt + FEEDBACK_INTERVAL / 2).min(PARITY_SPREAD);
        match u32::try_from(count) {
            Ok(count) if count > 0 && !self.is_single() => span / count,
            _ => Duration::ZERO,
        }
    }
}

fn bounded(value: f64, least: usize, most: usize) -> usize {
    (least..=most).find(|candidate| *candidate as f64 >= value).unwrap_or(most)
}

/// In how many runs the losses of a report came, by when they were sent.
fn runs(news: &News) -> f64 {
    let follows = |two: &[Loss]| matches!(two, [one, other] if other.sequence == one.sequence + 1);
    (news.lost.len() - news.lost.windows(2).filter(|two| follows(two)).count()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::history::Arrival;
    use crate::units::Time;

    fn plan(lost_in_hundred: u64, burst: u64, rtt_ms: u64) -> RepairPlan {
        let mut plan = RepairPlan::new();
        for _ in 0..200 {
            let lost = |sequence| Loss { sequence, sent: Time::ZERO, bytes: 1000, origin: None };
            let sequences = (0..lost_in_hundred).map(|n| n / burst * 1000 + n % burst);
            let arrival = Arrival { sequence: 0, sent: Time::ZERO, arrived: Time::ZERO, bytes: 1000 };
            let arrived = usize::try_from(100 - lost_in_hundred).unwrap();
            let news = News { lost: sequences.map(lost).collect(), arrived: vec![arrival; arrived] };
            plan.handle_news(&news, Duration::from_millis(rtt_ms));
        }
        plan
    }

    #[test]
    fn nothing_is_added_on_a_clean_way() {
        assert_eq!(plan(0, 1, 50).sound_copies(false), 0);
        assert_eq!(plan(0, 1, 300).parity(10, false), 0);
    }

    #[test]
    fn sound_carries_more_copies_the_more_is_lost() {
        assert_eq!(plan(2, 1, 50).sound_copies(false), 1);
        assert_eq!(plan(10, 1, 50).sound_copies(false), 2);
        assert_eq!(plan(20, 1, 50).sound_copies(false), 3);
        assert_eq!(plan(10, 5, 50).sound_copies(false), 3);
    }

    #[test]
    fn sounds_go_twice_where_a_copy_would_often_be_lost_itself_and_need_fewer_copies_then() {
        assert!(!plan(2, 1, 50).wants_echoes() && plan(4, 1, 50).wants_echoes());
        assert_eq!(plan(10, 1, 50).sound_copies(true), 1);
        assert_eq!(plan(20, 1, 50).sound_copies(true), 2);
        assert_eq!(plan(10, 5, 50).sound_copies(true), 3, "a burst takes both");
    }

    #[test]
    fn copies_lie_side_by_side_against_single_losses_and_beyond_its_end_against_a_burst() {
        assert_eq!(plan(20, 1, 50).copy_distances(3, 1.0), [1, 2, 3]);
        assert_eq!(plan(10, 5, 50).copy_distances(3, 1.0), [1, 6, 10]);
        assert_eq!(plan(10, 5, 50).copy_distances(3, 0.2), [1, 2, 3], "other packets take most of the burst");
        assert_eq!(plan(50, 50, 50).copy_distances(2, 1.0), [1, COPY_REACH]);
        assert!(plan(10, 5, 50).copy_distances(0, 1.0).is_empty());
    }

    #[test]
    fn pictures_carry_parity_where_a_repetition_comes_too_late() {
        assert_eq!(plan(2, 1, 50).parity(4, false), 0);
        assert!(plan(5, 1, 300).parity(4, false) >= 1);
        assert!(plan(20, 1, 300).parity(10, false) > plan(5, 1, 300).parity(10, false));
    }

    #[test]
    fn a_roomy_way_carries_parity_so_that_no_picture_waits_for_a_repetition() {
        assert_eq!(plan(0, 1, 50).parity(5, true), 0, "on a clean way nothing does");
        let plan = plan(2, 1, 50);
        assert_eq!((plan.parity(5, false), plan.parity(5, true)), (0, 2));
        assert!(plan.overhead(true) > plan.overhead(false));
    }

    #[test]
    fn a_roomy_way_that_loses_runs_carries_more_parity_and_spreads_it() {
        let (single, runs) = (plan(10, 1, 50), plan(10, 5, 50));
        assert!(runs.would_use_room() && runs.parity(5, true) > single.parity(5, true));
        assert_eq!(single.parity_apart(8), Duration::ZERO);
        assert_eq!(runs.parity_apart(8), Duration::from_micros(75_000 / 8), "within a round trip and half a report");
        assert_eq!(plan(10, 5, 300).parity_apart(8), PARITY_SPREAD / 8);
        assert_eq!(runs.parity_apart(0), Duration::ZERO);
        assert_eq!(runs.parity(400, true), MAX_PARITY);
        assert!(!plan(20, 20, 50).would_use_room(), "what takes pictures whole takes their parity, too");
    }

    #[test]
    fn heavy_loss_gets_both() {
        assert!(plan(20, 1, 50).parity(4, false) >= 1);
    }

    #[test]
    fn a_repetition_must_arrive_before_its_frame_is_due() {
        let plan = plan(2, 1, 100);
        assert!(plan.is_worth_repeating(Duration::from_millis(80)));
        assert!(!plan.is_worth_repeating(Duration::from_millis(50)));
    }
}
