//! Sound made a little shorter or longer without clicks and at the same pitch.
//!
//! Decoded samples go in, the same samples with one period of their pitch taken out or put in come out: the two places
//! that look most alike within a span of pitches are found and faded into each other (WSOLA, Verhelst and Roelands, ICASSP
//! 1993; NetEQ's accelerate and preemptive expand). Sound without a period, unless it is too soft to be heard, is left
//! alone.

use std::ops::Range;

/// Samples a second.
const RATE: usize = 48_000;

/// Periods looked for: 2.5 ms, a high child's voice, to 12.5 ms, a low man's.
const PERIODS: Range<usize> = RATE * 25 / 10_000..RATE * 125 / 10_000;

/// Likeness from which two places may be faded into each other unheard; 1 is the same.
const ALIKE: f32 = 0.85;

/// Loudness (root mean square, 1 is full scale) below which nothing is heard of a fade: −60 dB.
const SOFT: f32 = 0.001;

/// What one step did to the sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretched {
    /// The samples, channels interleaved.
    pub samples: Vec<f32>,
    /// By how many samples of each channel it is shorter or longer.
    pub change: usize,
}

/// Takes one period out. `None` if no place for it is found: the sound is too short or has no period.
pub fn shorten(samples: &[f32], channels: usize) -> Option<Stretched> {
    let frames = samples.len() / channels.max(1);
    let period = period(samples, channels)?;
    // … a [fade a→b over one period] b …: what lies between is gone.
    let fade = |at: usize, channel: usize| {
        let weight = at as f32 / period as f32;
        let (from, to) = (sample(samples, channels, at, channel), sample(samples, channels, at + period, channel));
        from + (to - from) * weight
    };
    let mut shorter = Vec::with_capacity((frames - period) * channels);
    for at in 0..period {
        shorter.extend((0..channels).map(|channel| fade(at, channel)));
    }
    shorter.extend_from_slice(samples.get(2 * period * channels..)?);
    Some(Stretched { samples: shorter, change: period })
}

/// Puts one period in. `None` if no place for it is found.
pub fn lengthen(samples: &[f32], channels: usize) -> Option<Stretched> {
    let frames = samples.len() / channels.max(1);
    let period = period(samples, channels)?;
    // … a b [fade b→a over one period] b …: the period is heard twice.
    let fade = |at: usize, channel: usize| {
        let weight = at as f32 / period as f32;
        let (from, to) = (sample(samples, channels, at + period, channel), sample(samples, channels, at, channel));
        from + (to - from) * weight
    };
    let mut longer = Vec::with_capacity((frames + period) * channels);
    longer.extend_from_slice(samples.get(..period * channels)?);
    for at in 0..period {
        longer.extend((0..channels).map(|channel| fade(at, channel)));
    }
    longer.extend_from_slice(samples.get(period * channels..)?);
    Some(Stretched { samples: longer, change: period })
}

/// The distance at which the sound's beginning looks most like itself.
fn period(samples: &[f32], channels: usize) -> Option<usize> {
    if channels == 0 {
        return None;
    }
    let mono: Vec<f32> =
        samples.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32).collect();
    let longest = PERIODS.end.min(mono.len() / 2);
    if longest <= PERIODS.start {
        return None;
    }
    let loudness = (mono.iter().map(|sample| sample * sample).sum::<f32>() / mono.len() as f32).sqrt();
    if loudness < SOFT {
        return Some(longest);
    }
    let likeness = |period: usize| likeness(&mono, period);
    // Every fourth first, then all around the best: a sixteenth of the work, the same answer for voices.
    let coarse = (PERIODS.start..longest).step_by(4).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b)))?;
    let around = coarse.saturating_sub(3).max(PERIODS.start)..(coarse + 4).min(longest);
    let best = around.max_by(|a, b| likeness(*a).total_cmp(&likeness(*b)))?;
    (likeness(best) >= ALIKE).then_some(best)
}

/// Normalised correlation of the first period with the second.
fn likeness(mono: &[f32], period: usize) -> f32 {
    let (Some(first), Some(second)) = (mono.get(..period), mono.get(period..2 * period)) else { return 0.0 };
    let (mut product, mut energy_first, mut energy_second) = (0.0, 0.0, 0.0);
    for (a, b) in first.iter().zip(second) {
        product += a * b;
        energy_first += a * a;
        energy_second += b * b;
    }
    product / (energy_first * energy_second).sqrt().max(f32::MIN_POSITIVE)
}

fn sample(samples: &[f32], channels: usize, at: usize, channel: usize) -> f32 {
    samples.get(at * channels + channel).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    fn tone(hertz: f32, frames: usize, channels: usize) -> Vec<f32> {
        let wave = |at: usize| 0.5 * (TAU * hertz * at as f32 / RATE as f32).sin();
        (0..frames).flat_map(|at| std::iter::repeat_n(wave(at), channels)).collect()
    }

    fn noise(frames: usize, loudness: f32) -> Vec<f32> {
        let mut state = 1_u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state as f32 / u32::MAX as f32 - 0.5) * loudness
        };
        (0..frames).map(next).collect()
    }

    /// The largest step from one sample to the next.
    fn steepest(samples: &[f32], channels: usize) -> f32 {
        let steps = samples.iter().zip(samples.iter().skip(channels));
        steps.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_tone_changes_its_length_and_keeps_its_shape() {
        for (hertz, channels) in [(110.0, 1), (220.0, 2), (350.0, 1)] {
            let sound = tone(hertz, 1920, channels);
            for stretched in [shorten(&sound, channels).unwrap(), lengthen(&sound, channels).unwrap()] {
                let difference = stretched.samples.len().abs_diff(sound.len());
                assert_eq!(difference, stretched.change * channels);
                assert!(steepest(&stretched.samples, channels) < steepest(&sound, channels) * 1.2, "{hertz}");
            }
        }
    }

    #[test]
    fn what_follows_goes_on_where_it_was() {
        let sound = tone(200.0, 1920, 1);
        let shorter = shorten(&sound, 1).unwrap();
        assert_eq!(shorter.samples[shorter.samples.len() - 100..], sound[sound.len() - 100..]);
        let longer = lengthen(&sound, 1).unwrap();
        assert_eq!(longer.samples[..100], sound[..100]);
    }

    #[test]
    fn loud_noise_has_no_period_and_is_left_alone() {
        assert_eq!(shorten(&noise(1920, 0.5), 1), None);
        assert_eq!(lengthen(&noise(1920, 0.5), 1), None);
    }

    #[test]
    fn near_silence_can_always_be_stretched() {
        assert!(shorten(&noise(1920, 0.001), 1).is_some());
        assert!(lengthen(&vec![0.0; 1920], 1).is_some());
    }

    #[test]
    fn too_little_sound_is_left_alone() {
        assert_eq!(shorten(&tone(200.0, 100, 1), 1), None);
        assert_eq!(lengthen(&[], 1), None);
        assert_eq!(lengthen(&[0.0], 0), None);
    }
}
