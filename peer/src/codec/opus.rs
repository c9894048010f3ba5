//! Opus: 48 kHz, mono or stereo, 10 or 20 ms a packet.
//!
//! One library out of two does the work, `ropus` or (feature `libopus`) the reference one; both come behind the same
//! few functions, and nothing outside this module can tell which it is.

#[cfg(feature = "libopus")]
#[path = "opus_libopus.rs"]
mod library;
#[cfg(not(feature = "libopus"))]
#[path = "opus_ropus.rs"]
mod library;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use meipo::units::Bitrate;

use super::{AudioDecoder, AudioEncoder, CodecError};
use crate::params::{MAX_OPUS_DURATION, MAX_OPUS_PACKET, OPUS_COMPLEXITY, SAMPLE_RATE};

/// How much sound goes into one packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SoundSpan {
    /// 10 ms: less delay, more packets.
    Ms10,
    /// 20 ms: what calls use.
    Ms20,
}

impl SoundSpan {
    /// The length in time.
    pub const fn duration(self) -> Duration {
        match self {
            SoundSpan::Ms10 => Duration::from_millis(10),
            SoundSpan::Ms20 => Duration::from_millis(20),
        }
    }
}

/// What an encoder of sound is made for.
#[derive(Clone, Copy, Debug)]
pub struct AudioSettings {
    /// 1 for mono, 2 for stereo.
    pub channels: u8,
    /// How much sound goes into one packet.
    pub span: SoundSpan,
    /// The rate to begin with.
    pub bitrate: Bitrate,
    /// How many packets in a hundred are expected to be lost; above 0, each carries a copy of the one before.
    pub expected_loss: u8,
}

/// Samples in, Opus packets out.
pub struct OpusEncoder {
    library: library::Encoder,
    span_len: usize,
}

impl OpusEncoder {
    /// An encoder for speech at the settings given.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(settings: &AudioSettings) -> Result<Self, CodecError> {
        check_channels(settings.channels)?;
        let mut encoder = OpusEncoder {
            library: library::Encoder::new(settings.channels, OPUS_COMPLEXITY)?,
            span_len: samples_in(settings.span.duration()) * usize::from(settings.channels),
        };
        encoder.set_bitrate(settings.bitrate)?;
        encoder.set_expected_loss(settings.expected_loss)?;
        Ok(encoder)
    }
}

impl AudioEncoder for OpusEncoder {
    fn encode(&mut self, samples: &[f32]) -> Result<Bytes, CodecError> {
        if samples.len() != self.span_len {
            return Err(CodecError::Setting {
                what: "sound",
                found: samples.len() as u64,
                allowed: "exactly one span of samples is encoded at a time",
            });
        }
        let mut packet = vec![0; MAX_OPUS_PACKET];
        let len = self.library.encode(samples, &mut packet)?;
        packet.truncate(len);
        Ok(packet.into())
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), CodecError> {
        let bits = bitrate.as_bits();
        match u32::try_from(bits) {
            Ok(bits @ 6000..=510_000) => self.library.set_bitrate(bits),
            Ok(_) | Err(_) => {
                Err(CodecError::Setting { what: "bit rate", found: bits, allowed: "Opus takes 6 to 510 kb/s" })
            }
        }
    }

    fn set_expected_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        if percent > 100 {
            return Err(CodecError::Setting {
                what: "expected loss in percent",
                found: percent.into(),
                allowed: "0 to 100 are possible",
            });
        }
        self.library.set_expected_loss(percent)
    }

    fn span_len(&self) -> usize {
        self.span_len
    }

    fn lookahead(&self) -> u16 {
        OPUS_LOOKAHEAD
    }
}

/// Opus packets in, samples out.
pub struct OpusDecoder {
    library: library::Decoder,
    channels: u8,
    /// Samples per channel in the last packet: how long a missing one is taken to be.
    last: usize,
}

impl OpusDecoder {
    /// A decoder that gives 48 kHz sound with this many channels, whatever the packets hold.
    ///
    /// # Errors
    /// When `channels` is neither 1 nor 2.
    pub fn new(channels: u8) -> Result<Self, CodecError> {
        check_channels(channels)?;
        Ok(OpusDecoder {
            library: library::Decoder::new(channels)?,
            channels,
            last: samples_in(SoundSpan::Ms20.duration()),
        })
    }

    /// Decodes into a buffer for `len` samples per channel and cuts it to what came out.
    fn run(&mut self, packet: &[u8], len: usize, repair: Repair) -> Result<Vec<f32>, CodecError> {
        let channels = usize::from(self.channels);
        let mut samples = vec![0.0; len * channels];
        let decoded = self.library.decode(packet, &mut samples, repair)?;
        samples.truncate(decoded * channels);
        Ok(samples)
    }
}

impl AudioDecoder for OpusDecoder {
    fn decode(&mut self, packet: &[u8]) -> Result<Vec<f32>, CodecError> {
        if packet.is_empty() {
            return Err(CodecError::Opus { action: "decoding", reason: "the packet is empty".to_owned() });
        }
        let samples = self.run(packet, samples_in(MAX_OPUS_DURATION), Repair::None)?;
        self.last = samples.len() / usize::from(self.channels);
        Ok(samples)
    }

    fn conceal(&mut self) -> Result<Vec<f32>, CodecError> {
        self.run(&[], self.last, Repair::None)
    }

    fn decode_fec(&mut self, packet: &[u8]) -> Result<Vec<f32>, CodecError> {
        self.run(packet, self.last, Repair::PacketBefore)
    }

    fn channels(&self) -> u8 {
        self.channels
    }
}

impl fmt::Debug for OpusEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpusEncoder").field("span_len", &self.span_len).finish_non_exhaustive()
    }
}

impl fmt::Debug for OpusDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpusDecoder").field("channels", &self.channels).finish_non_exhaustive()
    }
}

/// Whether a packet is decoded for itself or for the copy of its predecessor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Repair {
    None,
    PacketBefore,
}

/// The header that containers and `description` carry (RFC 7845 §5.1), for an encoder of this module.
pub fn opus_head(channels: u8, pre_skip: u16) -> Bytes {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(channels);
    head.extend(pre_skip.to_le_bytes());
    head.extend(SAMPLE_RATE.to_le_bytes());
    head.extend([0, 0, 0]);
    head.into()
}

/// Samples per channel by which Opus output lags its input at 48 kHz: 6.5 ms (RFC 7845 §4.2 and libopus).
pub const OPUS_LOOKAHEAD: u16 = 312;

/// Samples per channel in `span`.
fn samples_in(span: Duration) -> usize {
    let samples = span.as_micros() * u128::from(SAMPLE_RATE) / 1_000_000;
    usize::try_from(samples).unwrap_or(usize::MAX)
}

/// Opus in one stream has one or two channels.
fn check_channels(channels: u8) -> Result<(), CodecError> {
    match channels {
        1 | 2 => Ok(()),
        _ => Err(CodecError::Setting { what: "channels", found: channels.into(), allowed: "1 and 2 are possible" }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: AudioSettings =
        AudioSettings { channels: 1, span: SoundSpan::Ms20, bitrate: Bitrate::from_kilobits(32), expected_loss: 10 };

    #[test]
    fn a_tone_comes_back_as_loud_as_it_was() {
        let (mut encoder, mut decoder) = pair(SETTINGS);
        let mut out = Vec::new();
        for span in 0..20 {
            out.extend(decoder.decode(&encoder.encode(&tone(span, 960)).unwrap()).unwrap());
        }
        assert_eq!(out.len(), 20 * 960);
        assert!((loudness(&out[9600..]) / loudness(&tone(0, 9600)) - 1.0).abs() < 0.2);
    }

    #[test]
    fn a_lost_packet_is_restored_from_the_next_one() {
        let (mut encoder, mut decoder) = pair(SETTINGS);
        let packets: Vec<_> = (0..20).map(|span| encoder.encode(&tone(span, 960)).unwrap()).collect();
        for packet in &packets[..18] {
            decoder.decode(packet).unwrap();
        }
        let restored = decoder.decode_fec(&packets[19]).unwrap();
        assert_eq!(restored.len(), 960);
        assert!(loudness(&restored) > 0.3 * loudness(&tone(0, 960)), "{}", loudness(&restored));
    }

    #[test]
    fn concealment_is_as_long_as_the_last_packet() {
        let (mut encoder, mut decoder) = pair(AudioSettings { span: SoundSpan::Ms10, ..SETTINGS });
        decoder.decode(&encoder.encode(&tone(0, 480)).unwrap()).unwrap();
        assert_eq!(decoder.conceal().unwrap().len(), 480);
    }

    #[test]
    fn stereo_stays_interleaved() {
        let (mut encoder, mut decoder) = pair(AudioSettings { channels: 2, ..SETTINGS });
        assert_eq!(encoder.span_len(), 1920);
        let packet = encoder.encode(&vec![0.1; 1920]).unwrap();
        assert_eq!(decoder.decode(&packet).unwrap().len(), 1920);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        assert!(OpusEncoder::new(&AudioSettings { channels: 3, ..SETTINGS }).is_err());
        assert!(OpusEncoder::new(&AudioSettings { bitrate: Bitrate::from_bits(100), ..SETTINGS }).is_err());
        assert!(OpusEncoder::new(&SETTINGS).unwrap().encode(&[0.0; 7]).is_err());
    }

    proptest! {
        #[test]
        fn hostile_packets_never_panic(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = OpusDecoder::new(1).unwrap();
            let _ = decoder.decode(&packet);
            let _ = decoder.decode_fec(&packet);
            let _ = decoder.conceal();
        }
    }

    fn pair(settings: AudioSettings) -> (OpusEncoder, OpusDecoder) {
        (OpusEncoder::new(&settings).unwrap(), OpusDecoder::new(settings.channels).unwrap())
    }

    /// A voice-like tone of 200 Hz with overtones, so that the encoder takes its speech mode.
    fn tone(span: usize, len: usize) -> Vec<f32> {
        let sample = |index: usize| {
            let phase = (span * len + index) as f32 * 200.0 / 48_000.0 * std::f32::consts::TAU;
            0.2 * (phase.sin() + 0.5 * (2.0 * phase).sin() + 0.3 * (5.0 * phase).sin())
        };
        (0..len).map(sample).collect()
    }

    fn loudness(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }
}
