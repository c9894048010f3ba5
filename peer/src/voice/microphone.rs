//! What is said here: 10 ms blocks of samples in, Opus frames of 10 or 20 ms out.
//!
//! A frame carries the capture time of its first sample. When the microphone pauses, half a frame is dropped rather than
//! joined to what is said a while later.

use std::time::Duration;

use bytes::Bytes;
use meipo::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use meipo::units::{CaptureTime, FrameNumber, TrackId};

use super::Block;
use crate::codec::{AudioEncoder, AudioSettings, CodecError, OPUS_LOOKAHEAD, OpusEncoder, SoundSpan, opus_head};
use crate::params::{MICROPHONE_GAP, SAMPLE_RATE, VOICE_EXPECTED_LOSS, VOICE_RATE};

/// One microphone, or the sound of a screen.
#[derive(Debug)]
pub struct Microphone {
    track: TrackId,
    encoder: OpusEncoder,
    number: FrameNumber,
    pending: Vec<f32>,
    /// When the first of the pending samples was captured.
    captured: CaptureTime,
}

/// What a microphone's track says of itself.
pub fn sound_track(id: TrackId, source: TrackSource, epoch_unix_us: u64) -> Track {
    Track {
        id,
        kind: TrackKind::Audio { sample_rate: SAMPLE_RATE, channels: 1 },
        source,
        codec: "opus".to_owned(),
        description: opus_head(1, OPUS_LOOKAHEAD),
        epoch_unix_us,
    }
}

impl Microphone {
    /// A microphone whose frames belong to `track` and last `span`.
    ///
    /// # Errors
    /// When the encoder refuses its settings.
    pub fn new(track: TrackId, span: SoundSpan) -> Result<Self, CodecError> {
        let encoder = OpusEncoder::new(&AudioSettings {
            channels: 1,
            span,
            bitrate: VOICE_RATE,
            expected_loss: VOICE_EXPECTED_LOSS,
        })?;
        let (number, captured) = (FrameNumber::default(), CaptureTime::default());
        Ok(Microphone { track, encoder, number, pending: Vec::new(), captured })
    }

    /// Takes a block; each completes a frame of 10 ms, every second one of 20 ms.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn push(&mut self, block: &Block, captured: CaptureTime) -> Result<Option<Frame>, CodecError> {
        if !self.pending.is_empty() && !self.continues_at(captured) {
            self.pending.clear();
        }
        if self.pending.is_empty() {
            self.captured = captured;
        }
        self.pending.extend(block.iter().map(|sample| f32::from(*sample) / FULL_SCALE));
        if self.pending.len() < self.encoder.span_len() {
            return Ok(None);
        }
        let data = self.encoder.encode(&self.pending);
        self.pending.clear();
        Ok(self.frame(data?))
    }

    fn continues_at(&self, captured: CaptureTime) -> bool {
        let since = captured.as_micros().saturating_sub(self.captured.as_micros());
        Duration::from_micros(since) <= SoundSpan::Ms10.duration() + MICROPHONE_GAP
    }

    /// `None` after the last number there is.
    fn frame(&mut self, data: Bytes) -> Option<Frame> {
        let number = self.number;
        self.number = number.next()?;
        let (kind, captured) = (FrameKind::Key, self.captured);
        Some(Frame { track: self.track, number, captured, kind, temporal_layer: 0, needs: 0, data })
    }
}

/// What a sample of 1.0 is in 16 bits.
pub(crate) const FULL_SCALE: f32 = 32_768.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_make_a_frame_that_carries_the_time_of_the_first() {
        let mut microphone = Microphone::new(TrackId(3), SoundSpan::Ms20).unwrap();
        assert_eq!(microphone.push(&[0; 480], at(5)).unwrap(), None);
        let frame = microphone.push(&[0; 480], at(15)).unwrap().unwrap();
        assert_eq!((frame.track, frame.number, frame.captured), (TrackId(3), FrameNumber(0), at(5)));
        microphone.push(&[0; 480], at(25)).unwrap();
        let frame = microphone.push(&[0; 480], at(35)).unwrap().unwrap();
        assert_eq!((frame.number, frame.captured), (FrameNumber(1), at(25)));
    }

    #[test]
    fn a_short_frame_is_complete_with_each_block() {
        let mut microphone = Microphone::new(TrackId(0), SoundSpan::Ms10).unwrap();
        for block in 0..3 {
            let frame = microphone.push(&[0; 480], at(block * 10)).unwrap().unwrap();
            assert_eq!((u64::from(frame.number.0), frame.captured), (block, at(block * 10)));
        }
    }

    #[test]
    fn a_pause_joins_nothing() {
        let mut microphone = Microphone::new(TrackId(0), SoundSpan::Ms20).unwrap();
        microphone.push(&[0; 480], at(0)).unwrap();
        assert_eq!(microphone.push(&[0; 480], at(900)).unwrap(), None);
        assert_eq!(microphone.push(&[0; 480], at(910)).unwrap().unwrap().captured, at(900));
    }

    fn at(millis: u64) -> CaptureTime {
        CaptureTime::from_micros(millis * 1000)
    }
}
