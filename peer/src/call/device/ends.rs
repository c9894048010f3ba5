//! What stands between a device and the studio: samples in any number on one side, blocks on the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meipo::media::Frame;
use meipo::net::clock::unix_micros_now;
use tokio::sync::mpsc::Sender;

use super::super::studio::Studio;
use crate::params::{SAMPLE_RATE, SOUND_BLOCK};
use crate::voice::Block;

/// The microphone's end.
pub(super) struct Ear {
    studio: Arc<Mutex<Studio>>,
    frames: Sender<Frame>,
    meters: Arc<Meters>,
    /// What does not make a block yet.
    pending: VecDeque<i16>,
}

impl Ear {
    pub(super) fn new(studio: Arc<Mutex<Studio>>, frames: Sender<Frame>, meters: Arc<Meters>) -> Self {
        Ear { studio, frames, meters, pending: VecDeque::new() }
    }

    /// Samples have come, the last of which the air had the microphone's delay ago.
    pub(super) fn hear(&mut self, samples: impl IntoIterator<Item = i16>) {
        self.meters.captured.fetch_add(1, Ordering::Relaxed);
        self.pending.extend(samples);
        let age = self.meters.microphone_us.load(Ordering::Relaxed);
        let mut began = unix_micros_now().saturating_sub(micros_in(self.pending.len()) + age);
        while let Some(block) = self.take_block() {
            let frame = self.studio.lock().unwrap_or_else(PoisonError::into_inner).capture(&block, began);
            began += micros_in(block.len());
            match frame {
                // Who cannot send for so long has a break in the voice, and no delay after it.
                Ok(Some(frame)) => drop(self.frames.try_send(frame)),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the microphone cannot be encoded"),
            }
        }
    }

    fn take_block(&mut self) -> Option<Block> {
        if self.pending.len() < SOUND_BLOCK {
            return None;
        }
        let mut block = [0; SOUND_BLOCK];
        block.iter_mut().zip(self.pending.drain(..SOUND_BLOCK)).for_each(|(to, sample)| *to = sample);
        Some(block)
    }
}

/// The loudspeaker's end.
pub(super) struct Mouth {
    studio: Arc<Mutex<Studio>>,
    meters: Arc<Meters>,
    /// What is left of the last block.
    rest: VecDeque<i16>,
}

impl Mouth {
    pub(super) fn new(studio: Arc<Mutex<Studio>>, meters: Arc<Meters>) -> Self {
        Mouth { studio, meters, rest: VecDeque::new() }
    }

    /// The next `count` samples to be played.
    pub(super) fn say(&mut self, count: usize) -> impl Iterator<Item = i16> {
        self.meters.played.fetch_add(1, Ordering::Relaxed);
        while self.rest.len() < count {
            let block = self.studio.lock().unwrap_or_else(PoisonError::into_inner).play();
            self.rest.extend(block);
        }
        self.rest.drain(..count)
    }
}

/// How often samples passed, and how long the devices take.
#[derive(Debug, Default)]
pub(super) struct Meters {
    captured: AtomicU32,
    played: AtomicU32,
    microphone_us: AtomicU64,
}

impl Meters {
    /// How often the microphone gave and the loudspeaker took.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.captured.load(Ordering::Relaxed), self.played.load(Ordering::Relaxed))
    }

    /// How old samples of the microphone are when they come.
    pub(super) fn set_microphone(&self, delay: Option<Duration>) {
        let micros = delay.map_or(0, |delay| u64::try_from(delay.as_micros()).unwrap_or(u64::MAX));
        self.microphone_us.store(micros, Ordering::Relaxed);
    }
}

/// How long so many samples last, in microseconds.
pub(super) fn micros_in(samples: usize) -> u64 {
    samples as u64 * 1_000_000 / u64::from(SAMPLE_RATE)
}
