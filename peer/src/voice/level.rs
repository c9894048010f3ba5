//! How loud a voice is: blocks of samples in, a number for a meter out.

use crate::params::{LEVEL_FALL, LEVEL_FLOOR_DB};

/// Rises at once and falls slowly, so that an eye can follow it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Level(f32);

impl Level {
    /// Hears a block of samples between −1 and 1.
    pub(crate) fn hear(&mut self, block: &[f32]) {
        self.0 = loudness(block).max(self.0 * LEVEL_FALL);
    }

    /// 0 for silence to 1 for full scale; the end of a fall is silence.
    pub(crate) fn get(self) -> f32 {
        if self.0 < 0.01 { 0.0 } else { self.0 }
    }
}

/// Root mean square in decibels, spread from the floor to full scale over 0 to 1.
fn loudness(block: &[f32]) -> f32 {
    let power = block.iter().map(|sample| sample * sample).sum::<f32>() / block.len().max(1) as f32;
    if power <= f32::MIN_POSITIVE {
        return 0.0;
    }
    (1.0 - 10.0 * power.log10() / LEVEL_FLOOR_DB).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loud_tone_has_a_high_level_and_silence_none() {
        assert_eq!((loudness(&[0.0; 480]), loudness(&[])), (0.0, 0.0));
        assert!(loudness(&[0.9; 480]) > 0.9);
        assert!((loudness(&[0.0316; 480]) - 0.5).abs() < 0.01);
    }

    #[test]
    fn it_rises_at_once_and_falls_within_half_a_second() {
        let mut level = Level::default();
        level.hear(&[0.9; 480]);
        assert!(level.get() > 0.9);
        (0..50).for_each(|_| level.hear(&[0.0; 480]));
        assert!(level.get() < 0.1, "{}", level.get());
        (0..50).for_each(|_| level.hear(&[0.0; 480]));
        assert_eq!(level.get(), 0.0);
    }
}
