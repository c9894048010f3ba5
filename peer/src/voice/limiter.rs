//! Keeps a mix within what a converter can play.
//!
//! Samples around −1 to 1 go in, none beyond the ceiling comes out. The gain falls within a block and rises slowly, so
//! several people who shout together become softer instead of distorted.

use crate::params::{LIMITER_CEILING, LIMITER_RELEASE};

/// The gain, from block to block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limiter {
    gain: f32,
}

impl Limiter {
    pub(super) fn new() -> Self {
        Limiter { gain: 1.0 }
    }

    /// Turns one block down as far as it must be.
    pub(super) fn run(&mut self, block: &mut [f32]) {
        let peak = block.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        let wanted = if peak > LIMITER_CEILING { LIMITER_CEILING / peak } else { 1.0 };
        let next = wanted.min(self.gain * LIMITER_RELEASE);
        let count = block.len() as f32;
        for (at, sample) in block.iter_mut().enumerate() {
            let gain = self.gain + (next - self.gain) * (at as f32 / count);
            *sample = (*sample * gain).clamp(-LIMITER_CEILING, LIMITER_CEILING);
        }
        self.gain = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_bounds_is_left_as_it_is() {
        let mut block = [0.5, -0.9, 0.0];
        Limiter::new().run(&mut block);
        assert_eq!(block, [0.5, -0.9, 0.0]);
    }

    #[test]
    fn a_loud_mix_is_turned_down_and_keeps_its_shape_from_the_second_block_on() {
        let mut limiter = Limiter::new();
        let loud: Vec<f32> = (0..480).map(|at| 3.0 * (at as f32 * 0.05).sin()).collect();
        limiter.run(&mut loud.clone());
        let mut second = loud.clone();
        limiter.run(&mut second);
        let gain = LIMITER_CEILING / 3.0;
        for (sample, original) in second.iter().zip(&loud) {
            assert!((sample - original * gain).abs() < 0.01, "{sample} of {original}");
        }
    }

    #[test]
    fn it_lets_go_slowly() {
        let mut limiter = Limiter::new();
        limiter.run(&mut [3.0; 480]);
        let mut quiet = [0.5; 480];
        limiter.run(&mut quiet);
        assert!(quiet[479] < 0.2, "{}", quiet[479]);
        (0..100).for_each(|_| limiter.run(&mut [0.5; 480]));
        limiter.run(&mut quiet);
        let mut later = [0.5; 480];
        limiter.run(&mut later);
        assert!(later[479] > 0.49, "{}", later[479]);
    }
}
