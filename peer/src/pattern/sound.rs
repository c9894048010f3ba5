//! The test sound: a voice that says nothing, and each second a burst whose beginning can be found again.
//!
//! The voice never comes near a burst, in loudness or in time.

use std::f32::consts::TAU;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::params::{BURST_GUARD, BURST_LENGTH, BURST_PERIOD, SAMPLE_RATE};

/// An endless test sound.
#[derive(Debug)]
pub struct TestSound {
    channels: u8,
    /// The number of the next sample.
    position: u64,
    /// Samples from one burst to the next, in one, and in the silence around one.
    period: u64,
    burst: u64,
    guard: u64,
    voice: Voice,
}

impl TestSound {
    /// A sound with one or two channels; another seed is another voice.
    pub fn new(seed: u64, channels: u8) -> Self {
        TestSound {
            channels: channels.clamp(1, 2),
            position: 0,
            period: samples_in(BURST_PERIOD),
            burst: samples_in(BURST_LENGTH),
            guard: samples_in(BURST_GUARD),
            voice: Voice::new(seed),
        }
    }

    /// The next `count` samples of each channel, interleaved. Bursts begin at whole seconds from the first sample on.
    pub fn next_samples(&mut self, count: usize) -> Vec<f32> {
        let channels = usize::from(self.channels);
        let mut samples = Vec::with_capacity(count * channels);
        for _ in 0..count {
            let sample = self.next_sample();
            samples.extend(std::iter::repeat_n(sample, channels));
        }
        samples
    }

    fn next_sample(&mut self) -> f32 {
        let since = self.position % self.period;
        self.position += 1;
        let voice = self.voice.next_sample();
        if since < self.burst {
            let phase = since as f32 * BURST_HZ / SAMPLE_RATE as f32 * TAU;
            return BURST_PEAK * (phase + TAU / 4.0).sin();
        }
        let quiet = (since - self.burst).min(self.period - since);
        voice * quiet.saturating_sub(self.guard).min(FADE) as f32 / FADE as f32
    }
}

/// Where the first burst in a mono sound begins, to within two milliseconds, also after Opus. `None` without a burst.
pub fn find_onset(samples: &[f32]) -> Option<usize> {
    let peak = samples.iter().position(|sample| sample.abs() > ONSET_PEAK)?;
    let reach = usize::try_from(samples_in(ONSET_REACH)).unwrap_or(0);
    let from = peak.saturating_sub(reach);
    let rise = samples.get(from..peak)?.iter().position(|sample| sample.abs() > ONSET_RISE);
    Some(rise.map_or(peak, |rise| from + rise))
}

/// A voice: pulses of the vocal cords, shaped by three resonances that move from vowel to vowel.
#[derive(Debug)]
struct Voice {
    random: ChaCha8Rng,
    pitch: f32,
    phase: f32,
    syllable: Syllable,
    formants: [Resonance; 3],
    targets: [f32; 3],
    noise: f32,
}

/// One syllable, or the pause between words.
#[derive(Clone, Copy, Debug)]
struct Syllable {
    elapsed: u32,
    length: u32,
    loudness: f32,
    /// Pitch at the beginning and at the end, relative to the voice's own.
    melody: (f32, f32),
    is_hissed: bool,
    left_in_word: u32,
}

impl Voice {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let pitch = 90.0 + 130.0 * unit(&mut random);
        Voice {
            random,
            pitch,
            phase: 0.0,
            syllable: Syllable {
                elapsed: 0,
                length: 0,
                loudness: 0.0,
                melody: (1.0, 1.0),
                is_hissed: false,
                left_in_word: 0,
            },
            formants: [Resonance::default(); 3],
            targets: [500.0, 1500.0, 2500.0],
            noise: 0.0,
        }
    }

    fn next_sample(&mut self) -> f32 {
        if self.syllable.elapsed >= self.syllable.length {
            self.next_syllable();
        }
        let syllable = self.syllable;
        self.syllable.elapsed += 1;
        let progress = syllable.elapsed as f32 / syllable.length as f32;
        let envelope = syllable.loudness * (progress * std::f32::consts::PI).sin().max(0.0).sqrt();
        let bend = syllable.melody.0 + (syllable.melody.1 - syllable.melody.0) * progress;
        self.phase += self.pitch * bend / SAMPLE_RATE as f32;
        let mut pulse = 0.0;
        if self.phase >= 1.0 {
            self.phase -= 1.0;
            pulse = 1.0;
        }
        let white = 2.0 * unit(&mut self.random) - 1.0;
        let hiss = white - self.noise;
        self.noise = white;
        let is_onset = syllable.is_hissed && progress < 0.3;
        let breath = if is_onset { 0.05 * hiss } else { 0.004 * white };
        let source = if is_onset { 0.0 } else { pulse };
        if syllable.elapsed % RETUNE == 1 {
            for (formant, target) in self.formants.iter_mut().zip(self.targets) {
                formant.tune(target);
            }
        }
        let [first, second, third] = &mut self.formants;
        let sound =
            first.pass(source + breath) + 0.6 * second.pass(source + breath) + 0.3 * third.pass(source + breath);
        (sound * envelope * VOICE_GAIN).clamp(-VOICE_PEAK, VOICE_PEAK) + 0.3 * breath * envelope
    }

    /// Chooses the next syllable, or a pause after a word.
    fn next_syllable(&mut self) {
        let random = &mut self.random;
        let span = |random: &mut ChaCha8Rng, from: f32, to: f32| {
            let millis = from + (to - from) * unit(random);
            SAMPLE_RATE / 1000 * u32::from(super::canvas::byte(millis / 4.0)) * 4
        };
        if self.syllable.left_in_word == 0 {
            let is_sentence_end = unit(random) < 0.25;
            let (from, to) = if is_sentence_end { (350.0, 700.0) } else { (40.0, 120.0) };
            let left_in_word = 1 + random.next_u32() % 4;
            self.syllable = Syllable {
                elapsed: 0,
                length: span(random, from, to),
                loudness: 0.0,
                melody: (1.0, 1.0),
                is_hissed: false,
                left_in_word,
            };
            return;
        }
        let vowel = usize::try_from(random.next_u32()).unwrap_or(0) % VOWELS.len();
        self.targets = VOWELS.get(vowel).copied().unwrap_or(self.targets);
        let start = 0.95 + 0.3 * unit(random);
        self.syllable = Syllable {
            elapsed: 0,
            length: span(random, 110.0, 240.0),
            loudness: 0.6 + 0.4 * unit(random),
            melody: (start, start - 0.05 - 0.15 * unit(random)),
            is_hissed: unit(random) < 0.4,
            left_in_word: self.syllable.left_in_word - 1,
        };
    }
}

/// A resonance of the mouth: two poles (Klatt 1980, eq. 1 and 2).
#[derive(Clone, Copy, Debug, Default)]
struct Resonance {
    frequency: f32,
    gains: (f32, f32, f32),
    past: (f32, f32),
}

impl Resonance {
    /// Moves towards a frequency, as a tongue does: not at once.
    fn tune(&mut self, target: f32) {
        self.frequency = if self.frequency == 0.0 { target } else { self.frequency + 0.08 * (target - self.frequency) };
        let width = 60.0 + 0.04 * self.frequency;
        let c = -(-TAU * width / SAMPLE_RATE as f32).exp();
        let b =
            2.0 * (-0.5 * TAU * width / SAMPLE_RATE as f32).exp() * (TAU * self.frequency / SAMPLE_RATE as f32).cos();
        self.gains = (1.0 - b - c, b, c);
    }

    fn pass(&mut self, input: f32) -> f32 {
        let (a, b, c) = self.gains;
        let output = a * input + b * self.past.0 + c * self.past.1;
        self.past = (output, self.past.0);
        output
    }
}

/// A number from 0 to 1.
fn unit(random: &mut ChaCha8Rng) -> f32 {
    random.next_u32() as f32 / u32::MAX as f32
}

/// Samples in a span shorter than a day.
fn samples_in(span: Duration) -> u64 {
    let samples = span.as_micros() * u128::from(SAMPLE_RATE) / 1_000_000;
    u64::try_from(samples).unwrap_or(u64::MAX)
}

/// First three resonances of a, e, i, o, u in hertz (Peterson and Barney 1952).
const VOWELS: [[f32; 3]; 5] = [
    [730.0, 1090.0, 2440.0],
    [530.0, 1840.0, 2480.0],
    [300.0, 2290.0, 3010.0],
    [570.0, 840.0, 2410.0],
    [320.0, 870.0, 2240.0],
];

/// A burst is a tone that Opus carries in every mode.
const BURST_HZ: f32 = 1000.0;
const BURST_PEAK: f32 = 0.9;
/// The voice stays well below what counts as a burst.
const VOICE_PEAK: f32 = 0.3;
const VOICE_GAIN: f32 = 9.0;
/// Samples over which the voice fades around a burst.
const FADE: u64 = 480;
/// Samples between two movements of the mouth.
const RETUNE: u32 = 48;
/// Only a burst is as loud as this.
const ONSET_PEAK: f32 = 0.5;
/// Where the silence before a burst ends.
const ONSET_RISE: f32 = 0.2;
/// How far before its loud part a burst can have begun.
const ONSET_REACH: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use meipo::units::Bitrate;

    use super::*;
    use crate::codec::{
        AudioDecoder, AudioEncoder, AudioSettings, OPUS_LOOKAHEAD, OpusDecoder, OpusEncoder, SoundSpan,
    };

    #[test]
    fn the_same_seed_says_the_same() {
        assert_eq!(TestSound::new(1, 1).next_samples(9600), TestSound::new(1, 1).next_samples(9600));
        assert_ne!(TestSound::new(1, 1).next_samples(9600), TestSound::new(2, 1).next_samples(9600));
    }

    #[test]
    fn each_second_has_one_burst_that_is_found() {
        for seed in 0..8 {
            let samples = TestSound::new(seed, 1).next_samples(3 * 48_000 + 4800);
            assert_eq!(find_onset(&samples), Some(0));
            for second in 1..=3 {
                let before = second * 48_000 - 40_000;
                assert_eq!(find_onset(&samples[before..]), Some(40_000), "seed {seed}, second {second}");
            }
        }
    }

    #[test]
    fn the_burst_is_found_after_opus() {
        let settings = AudioSettings {
            channels: 1,
            span: SoundSpan::Ms20,
            bitrate: Bitrate::from_kilobits(24),
            expected_loss: 10,
        };
        let mut encoder = OpusEncoder::new(&settings).unwrap();
        let mut decoder = OpusDecoder::new(1).unwrap();
        let mut sound = TestSound::new(7, 1);
        let mut heard = Vec::new();
        for _ in 0..160 {
            heard.extend(decoder.decode(&encoder.encode(&sound.next_samples(960)).unwrap()).unwrap());
        }
        for second in 1..=3 {
            let from = second * 48_000 - 20_000;
            let onset = find_onset(&heard[from..]).unwrap() + from;
            let expected = second * 48_000 + usize::from(OPUS_LOOKAHEAD);
            assert!(onset.abs_diff(expected) < 96, "second {second}: {onset} instead of {expected}");
        }
    }

    #[test]
    fn the_voice_speaks_and_pauses() {
        let samples = TestSound::new(3, 1).next_samples(10 * 48_000);
        let loud = |span: &[f32]| span.iter().map(|sample| sample * sample).sum::<f32>() / span.len() as f32;
        let spans: Vec<_> = samples.chunks(960).map(loud).collect();
        let speaking = spans.iter().filter(|loud| **loud > 1e-4).count();
        assert!((100..450).contains(&speaking), "{speaking} of {} spans", spans.len());
    }

    #[test]
    fn stereo_is_the_same_on_both_sides() {
        let samples = TestSound::new(1, 2).next_samples(480);
        assert_eq!(samples.len(), 960);
        assert!(samples.chunks(2).all(|pair| pair[0] == pair[1]));
    }
}
