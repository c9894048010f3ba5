//! Opus through the reference library, with its deep concealment.

use opusic_c::{Application, Bitrate, Channels, ErrorCode, InbandFec, SampleRate};

use super::Repair;
use crate::codec::CodecError;
use crate::params::OPUS_CONCEALMENT;

pub(super) struct Encoder(opusic_c::Encoder);

impl Encoder {
    pub(super) fn new(channels: u8, complexity: u8) -> Result<Self, CodecError> {
        let encoder = opusic_c::Encoder::new(channels_of(channels), SampleRate::Hz48000, Application::Voip);
        let mut encoder = encoder.map_err(failed("set-up"))?;
        encoder.set_complexity(complexity).map_err(failed("set-up"))?;
        Ok(Encoder(encoder))
    }

    pub(super) fn encode(&mut self, samples: &[f32], packet: &mut [u8]) -> Result<usize, CodecError> {
        self.0.encode_float_to_slice(samples, packet).map_err(failed("encoding"))
    }

    pub(super) fn set_bitrate(&mut self, bits: u32) -> Result<(), CodecError> {
        self.0.set_bitrate(Bitrate::Value(bits)).map_err(failed("bit rate"))
    }

    pub(super) fn set_expected_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        let fec = if percent > 0 { InbandFec::Mode1 } else { InbandFec::Off };
        self.0.set_inband_fec(fec).map_err(failed("expected loss"))?;
        self.0.set_packet_loss(percent).map_err(failed("expected loss"))
    }
}

pub(super) struct Decoder(opusic_c::Decoder);

impl Decoder {
    pub(super) fn new(channels: u8) -> Result<Self, CodecError> {
        Self::with_complexity(channels, OPUS_CONCEALMENT)
    }

    fn with_complexity(channels: u8, complexity: u8) -> Result<Self, CodecError> {
        let decoder = opusic_c::Decoder::new(channels_of(channels), SampleRate::Hz48000);
        let mut decoder = decoder.map_err(failed("set-up"))?;
        decoder.set_complexity(complexity).map_err(failed("set-up"))?;
        Ok(Decoder(decoder))
    }

    /// Samples per channel that came out; an empty packet is concealed.
    pub(super) fn decode(&mut self, packet: &[u8], out: &mut [f32], repair: Repair) -> Result<usize, CodecError> {
        self.0.decode_float_to_slice(packet, out, repair == Repair::PacketBefore).map_err(failed("decoding"))
    }
}

fn channels_of(channels: u8) -> Channels {
    if channels == 2 { Channels::Stereo } else { Channels::Mono }
}

fn failed(action: &'static str) -> impl Fn(ErrorCode) -> CodecError {
    move |error| CodecError::Opus { action, reason: error.message().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::OPUS_COMPLEXITY;

    #[test]
    fn a_loss_is_concealed_by_the_network_and_nothing_else_changes() {
        let (mut ours, mut plain) = (Decoder::new(1).unwrap(), Decoder::with_complexity(1, 0).unwrap());
        let mut encoder = Encoder::new(1, OPUS_COMPLEXITY).unwrap();
        encoder.set_bitrate(32_000).unwrap();
        for span in 0..20 {
            let mut packet = [0; 1275];
            let len = encoder.encode(&glide(span), &mut packet).unwrap();
            assert_eq!(run(&mut ours, &packet[..len]), run(&mut plain, &packet[..len]));
        }
        let (ours, plain) = (run(&mut ours, &[]), run(&mut plain, &[]));
        assert_ne!(ours, plain, "the network is not compiled in");
        assert!(loudness(&ours) > 0.5 * loudness(&glide(20)), "{}", loudness(&ours));
    }

    fn run(decoder: &mut Decoder, packet: &[u8]) -> Vec<f32> {
        let mut samples = vec![0.0; 960];
        assert_eq!(decoder.decode(packet, &mut samples, Repair::None).unwrap(), 960);
        samples
    }

    /// A voice that rises from 150 Hz on, with overtones.
    fn glide(span: usize) -> Vec<f32> {
        let sample = |index: usize| {
            let at = (span * 960 + index) as f32 / 48_000.0;
            let phase = (150.0 + 60.0 * at) * at * std::f32::consts::TAU;
            0.2 * (phase.sin() + 0.5 * (2.0 * phase).sin() + 0.3 * (5.0 * phase).sin())
        };
        (0..960).map(sample).collect()
    }

    fn loudness(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }
}
