//! Opus through `ropus`, written in Rust.

use ropus::{Application, Bitrate, Channels, DecodeMode, InbandFec};

use super::Repair;
use crate::codec::CodecError;
use crate::params::SAMPLE_RATE;

pub(super) struct Encoder(ropus::Encoder);

impl Encoder {
    pub(super) fn new(channels: u8, complexity: u8) -> Result<Self, CodecError> {
        let encoder = ropus::Encoder::builder(SAMPLE_RATE, channels_of(channels), Application::Voip)
            .complexity(complexity)
            .build();
        encoder.map(Encoder).map_err(failed("set-up"))
    }

    pub(super) fn encode(&mut self, samples: &[f32], packet: &mut [u8]) -> Result<usize, CodecError> {
        self.0.encode_float(samples, packet).map_err(failed("encoding"))
    }

    pub(super) fn set_bitrate(&mut self, bits: u32) -> Result<(), CodecError> {
        self.0.set_bitrate(Bitrate::Bits(bits)).map_err(failed("bit rate"))
    }

    pub(super) fn set_expected_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        let fec = if percent > 0 { InbandFec::Enabled } else { InbandFec::Disabled };
        self.0.set_inband_fec(fec).map_err(failed("expected loss"))?;
        self.0.set_packet_loss_perc(percent).map_err(failed("expected loss"))
    }
}

pub(super) struct Decoder(ropus::Decoder);

impl Decoder {
    pub(super) fn new(channels: u8) -> Result<Self, CodecError> {
        let decoder = ropus::Decoder::new(SAMPLE_RATE, channels_of(channels));
        decoder.map(Decoder).map_err(failed("set-up"))
    }

    /// Samples per channel that came out; an empty packet is concealed.
    pub(super) fn decode(&mut self, packet: &[u8], out: &mut [f32], repair: Repair) -> Result<usize, CodecError> {
        let mode = match repair {
            Repair::None => DecodeMode::Normal,
            Repair::PacketBefore => DecodeMode::Fec,
        };
        self.0.decode_float(packet, out, mode).map_err(failed("decoding"))
    }
}

fn channels_of(channels: u8) -> Channels {
    if channels == 2 { Channels::Stereo } else { Channels::Mono }
}

fn failed<E: std::fmt::Display>(action: &'static str) -> impl Fn(E) -> CodecError {
    move |error| CodecError::Opus { action, reason: error.to_string() }
}
