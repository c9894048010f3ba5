//! Opus through the reference library.

use opus::{Application, Bitrate, Channels};

use super::Repair;
use crate::codec::CodecError;
use crate::params::SAMPLE_RATE;

pub(super) struct Encoder(opus::Encoder);

impl Encoder {
    pub(super) fn new(channels: u8, complexity: u8) -> Result<Self, CodecError> {
        let encoder = opus::Encoder::new(SAMPLE_RATE, channels_of(channels), Application::Voip);
        let mut encoder = encoder.map_err(failed("set-up"))?;
        encoder.set_complexity(complexity.into()).map_err(failed("set-up"))?;
        Ok(Encoder(encoder))
    }

    pub(super) fn encode(&mut self, samples: &[f32], packet: &mut [u8]) -> Result<usize, CodecError> {
        self.0.encode_float(samples, packet).map_err(failed("encoding"))
    }

    pub(super) fn set_bitrate(&mut self, bits: u32) -> Result<(), CodecError> {
        let bits = i32::try_from(bits).unwrap_or(i32::MAX);
        self.0.set_bitrate(Bitrate::Bits(bits)).map_err(failed("bit rate"))
    }

    pub(super) fn set_expected_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        self.0.set_inband_fec(percent > 0).map_err(failed("expected loss"))?;
        self.0.set_packet_loss_perc(percent.into()).map_err(failed("expected loss"))
    }
}

pub(super) struct Decoder(opus::Decoder);

impl Decoder {
    pub(super) fn new(channels: u8) -> Result<Self, CodecError> {
        let decoder = opus::Decoder::new(SAMPLE_RATE, channels_of(channels));
        decoder.map(Decoder).map_err(failed("set-up"))
    }

    /// Samples per channel that came out; an empty packet is concealed.
    pub(super) fn decode(&mut self, packet: &[u8], out: &mut [f32], repair: Repair) -> Result<usize, CodecError> {
        self.0.decode_float(packet, out, repair == Repair::PacketBefore).map_err(failed("decoding"))
    }
}

fn channels_of(channels: u8) -> Channels {
    if channels == 2 { Channels::Stereo } else { Channels::Mono }
}

fn failed<E: std::fmt::Display>(action: &'static str) -> impl Fn(E) -> CodecError {
    move |error| CodecError::Opus { action, reason: error.to_string() }
}
