//! How likely a frame stays incomplete in spite of its parity, by how the way loses packets.

use crate::params::MAX_PARITY;

/// How likely more than `parity` of `count + parity` packets are lost that go one after the other, each with `share`, in runs
/// of `run` packets.
pub(super) fn fails(count: usize, parity: usize, share: f64, run: f64) -> f64 {
    // Runs of r make losses come in r-fold lumps: as many lumps as fit are counted.
    let total = ((count + parity) as f64 / run).ceil();
    let allowed = (parity as f64 / run).floor();
    let mut term = (1.0 - share).powf(total);
    let mut survives = term;
    let mut lost = 0.0;
    while lost < allowed {
        term *= (total - lost) / (lost + 1.0) * share / (1.0 - share).max(0.01);
        survives += term;
        lost += 1.0;
    }
    1.0 - survives
}

/// How many of the packets of a frame are lost that go one after the other: the likelihood of each number up to [`MAX_PARITY`].
pub(super) type Lacking = [f64; MAX_PARITY + 1];

/// What a frame of `count` packets lacks where `share` of all packets is lost, 0 to 1, in runs of `run` packets on average: a way
/// is good or bad, and each packet may find it changed (E. N. Gilbert, "Capacity of a Burst-Noise Channel", 1960).
pub(super) fn lacking(count: usize, share: f64, run: f64) -> Lacking {
    let (recovers, worsens) = (1.0 / run, share / (1.0 - share) / run);
    let mut good = [0.0; MAX_PARITY + 1];
    let mut bad = [0.0; MAX_PARITY + 1];
    (good[0], bad[0]) = (1.0 - share, share);
    for _ in 0..count {
        // What goes on a bad way is lost: one more.
        bad.rotate_right(1);
        bad[0] = 0.0;
        for (good, bad) in good.iter_mut().zip(&mut bad) {
            let (was_good, was_bad) = (*good, *bad);
            *good = was_good * (1.0 - worsens) + was_bad * recovers;
            *bad = was_good * worsens + was_bad * (1.0 - recovers);
        }
    }
    for (good, bad) in good.iter_mut().zip(bad) {
        *good += bad;
    }
    good
}

/// How likely a frame stays incomplete that lacks so many packets, if `parity` packets follow so far apart that each is lost by
/// itself, with `share`.
pub(super) fn fails_spread(lacking: &Lacking, parity: usize, share: f64) -> f64 {
    // How likely so many of them arrive.
    let mut arrive = [0.0; MAX_PARITY + 1];
    arrive[0] = 1.0;
    for _ in 0..parity {
        let mut fewer = arrive;
        fewer.rotate_right(1);
        for (arrive, fewer) in arrive.iter_mut().zip(fewer) {
            *arrive = *arrive * share + fewer * (1.0 - share);
        }
    }
    let (mut survives, mut fewer) = (0.0, 0.0);
    for (chance, arrives) in lacking.iter().zip(arrive) {
        survives += chance * (1.0 - fewer);
        fewer += arrives;
    }
    1.0 - survives
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_of_failure_is_the_binomial_one() {
        let none = fails(4, 0, 0.1, 1.0);
        assert!((none - (1.0 - 0.9_f64.powi(4))).abs() < 1e-9);
        let one = fails(1, 1, 0.1, 1.0);
        assert!((one - 0.01).abs() < 1e-9);
    }

    #[test]
    fn where_losses_know_nothing_of_each_other_a_frame_lacks_what_the_binomial_says() {
        // Runs are as long as by chance then.
        let lacking = lacking(3, 0.1, 1.0 / 0.9);
        for (lost, expected) in [0.729, 0.243, 0.027, 0.001, 0.0].into_iter().enumerate() {
            assert!((lacking[lost] - expected).abs() < 1e-9, "{lost} lost: {}", lacking[lost]);
        }
    }

    #[test]
    fn a_run_takes_a_frame_whole() {
        let lacking = lacking(5, 0.1, 5.0);
        assert!((lacking.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{lacking:?}");
        // The first is lost, or any of the others is the first of a run: 1 - 0.9 (1 - 1/45)^4; all are lost: 0.1 (4/5)^4.
        assert!((lacking[0] - 0.9 * (44.0_f64 / 45.0).powi(4)).abs() < 1e-9, "{lacking:?}");
        assert!((lacking[5] - 0.1 * 0.8_f64.powi(4)).abs() < 1e-9, "{lacking:?}");
    }

    #[test]
    fn spread_parity_fails_only_if_more_is_lost_than_arrives() {
        let sure = |lost: usize| std::array::from_fn(|at| f64::from(u8::from(at == lost)));
        assert_eq!(fails_spread(&sure(0), 3, 0.1), 0.0);
        assert!((fails_spread(&sure(2), 2, 0.1) - 0.19).abs() < 1e-9);
        assert!((fails_spread(&sure(1), 3, 0.1) - 0.001).abs() < 1e-9);
        assert!((fails_spread(&sure(4), 3, 0.1) - 1.0).abs() < 1e-9);
        assert!((fails_spread(&sure(MAX_PARITY), MAX_PARITY, 0.0)).abs() < 1e-9);
        let more = [0.0; MAX_PARITY + 1];
        assert_eq!(fails_spread(&more, MAX_PARITY, 0.0), 1.0, "more is lost than there may be parity");
    }
}
