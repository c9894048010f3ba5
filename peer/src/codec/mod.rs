//! Raw pictures and sound ⇄ encoded ones.
//!
//! In go raw pictures or samples, out come encoded ones, or the other way round. Encoded input comes from other
//! peers: whatever it holds, a decoder answers with an error, never with a panic and never with more memory than
//! one picture takes.

pub mod avc;
mod bits;
mod h264;
mod openh264_ffi;
mod opus;
mod picture;

use bytes::Bytes;
use meipo::media::{Track, TrackKind};
use meipo::units::{Bitrate, CaptureTime};

pub use h264::{H264Decoder, H264Encoder, VideoSettings};
pub use opus::{AudioSettings, OPUS_LOOKAHEAD, OpusDecoder, OpusEncoder, SoundSpan, opus_head};
pub use picture::{Picture, PlanesMut};

pub(crate) use bits::Bits;

/// Raw pictures in, encoded ones out.
pub trait VideoEncoder: Send {
    /// Encodes one picture; a picture that goes in always comes out.
    ///
    /// # Errors
    /// When the picture is not of the size the encoder was made for, or the encoder fails.
    fn encode(&mut self, picture: &Picture, captured: CaptureTime) -> Result<EncodedPicture, CodecError>;

    /// Makes the next picture a key frame.
    fn force_key(&mut self);

    /// Changes the rate from the next picture on, without a key frame; at most the ceiling given at the start.
    ///
    /// # Errors
    /// When the encoder refuses the rate.
    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), CodecError>;

    /// The codec string of the WebCodecs registry for what comes out.
    fn codec(&self) -> &str;
}

/// Encoded pictures in, raw ones out.
pub trait VideoDecoder: Send {
    /// Decodes the bytes of one frame. `None` while the decoder waits for more.
    ///
    /// # Errors
    /// When the bytes are damaged, or need a frame that never came: the next key frame heals it.
    fn decode(&mut self, data: &[u8]) -> Result<Option<Picture>, CodecError>;
}

/// Samples in, packets out.
pub trait AudioEncoder: Send {
    /// Encodes one span of sound: interleaved samples between −1 and 1.
    ///
    /// # Errors
    /// When `samples` is not exactly one span long.
    fn encode(&mut self, samples: &[f32]) -> Result<Bytes, CodecError>;

    /// Changes the rate from the next packet on.
    ///
    /// # Errors
    /// When the encoder refuses the rate.
    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), CodecError>;

    /// Says how many packets in a hundred are lost; above 0 each packet also carries a copy of the one before.
    ///
    /// # Errors
    /// When `percent` is above 100.
    fn set_expected_loss(&mut self, percent: u8) -> Result<(), CodecError>;

    /// How many samples, over all channels, [`encode`](Self::encode) takes.
    fn span_len(&self) -> usize;

    /// Samples per channel by which the sound comes out later than it went in.
    fn lookahead(&self) -> u16;
}

/// Packets in, samples out: interleaved, 48 kHz, as many channels as the track has.
pub trait AudioDecoder: Send {
    /// Decodes one packet.
    ///
    /// # Errors
    /// When the packet is damaged.
    fn decode(&mut self, packet: &[u8]) -> Result<Vec<f32>, CodecError>;

    /// Invents the sound of a packet that did not come, as long as the last one.
    ///
    /// # Errors
    /// When the decoder fails.
    fn conceal(&mut self) -> Result<Vec<f32>, CodecError>;

    /// Restores the packet *before* `packet` from the copy inside `packet`; invents it where there is no copy.
    ///
    /// # Errors
    /// When the packet is damaged.
    fn decode_fec(&mut self, packet: &[u8]) -> Result<Vec<f32>, CodecError>;

    /// 1 for mono, 2 for stereo.
    fn channels(&self) -> u8;
}

/// One encoded picture with what a frame must say of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EncodedPicture {
    /// The encoded bytes.
    pub data: Bytes,
    /// Whether decoding can start here.
    pub is_key: bool,
    /// Temporal layer, 0 for the base.
    pub temporal_layer: u8,
    /// How many pictures back the latest one lies that this one needs; 0 for none.
    pub needs: u8,
}

/// A decoder for the pictures of `track`.
///
/// # Errors
/// When the track is sound, or its codec cannot be decoded here.
pub fn video_decoder(track: &Track) -> Result<Box<dyn VideoDecoder>, CodecError> {
    match (track.kind, family(&track.codec)) {
        (TrackKind::Video { .. }, "avc1" | "avc3") => Ok(Box::new(H264Decoder::new(track)?)),
        (TrackKind::Video { .. } | TrackKind::Audio { .. }, _) => Err(CodecError::CannotDecode(track.codec.clone())),
    }
}

/// A decoder for the sound of `track`.
///
/// # Errors
/// When the track is pictures, its codec is not Opus, or it has more than two channels.
pub fn audio_decoder(track: &Track) -> Result<Box<dyn AudioDecoder>, CodecError> {
    match (track.kind, family(&track.codec)) {
        (TrackKind::Audio { channels, .. }, "opus") => Ok(Box::new(OpusDecoder::new(channels)?)),
        (TrackKind::Video { .. } | TrackKind::Audio { .. }, _) => Err(CodecError::CannotDecode(track.codec.clone())),
    }
}

/// What stands before the first dot of a codec string.
pub fn family(codec: &str) -> &str {
    codec.split_once('.').map_or(codec, |(family, _)| family)
}

/// Why something could not be encoded or decoded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A codec that only a browser decodes.
    #[error("{0} cannot be decoded here; H.264 (avc1) and Opus can, and a browser can also show vp8, vp09 and av01")]
    CannotDecode(String),
    /// Raw bytes that are not a picture of the size they claim.
    #[error("raw picture of {found} bytes; its size asks for {expected}")]
    PictureLength {
        /// Bytes given.
        found: usize,
        /// Bytes that a picture of this size has.
        expected: usize,
    },
    /// A picture this codec cannot take or will not decode.
    #[error("picture of {0}×{1}; {2}")]
    PictureSize(usize, usize, &'static str),
    /// The frame is larger than any real one.
    #[error("frame of {0} bytes; at most {max} are decoded", max = crate::params::MAX_ENCODED_PICTURE)]
    FrameTooLong(usize),
    /// The bytes are not H.264 as the track describes it.
    #[error("H.264: {0}")]
    Avc(#[from] avc::AvcError),
    /// The H.264 library gave up.
    #[error("H.264 {action} failed with code {code}")]
    H264 {
        /// What was tried.
        action: &'static str,
        /// The library's own code.
        code: i64,
    },
    /// The H.264 library could not decode a frame.
    #[error("H.264 frame does not decode: {0}")]
    H264Decode(String),
    /// The settings ask for what this codec does not do.
    #[error("{what} of {found}; {allowed}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// The value given.
        found: u64,
        /// What may be given.
        allowed: &'static str,
    },
    /// The Opus library gave up.
    #[error("Opus {action} failed: {reason}")]
    Opus {
        /// What was tried.
        action: &'static str,
        /// The library's own words.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use meipo::media::TrackSource;
    use meipo::units::TrackId;

    use super::*;

    #[test]
    fn a_codec_for_browsers_is_refused_with_what_can_be_decoded() {
        for codec in ["vp8", "vp09.00.10.08", "av01.0.04M.08"] {
            let error = video_decoder(&track(codec)).err().unwrap().to_string();
            assert!(error.starts_with(codec) && error.contains("H.264"), "{error}");
        }
    }

    #[test]
    fn sound_is_not_decoded_as_pictures() {
        assert!(audio_decoder(&track("opus")).is_err());
    }

    fn track(codec: &str) -> Track {
        Track {
            id: TrackId(0),
            kind: TrackKind::Video { width: 640, height: 480, millihertz: 30_000 },
            source: TrackSource::Camera,
            codec: codec.to_owned(),
            description: Bytes::new(),
            epoch_unix_us: 0,
        }
    }
}
