//! How a conversation over this delay and this loss is judged by people: the E-model, ITU-T G.107.
//!
//! In: mouth-to-ear delay and the share of sound that had to be concealed. Out: a mean opinion score, 1 (bad) to 4.5
//! (excellent). Opus at full band counts as a codec without impairment of its own; how badly concealed loss hurts is taken
//! from G.711 with packet-loss concealment (G.113, Bpl = 25.1).

use std::time::Duration;

/// The mean opinion score of sound heard after `delay`, of which `concealed` (0 to 1) is made up.
pub fn mean_opinion(delay: Duration, concealed: f64) -> f64 {
    let rating = rating(delay, concealed.clamp(0.0, 1.0)).clamp(0.0, 100.0);
    let score = 1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6;
    score.clamp(1.0, 4.5)
}

/// The transmission rating R (G.107 §7.1, with the defaults of its table 2).
fn rating(delay: Duration, concealed: f64) -> f64 {
    let delay_ms = delay.as_secs_f64() * 1000.0;
    // The usual approximation of the delay impairment Id: gentle up to 177.3 ms, steep beyond.
    let delay_impairment = 0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0);
    let loss_percent = concealed * 100.0;
    let loss_impairment = 95.0 * loss_percent / (loss_percent + 25.1);
    93.2 - delay_impairment - loss_impairment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(delay_ms: u64, concealed: f64) -> f64 {
        mean_opinion(Duration::from_millis(delay_ms), concealed)
    }

    #[test]
    fn a_good_call_is_excellent_and_a_broken_one_is_bad() {
        assert!((4.3..=4.5).contains(&score(60, 0.0)), "{}", score(60, 0.0));
        assert!(score(600, 0.4) < 1.5, "{}", score(600, 0.4));
    }

    #[test]
    fn delay_and_loss_both_lower_it() {
        assert!(score(150, 0.0) > score(400, 0.0));
        assert!(score(100, 0.01) > score(100, 0.05));
    }

    #[test]
    fn no_input_leads_out_of_the_scale() {
        for concealed in [-1.0, 0.0, 1.0, 9.0] {
            assert!((1.0..=4.5).contains(&score(0, concealed)));
            assert!((1.0..=4.5).contains(&score(1_000_000, concealed)));
        }
    }
}
