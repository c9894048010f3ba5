//! What a track says of itself, in the words of the WebCodecs registry, so that pages and native code agree.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::params::{MAX_CODEC_LEN, MAX_DESCRIPTION_LEN, MAX_PICTURE_SIDE};
use crate::units::TrackId;

/// One camera, microphone, screen or file stream, as announced to every peer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Track {
    /// Unique among the tracks its peer ever announced in this room.
    pub id: TrackId,
    /// Sound or pictures, and their shape.
    pub kind: TrackKind,
    /// What it shows.
    pub source: TrackSource,
    /// Codec string of the WebCodecs registry, such as `avc1.42e01f`, `vp09.00.10.08`, `av01.0.04M.08` or `opus`.
    pub codec: String,
    /// The codec's out-of-band bytes as WebCodecs defines `description`: `avcC` for H.264 in length-prefixed form,
    /// `OpusHead` for Opus; empty where the stream is self-contained (H.264 Annex B, VP8).
    pub description: Bytes,
    /// The sender's time of day at capture time 0: microseconds since 1970. Useful only where clocks agree.
    pub epoch_unix_us: u64,
}

/// Sound or pictures, and their shape.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum TrackKind {
    /// Sound.
    Audio {
        /// Samples a second, such as 48000.
        sample_rate: u32,
        /// 1 for mono, 2 for stereo.
        channels: u8,
    },
    /// Pictures.
    Video {
        /// Pixels a line.
        width: u16,
        /// Lines.
        height: u16,
        /// Thousandths of a frame a second, such as 29970; 0 when unknown.
        millihertz: u32,
    },
}

impl TrackKind {
    /// Whether this is sound.
    pub fn is_audio(&self) -> bool {
        matches!(self, TrackKind::Audio { .. })
    }
}

/// What a track shows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum TrackSource {
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A screen or a window, or its sound.
    Screen,
    /// A file or standard input.
    File,
    /// The synthetic picture or tone.
    TestPattern,
}

/// Whether decoding can start at a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameKind {
    /// Decoding can start here. Every frame of sound is a key frame.
    Key,
    /// Decoding needs earlier frames.
    Delta,
}

/// Why an announced track is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrackError {
    /// The codec string is longer than any real one.
    #[error("codec string of {0} bytes; at most {MAX_CODEC_LEN} are allowed")]
    CodecTooLong(usize),
    /// The description is longer than any real one.
    #[error("codec description of {0} bytes; at most {MAX_DESCRIPTION_LEN} are allowed")]
    DescriptionTooLong(usize),
    /// The picture is empty or too large.
    #[error("picture of {0}×{1}; each side must be 1 to {MAX_PICTURE_SIDE}")]
    PictureSize(u16, u16),
    /// The sound's shape cannot be.
    #[error("sound with {0} channels at {1} Hz; 1 to 8 channels at 8000 to 192000 Hz are allowed")]
    SoundShape(u8, u32),
}

impl Track {
    /// Checks every bound a peer could break.
    ///
    /// # Errors
    /// Names the first bound that is broken, with the value found.
    pub fn check(&self) -> Result<(), TrackError> {
        if self.codec.len() > MAX_CODEC_LEN {
            return Err(TrackError::CodecTooLong(self.codec.len()));
        }
        if self.description.len() > MAX_DESCRIPTION_LEN {
            return Err(TrackError::DescriptionTooLong(self.description.len()));
        }
        match self.kind {
            TrackKind::Video { width, height, .. }
                if width == 0 || height == 0 || width > MAX_PICTURE_SIDE || height > MAX_PICTURE_SIDE =>
            {
                Err(TrackError::PictureSize(width, height))
            }
            TrackKind::Audio { sample_rate, channels }
                if !(1..=8).contains(&channels) || !(8000..=192_000).contains(&sample_rate) =>
            {
                Err(TrackError::SoundShape(channels, sample_rate))
            }
            TrackKind::Video { .. } | TrackKind::Audio { .. } => Ok(()),
        }
    }
}
