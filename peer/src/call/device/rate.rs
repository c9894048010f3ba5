//! From one sample rate to another, for devices that do not have ours.

use std::collections::VecDeque;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use super::super::sound::DeviceError;

/// Converts one stream of samples, -1 to 1.
pub(super) struct Converter {
    /// `None` where both rates are the same.
    resampler: Option<Fft<f32>>,
    /// What does not make a chunk yet.
    pending: Vec<f32>,
    ready: VecDeque<f32>,
}

impl Converter {
    /// From `from` to `to` samples a second.
    ///
    /// # Errors
    /// When a rate is none.
    pub(super) fn new(from: u32, to: u32) -> Result<Self, DeviceError> {
        let resampler = if from == to { None } else { Some(resampler(from, to)?) };
        Ok(Converter { resampler, pending: Vec::new(), ready: VecDeque::new() })
    }

    /// Takes samples of the first rate.
    pub(super) fn push(&mut self, samples: impl IntoIterator<Item = f32>) {
        let Some(resampler) = &mut self.resampler else { return self.ready.extend(samples) };
        self.pending.extend(samples);
        let chunk = resampler.input_frames_next();
        while self.pending.len() >= chunk {
            let rest = self.pending.split_off(chunk);
            let whole = std::mem::replace(&mut self.pending, rest);
            let input = InterleavedSlice::new(&whole, 1, chunk).expect("one channel of as many frames as there are");
            let output = resampler.process(&input, None).expect("as many frames as the resampler asked for");
            self.ready.extend(output.take_data());
        }
    }

    /// How many samples of the second rate are ready.
    pub(super) fn len(&self) -> usize {
        self.ready.len()
    }

    /// The next of them.
    pub(super) fn take(&mut self, count: usize) -> impl Iterator<Item = f32> {
        self.ready.drain(..count.min(self.ready.len()))
    }
}

/// Both sides in chunks of about 5 ms: what a whole chunk adds to the delay is half of a block.
fn resampler(from: u32, to: u32) -> Result<Fft<f32>, DeviceError> {
    let chunk = from / CHUNKS_PER_SECOND;
    Fft::new(from as usize, to as usize, chunk as usize, 1, FixedSync::Both)
        .map_err(|error| DeviceError::Refused(format!("{from} samples a second: {error}")))
}

const CHUNKS_PER_SECOND: u32 = 200;

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    #[test]
    fn a_tone_is_the_same_tone_at_another_rate() {
        for (from, to) in [(44_100, 48_000), (48_000, 44_100), (16_000, 48_000), (48_000, 96_000)] {
            let mut converter = Converter::new(from, to).unwrap();
            let tone = |rate: u32, at: u32| (TAU * 440.0 * at as f32 / rate as f32).sin();
            // As devices give them: in pieces of their own size.
            for piece in (0..from).collect::<Vec<_>>().chunks(333) {
                converter.push(piece.iter().map(|at| tone(from, *at)));
            }
            let got: Vec<f32> = converter.take(usize::MAX).collect();
            let lost = to as usize - got.len();
            assert!(lost < to as usize / 50, "{from} to {to}: {lost} samples wait");
            let settled = &got[to as usize / 10..got.len() - to as usize / 10];
            let crossings = settled.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
            let expected = 440.0 * settled.len() as f32 / to as f32;
            assert!((crossings as f32 - expected).abs() <= 1.0, "{from} to {to}: {crossings} waves, not {expected}");
            let loudest = settled.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
            assert!((0.98..1.02).contains(&loudest), "{from} to {to}: {loudest}");
        }
    }

    #[test]
    fn the_same_rate_is_passed_on_as_it_is() {
        let mut converter = Converter::new(48_000, 48_000).unwrap();
        converter.push([0.25, -0.5]);
        assert_eq!(converter.len(), 2);
        assert_eq!(converter.take(5).collect::<Vec<_>>(), [0.25, -0.5]);
    }
}
