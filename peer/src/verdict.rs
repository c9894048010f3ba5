//! How good the last second with each peer was, as the person at this end experienced it.
//!
//! In: counters that only grow. Out: the share of frames that stayed lost after all repair, and the mean opinion score of
//! the sound (ITU-T G.107).

use std::collections::BTreeMap;
use std::time::Duration;

use meipo::media::mos::mean_opinion;
use meipo::node::PeerStats;
use meipo::units::PeerId;

use crate::events::Stats;
use crate::params::{REPORT_INTERVAL, SOUND_EDGE_DELAY};

/// Remembers what the counters of each peer were a report ago.
#[derive(Debug, Default)]
pub struct Verdicts {
    before: BTreeMap<PeerId, Counters>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    frames: u64,
    lost: u64,
    concealed: Duration,
}

impl Verdicts {
    /// Adds the verdict on the time since the last report. Latencies must be known by then if they ever will be.
    pub fn complete(&mut self, peer: PeerId, counted: &PeerStats, stats: &mut Stats) {
        let now = Counters { frames: counted.frames, lost: counted.frames_lost, concealed: counted.concealed };
        let before = self.before.insert(peer, now).filter(|before| before.frames <= now.frames).unwrap_or_default();
        let (frames, lost) = (now.frames - before.frames, now.lost.saturating_sub(before.lost));
        stats.loss_after_repair = share(lost as f64, (frames + lost) as f64);
        if frames + lost == 0 {
            return;
        }
        let concealed = now.concealed.saturating_sub(before.concealed).as_secs_f64() / REPORT_INTERVAL.as_secs_f64();
        let score = mean_opinion(mouth_to_ear(counted, stats.sound_latency_ms), concealed);
        stats.mos = Some((score * 100.0).round() / 100.0);
    }

    /// A peer is gone.
    pub fn forget(&mut self, peer: PeerId) {
        self.before.remove(&peer);
    }
}

/// Measured where clocks agree; else half a round trip and the jitter buffer. Both lack what devices and codec add.
fn mouth_to_ear(counted: &PeerStats, sound_latency_ms: Option<f64>) -> Duration {
    let estimated = counted.rtt.unwrap_or_default() / 2 + counted.jitter_delay;
    let measured = sound_latency_ms.map(|millis| Duration::from_secs_f64(millis.max(0.0) / 1000.0));
    measured.unwrap_or(estimated) + SOUND_EDGE_DELAY
}

fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { (part / whole * 10_000.0).round() / 10_000.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: PeerId = PeerId::from_bytes([1; 32]);

    fn counted(frames: u64, frames_lost: u64, concealed_ms: u64) -> PeerStats {
        let concealed = Duration::from_millis(concealed_ms);
        PeerStats { frames, frames_lost, concealed, rtt: Some(Duration::from_millis(50)), ..PeerStats::default() }
    }

    fn verdict(verdicts: &mut Verdicts, counted: &PeerStats) -> Stats {
        let mut stats = Stats::default();
        verdicts.complete(ALICE, counted, &mut stats);
        stats
    }

    #[test]
    fn a_second_is_judged_by_itself() {
        let mut verdicts = Verdicts::default();
        verdict(&mut verdicts, &counted(100, 100, 1000));
        let good = verdict(&mut verdicts, &counted(180, 100, 1000));
        assert_eq!(good.loss_after_repair, 0.0);
        assert!(good.mos > Some(4.2), "{good:?}");
        let bad = verdict(&mut verdicts, &counted(240, 120, 1400));
        assert_eq!(bad.loss_after_repair, 0.25);
        assert!(bad.mos < Some(2.5), "{bad:?}");
    }

    #[test]
    fn pictures_of_long_ago_are_no_fault_of_the_sound() {
        let opinion = |latency_ms, sound_latency_ms| {
            let mut stats = Stats { latency_ms, sound_latency_ms, ..Stats::default() };
            Verdicts::default().complete(ALICE, &counted(100, 0, 0), &mut stats);
            stats.mos
        };
        assert!(opinion(Some(4500.0), Some(40.0)) > Some(4.2));
        assert!(opinion(Some(40.0), Some(4500.0)) < Some(1.5));
        assert!(opinion(Some(4500.0), None) > Some(4.2), "estimated from the way and the jitter buffer");
    }

    #[test]
    fn where_nothing_is_heard_there_is_no_opinion() {
        assert_eq!(verdict(&mut Verdicts::default(), &counted(0, 0, 0)).mos, None);
    }

    #[test]
    fn a_new_connection_begins_anew() {
        let mut verdicts = Verdicts::default();
        verdict(&mut verdicts, &counted(1000, 50, 900));
        assert_eq!(verdict(&mut verdicts, &counted(60, 20, 0)).loss_after_repair, 0.25);
    }
}
