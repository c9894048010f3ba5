//! Tells loss that comes from sending too much from loss that is just there.
//!
//! What reports say is lost goes in, a verdict comes out. Loss is first tried as congestion: far less is sent for a moment.
//! If as much is lost all the same it is weather, only what exceeds it counts from then on, and the rate of before holds
//! again. Whoever comes to a way that others keep full sees no queue in it, only loss; so does whoever loses to radio.

use super::history::News;
use crate::params::{
    LOSS_ALARM, LOSS_CHANCE, LOSS_CLEARING, LOSS_COLLAPSE, LOSS_RELIEF, LOSS_TRIAL, LOSS_TRIAL_LEAST,
    LOSS_TRIAL_SETTLE, LOSS_WEIGHT, LOSS_WORSE,
};
use crate::units::Time;

/// Judges losses.
#[derive(Debug, Default)]
pub(super) struct Weather {
    share: f64,
    /// Loss that sending less did not lessen.
    accepted: f64,
    trial: Option<Trial>,
    seen: usize,
}

/// What is to be done about loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    Fair,
    /// Much less is to be sent for a while.
    TryLess,
    /// The trial is still under way.
    Wait,
    /// Sending less did not help: this rate was not too much.
    Restore(f64),
}

/// Less is sent; does it help?
#[derive(Clone, Copy, Debug)]
struct Trial {
    began: Time,
    /// Share lost before it.
    share: f64,
    /// The rate before it.
    rate: f64,
    lost: usize,
    total: usize,
}

impl Weather {
    /// Share of packets lost lately, 0 to 1.
    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// Whether more is lost than any weather explains: more than half of it, or far more than when less was tried.
    pub(super) fn is_collapse(&self) -> bool {
        let is_known = self.seen > LOSS_TRIAL_LEAST && self.trial.is_none();
        is_known && self.share > LOSS_COLLAPSE.max(self.accepted + LOSS_ALARM)
    }

    /// Whether less is sent to see what comes of it.
    pub(super) fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// A report came while the rate was this.
    pub(super) fn judge(&mut self, news: &News, rate: f64, now: Time) -> Verdict {
        for lost in std::iter::repeat_n(1.0, news.lost.len()).chain(std::iter::repeat_n(0.0, news.arrived.len())) {
            self.seen += 1;
            let weight = (1.0 / self.seen as f64).max(LOSS_WEIGHT);
            self.share += (lost - self.share) * weight;
        }
        // Better weather is believed slowly: losses come in bursts.
        self.accepted -= (self.accepted - self.share - LOSS_CHANCE).max(0.0) * LOSS_CLEARING;
        if let Some(trial) = &mut self.trial {
            trial.note(news);
            return if now.since(trial.began) < LOSS_TRIAL { Verdict::Wait } else { self.conclude() };
        }
        if self.seen > LOSS_TRIAL_LEAST && self.share > self.accepted * LOSS_WORSE + LOSS_ALARM {
            self.trial = Some(Trial { began: now, share: self.share, rate, lost: 0, total: 0 });
            return Verdict::TryLess;
        }
        Verdict::Fair
    }

    fn conclude(&mut self) -> Verdict {
        let Some(trial) = self.trial.take() else { return Verdict::Fair };
        if trial.total == 0 {
            return Verdict::Fair;
        }
        let share = trial.lost as f64 / trial.total as f64;
        if share <= trial.share * LOSS_RELIEF {
            self.share = share;
            return Verdict::Fair;
        }
        // A trial's packets are few, and by themselves may tell of far more loss than there is.
        self.accepted = self.share.max(trial.share);
        Verdict::Restore(trial.rate)
    }
}

impl Trial {
    /// Counts what was sent since the trial shows.
    fn note(&mut self, news: &News) {
        let from = self.began + LOSS_TRIAL_SETTLE;
        let lost = news.lost.iter().filter(|loss| loss.sent >= from).count();
        let arrived = news.arrived.iter().filter(|arrival| arrival.sent >= from).count();
        self.lost += lost;
        self.total += lost + arrived;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rate::history::{Arrival, Loss};

    /// Reports about 50 packets each tenth of a second, of which `share` percent are lost, for a second and a half.
    fn run(weather: &mut Weather, share: usize, from: Time) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for turn in 0..15_u32 {
            let sent = from + Duration::from_millis(100) * turn;
            verdicts.push(weather.judge(&news(share, sent), 1e6, sent));
        }
        verdicts
    }

    fn news(share: usize, sent: Time) -> News {
        let mut news = News::default();
        for packet in 0..50 {
            if packet * 2 < share {
                news.lost.push(Loss { sequence: packet as u64, sent, bytes: 1000, origin: None });
            } else {
                news.arrived.push(Arrival { sequence: 0, sent, arrived: sent, bytes: 1000 });
            }
        }
        news
    }

    #[test]
    fn a_little_loss_is_no_reason_to_send_less() {
        assert!(run(&mut Weather::default(), 4, Time::ZERO).iter().all(|verdict| *verdict == Verdict::Fair));
    }

    #[test]
    fn loss_that_stays_is_weather_and_is_tried_once() {
        let mut weather = Weather::default();
        let verdicts = run(&mut weather, 20, Time::ZERO);
        assert!(verdicts.contains(&Verdict::TryLess) && verdicts.contains(&Verdict::Restore(1e6)), "{verdicts:?}");
        let later = run(&mut weather, 20, Time::from_millis(2000));
        assert!(later.iter().all(|verdict| *verdict == Verdict::Fair), "{later:?}");
    }

    #[test]
    fn heavy_weather_is_no_collapse_though_a_trial_s_few_packets_look_worse() {
        let mut weather = Weather::default();
        let mut verdict = Verdict::Fair;
        for tenth in 0..200_u64 {
            assert!(!weather.is_collapse(), "after {tenth} tenths of a second");
            let sent = Time::from_millis(tenth * 100);
            let is_settled = weather.trial.is_some_and(|trial| sent >= trial.began + LOSS_TRIAL_SETTLE);
            verdict = weather.judge(&news(if is_settled { 60 } else { 40 }, sent), 1e6, sent);
            if matches!(verdict, Verdict::Restore(_)) {
                break;
            }
        }
        assert_eq!(verdict, Verdict::Restore(1e6));
        assert!(!weather.is_collapse(), "{weather:?}");
        run(&mut weather, 90, Time::from_millis(30_000));
        assert!(weather.is_collapse(), "{weather:?}");
    }

    #[test]
    fn loss_that_goes_when_less_is_sent_was_congestion() {
        let mut weather = Weather::default();
        let mut verdicts = Vec::new();
        for tenth in 0..40_u64 {
            let share = if verdicts.contains(&Verdict::TryLess) { 0 } else { 30 };
            let sent = Time::from_millis(tenth * 100);
            verdicts.push(weather.judge(&news(share, sent), 1e6, sent));
        }
        assert!(!verdicts.iter().any(|verdict| matches!(verdict, Verdict::Restore(_))), "{verdicts:?}");
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::TryLess).count(), 1);
    }
}
