//! Pictures of the pattern, drawn and encoded on a thread of their own, as much as the way carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use meipo::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use meipo::params::SMALLER_MOST;
use meipo::units::{Bitrate, CaptureTime, FrameNumber, Time, TrackId};
use tokio::sync::mpsc;

use super::steps::{Step, Steps};
use super::{News, PICTURES, SMALLER, Settings};
use crate::args::PatternSpec;
use crate::codec::{EncodedPicture, H264Encoder, Picture, VideoEncoder, VideoSettings};
use crate::feed::Offered;
use crate::params::{PATTERN_KEY_INTERVAL, PATTERN_MIN_SIDE, TIME_CODE_MIN_WIDTH};
use crate::pattern::TestPicture;

/// What one encoder is to do with its next picture.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) key: AtomicBool,
    /// Bits a second that the way carries; zero while nobody needs these pictures.
    pub(super) bitrate: AtomicU64,
}

/// Draws and encodes one size of the pattern.
pub(super) struct Drawing {
    pub(super) track: TrackId,
    pub(super) wishes: Arc<Wishes>,
    settings: Settings,
    epoch_unix_us: u64,
    steps: Steps,
    /// As large as was asked for; what is smaller is made of it, for that is what a camera gives.
    pictures: TestPicture,
    easel: Easel,
}

/// What encodes at one step.
struct Easel {
    step: Step,
    encoder: H264Encoder,
    /// What the encoder was told last.
    told: Bitrate,
}

impl Drawing {
    /// Of what was asked for.
    pub(super) fn whole(settings: &Settings, epoch_unix_us: u64) -> anyhow::Result<Self> {
        Drawing::new(PICTURES, settings, settings, epoch_unix_us)
    }

    /// `asked` is what is drawn, `settings` what is made of it.
    fn new(track: TrackId, asked: &Settings, settings: &Settings, epoch_unix_us: u64) -> anyhow::Result<Self> {
        let ceiling = settings.bitrate;
        let mut steps = Steps::new(settings.spec, ceiling);
        let largest = steps.follow(ceiling, Time::ZERO);
        let easel = Easel::new(largest, settings, ceiling)?;
        let pictures = TestPicture::new(asked.spec.width, asked.spec.height, asked.hue);
        let wishes = Wishes { key: AtomicBool::new(false), bitrate: AtomicU64::new(ceiling.as_bits()) };
        Ok(Drawing { track, wishes: Arc::new(wishes), settings: *settings, epoch_unix_us, steps, pictures, easel })
    }

    /// The same in half the width and height, at rest; `None` where that would be too small to be of use.
    pub(super) fn smaller(asked: &Settings, epoch_unix_us: u64) -> anyhow::Result<Option<Self>> {
        let PatternSpec { width, height, rate } = asked.spec;
        if width / 2 < TIME_CODE_MIN_WIDTH {
            return Ok(None);
        }
        // The encoder wants even sides.
        let spec = PatternSpec { width: width / 4 * 2, height: (height / 4 * 2).max(PATTERN_MIN_SIDE), rate };
        let settings = Settings { spec, bitrate: asked.bitrate.min(SMALLER_MOST), ..*asked };
        let drawing = Drawing::new(SMALLER, asked, &settings, epoch_unix_us)?;
        drawing.wishes.bitrate.store(0, Ordering::Relaxed);
        Ok(Some(drawing))
    }

    /// What the pictures are at present.
    pub(super) fn announcement(&self) -> Track {
        let Step { width, height, one_in } = self.easel.step;
        Track {
            id: self.track,
            kind: TrackKind::Video { width, height, millihertz: millihertz(&self.settings, one_in) },
            source: TrackSource::TestPattern,
            codec: self.easel.encoder.codec().to_owned(),
            description: bytes::Bytes::new(),
            epoch_unix_us: self.epoch_unix_us,
        }
    }

    /// Draws a picture for each tick that is its turn, until nobody takes them.
    pub(super) fn run(mut self, mut ticks: mpsc::Receiver<CaptureTime>, news: &News) -> anyhow::Result<()> {
        let mut number = FrameNumber::default();
        let mut key_at = CaptureTime::default();
        let mut tick = 0_u32;
        let mut has_rested = false;
        while let Some(captured) = ticks.blocking_recv() {
            tick = tick.wrapping_add(1);
            let wanted = Bitrate::from_bits(self.wishes.bitrate.load(Ordering::Relaxed)).min(self.settings.bitrate);
            if wanted == Bitrate::default() {
                has_rested = true;
                continue;
            }
            if let Some(track) = self.follow(wanted, captured)?
                && news.blocking_send(Ok(Offered::Track(track))).is_err()
            {
                return Ok(());
            }
            if !tick.is_multiple_of(self.easel.step.one_in) {
                continue;
            }
            let since_key = captured.as_micros().saturating_sub(key_at.as_micros());
            let is_key_due = Duration::from_micros(since_key) >= PATTERN_KEY_INTERVAL;
            if self.wishes.key.swap(false, Ordering::Relaxed) || is_key_due || std::mem::take(&mut has_rested) {
                self.easel.encoder.force_key();
            }
            let drawn_unix_us = self.epoch_unix_us.saturating_add(captured.as_micros());
            let encoded = self.easel.encode(&self.pictures.draw(number.0, drawn_unix_us), captured)?;
            if encoded.is_key {
                key_at = captured;
            }
            let frame = frame_of(self.track, encoded, number, captured);
            let Some(next) = number.next() else { return Ok(()) };
            number = next;
            if news.blocking_send(Ok(Offered::Frame(frame))).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Draws from now on what the rate is enough for: what to announce if that is another size or rate. The smaller size
    /// is announced to nobody.
    fn follow(&mut self, wanted: Bitrate, now: CaptureTime) -> anyhow::Result<Option<Track>> {
        let step = self.steps.follow(wanted, Time::from_micros(now.as_micros()));
        if step == self.easel.step {
            self.easel.follow(wanted)?;
            return Ok(None);
        }
        self.easel = Easel::new(step, &self.settings, wanted)?;
        Ok((self.track == PICTURES).then(|| self.announcement()))
    }
}

impl Easel {
    fn new(step: Step, settings: &Settings, told: Bitrate) -> anyhow::Result<Self> {
        let Step { width, height, one_in } = step;
        let encoder = H264Encoder::new(&VideoSettings {
            width,
            height,
            millihertz: millihertz(settings, one_in),
            bitrate: told,
            max_bitrate: settings.bitrate,
            temporal_layers: 2,
        })?;
        Ok(Easel { step, encoder, told })
    }

    fn encode(&mut self, picture: &Picture, captured: CaptureTime) -> anyhow::Result<EncodedPicture> {
        let Step { width, height, .. } = self.step;
        if (picture.width(), picture.height()) == (width.into(), height.into()) {
            return Ok(self.encoder.encode(picture, captured)?);
        }
        Ok(self.encoder.encode(&picture.shrunk(width, height), captured)?)
    }

    /// Tells the encoder the rate when it has changed by more than a little.
    fn follow(&mut self, wanted: Bitrate) -> anyhow::Result<()> {
        let (wanted_bits, told) = (wanted.as_bits(), self.told.as_bits());
        if wanted_bits.abs_diff(told) * 30 > told {
            self.encoder.set_bitrate(wanted)?;
            self.told = wanted;
        }
        Ok(())
    }
}

/// Thousandths of a picture a second; the encoder takes no less than one picture.
fn millihertz(settings: &Settings, one_in: u32) -> u32 {
    (u32::from(settings.spec.rate) * 1000 / one_in).max(1000)
}

fn frame_of(track: TrackId, encoded: EncodedPicture, number: FrameNumber, captured: CaptureTime) -> Frame {
    Frame {
        track,
        number,
        captured,
        kind: if encoded.is_key { FrameKind::Key } else { FrameKind::Delta },
        temporal_layer: encoded.temporal_layer,
        needs: encoded.needs,
        data: encoded.data,
    }
}
