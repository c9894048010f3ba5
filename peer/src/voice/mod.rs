//! The sound of a call: 10 ms blocks of samples on this side, frames of everybody on the other.
//!
//! [`Microphone`] makes Opus frames of what is said here; [`Mixer`] makes one sound of what everybody says. Both are
//! machines without devices, threads or clocks, so they serve a page as well as a terminal. Samples are mono, 48 kHz.

mod level;
mod limiter;
mod microphone;
mod mixer;
mod speaker;

pub(crate) use level::Level;
pub(crate) use microphone::FULL_SCALE;
pub use microphone::{Microphone, sound_track};
pub use mixer::{Mixer, Volume};

use crate::params::SOUND_BLOCK;

/// 10 ms of sound as devices give and take it.
pub type Block = [i16; SOUND_BLOCK];

/// How many samples last as long as `span`.
const fn samples_in(span: std::time::Duration) -> usize {
    (span.as_micros() as usize) * 48 / 1000
}

/// 10 ms of somebody who hums at 200 Hz, at a quarter of full scale.
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the wave stays within 9000")]
fn hum(nth: usize) -> Block {
    let wave = |at: usize| 9000.0 * (std::f32::consts::TAU * 200.0 * (at % 48_000) as f32 / 48_000.0).sin();
    std::array::from_fn(|at| wave(nth * SOUND_BLOCK + at) as i16)
}
