//! The microphone without the loudspeaker: blocks of what is played and of what is captured go in, what was said here
//! comes out.
//!
//! Echo cancellation, noise suppression and gain are WebRTC's audio processing (AEC3, NS, AGC2) in Rust: `sonora`. It finds
//! out by itself how long a sound takes from loudspeaker to microphone, and follows when that changes.

use std::fmt;

use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, MaxProcessingRate, NoiseSuppression, Pipeline,
};
use sonora::{AudioProcessing, Config, StreamConfig};

use crate::params::SAMPLE_RATE;
use crate::voice::Block;

/// What is done to the microphone's sound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Treatment {
    /// Echo, noise and gain.
    Full,
    /// Noise and gain: no loudspeaker is near.
    WithoutEcho,
    /// Nothing: music.
    Raw,
}

/// Cleans one microphone.
pub struct Canceller(AudioProcessing);

impl Canceller {
    /// What does this treatment; `None` if there is nothing to do.
    pub fn new(treatment: Treatment) -> Option<Self> {
        let echo_canceller = match treatment {
            Treatment::Full => Some(EchoCanceller::default()),
            Treatment::WithoutEcho => None,
            Treatment::Raw => return None,
        };
        let pipeline =
            Pipeline { maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz, ..Pipeline::default() };
        let gain = GainController2 { adaptive_digital: Some(AdaptiveDigital::default()), ..GainController2::default() };
        let config = Config {
            pipeline,
            echo_canceller,
            high_pass_filter: Some(HighPassFilter::default()),
            noise_suppression: Some(NoiseSuppression::default()),
            gain_controller2: Some(gain),
            ..Config::default()
        };
        let stream = StreamConfig::new(SAMPLE_RATE, 1);
        let processing = AudioProcessing::builder().config(config).capture_config(stream).render_config(stream).build();
        Some(Canceller(processing))
    }

    /// This is played now.
    pub fn hear_played(&mut self, block: &Block) {
        let mut unused = *block;
        if let Err(error) = self.0.process_render_i16(block, &mut unused) {
            tracing::debug!(?error, "the echo canceller refuses what is played");
        }
    }

    /// What remains of a captured block.
    pub fn clean(&mut self, block: &Block) -> Block {
        let mut cleaned = *block;
        if let Err(error) = self.0.process_capture_i16(block, &mut cleaned) {
            tracing::debug!(?error, "the echo canceller refuses what was captured");
        }
        cleaned
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canceller(…)")
    }
}
