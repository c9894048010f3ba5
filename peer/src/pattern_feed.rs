//! The test pattern as a camera and a microphone would be: drawn and spoken in real time, encoded here.
//!
//! A ticker says when a picture or 20 ms of sound are due, on one clock for both; a thread for each draws and encodes.
//! An encoder that cannot keep up leaves pictures out rather than falling behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use meipo::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use meipo::net::clock::unix_micros_now;
use meipo::units::{Bitrate, CaptureTime, FrameNumber, TrackId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::args::PatternSpec;
use crate::codec::{
    AudioEncoder, AudioSettings, H264Encoder, OPUS_LOOKAHEAD, OpusEncoder, SoundSpan, VideoEncoder, VideoSettings,
    opus_head,
};
use crate::params::{
    ENCODER_BACKLOG, PATTERN_EXPECTED_LOSS, PATTERN_KEY_INTERVAL, PATTERN_SOUND_RATE, READ_AHEAD, SAMPLE_RATE,
};
use crate::pattern::{TestPicture, TestSound};

/// What the pattern looks and sounds like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Size and rate.
    pub spec: PatternSpec,
    /// Bits a second of the pictures.
    pub bitrate: Bitrate,
    /// Colour in degrees; also chooses the voice.
    pub hue: u16,
}

/// Asks encoders for key frames. Clones ask the same encoders.
#[derive(Clone, Debug, Default)]
pub struct KeyRequests {
    asked: BTreeMap<TrackId, Arc<AtomicBool>>,
}

impl KeyRequests {
    /// The next picture of the track is to be a key frame.
    pub fn ask(&self, track: TrackId) {
        if let Some(asked) = self.asked.get(&track) {
            asked.store(true, Ordering::Relaxed);
        }
    }
}

type Frames = mpsc::Sender<anyhow::Result<Frame>>;

/// Begins to draw and to speak; both end when nobody takes the frames.
///
/// # Errors
/// When an encoder refuses the settings, or the system gives no thread.
pub fn start(settings: &Settings) -> anyhow::Result<(Vec<Track>, mpsc::Receiver<anyhow::Result<Frame>>, KeyRequests)> {
    let PatternSpec { width, height, rate } = settings.spec;
    let video = H264Encoder::new(&VideoSettings {
        width,
        height,
        millihertz: u32::from(rate) * 1000,
        bitrate: settings.bitrate,
        max_bitrate: settings.bitrate,
        temporal_layers: 2,
    })?;
    let audio = OpusEncoder::new(&AudioSettings {
        channels: 1,
        span: SoundSpan::Ms20,
        bitrate: PATTERN_SOUND_RATE,
        expected_loss: PATTERN_EXPECTED_LOSS,
    })?;
    let epoch = unix_micros_now();
    let begin = Instant::now();
    let tracks = tracks(settings, video.codec(), epoch);
    let (frames, received) = mpsc::channel(READ_AHEAD);
    let key_asked = Arc::<AtomicBool>::default();
    let key_requests = KeyRequests { asked: BTreeMap::from([(PICTURES, key_asked.clone())]) };

    let pictures = TestPicture::new(width, height, settings.hue);
    let due = ticks(begin, Duration::from_secs(1) / u32::from(rate), ENCODER_BACKLOG);
    let sent = frames.clone();
    thread::Builder::new().name("drawing".to_owned()).spawn(move || {
        report(draw(due, &pictures, epoch, video, &key_asked, &sent), &sent);
    })?;
    // Sound that is left out is heard: it may queue for longer.
    let due = ticks(begin, SoundSpan::Ms20.duration(), READ_AHEAD);
    let sound = TestSound::new(u64::from(settings.hue), 1);
    thread::Builder::new().name("speaking".to_owned()).spawn(move || {
        report(speak(due, sound, audio, &frames), &frames);
    })?;
    Ok((tracks, received, key_requests))
}

fn tracks(settings: &Settings, codec: &str, epoch_unix_us: u64) -> Vec<Track> {
    let PatternSpec { width, height, rate } = settings.spec;
    let pictures = Track {
        id: PICTURES,
        kind: TrackKind::Video { width, height, millihertz: u32::from(rate) * 1000 },
        source: TrackSource::TestPattern,
        codec: codec.to_owned(),
        description: bytes::Bytes::new(),
        epoch_unix_us,
    };
    let sound = Track {
        id: SOUND,
        kind: TrackKind::Audio { sample_rate: SAMPLE_RATE, channels: 1 },
        source: TrackSource::TestPattern,
        codec: "opus".to_owned(),
        description: opus_head(1, OPUS_LOOKAHEAD),
        epoch_unix_us,
    };
    vec![pictures, sound]
}

/// Gives the capture time of each tick when it has come. A tick for which there is no room is left out.
fn ticks(begin: Instant, period: Duration, backlog: usize) -> mpsc::Receiver<CaptureTime> {
    let (sender, ticks) = mpsc::channel(backlog);
    tokio::spawn(async move {
        for number in 0.. {
            let since = period * number;
            sleep_until(begin + since).await;
            let captured = CaptureTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(captured) {
                return;
            }
        }
    });
    ticks
}

fn draw(
    mut ticks: mpsc::Receiver<CaptureTime>,
    pictures: &TestPicture,
    epoch: u64,
    mut encoder: H264Encoder,
    key_asked: &AtomicBool,
    frames: &Frames,
) -> anyhow::Result<()> {
    let mut number = FrameNumber::default();
    let mut key_at = CaptureTime::default();
    while let Some(captured) = ticks.blocking_recv() {
        let since_key = captured.as_micros().saturating_sub(key_at.as_micros());
        if key_asked.swap(false, Ordering::Relaxed) || Duration::from_micros(since_key) >= PATTERN_KEY_INTERVAL {
            encoder.force_key();
        }
        let picture = pictures.draw(number.0, epoch.saturating_add(captured.as_micros()));
        let encoded = encoder.encode(&picture, captured)?;
        if encoded.is_key {
            key_at = captured;
        }
        let frame = Frame {
            track: PICTURES,
            number,
            captured,
            kind: if encoded.is_key { FrameKind::Key } else { FrameKind::Delta },
            temporal_layer: encoded.temporal_layer,
            needs: encoded.needs,
            data: encoded.data,
        };
        let Some(next) = number.next() else { return Ok(()) };
        number = next;
        if frames.blocking_send(Ok(frame)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn speak(
    mut ticks: mpsc::Receiver<CaptureTime>,
    mut sound: TestSound,
    mut encoder: OpusEncoder,
    frames: &Frames,
) -> anyhow::Result<()> {
    let mut number = FrameNumber::default();
    while let Some(captured) = ticks.blocking_recv() {
        let data = encoder.encode(&sound.next_samples(encoder.span_len()))?;
        let kind = FrameKind::Key;
        let frame = Frame { track: SOUND, number, captured, kind, temporal_layer: 0, needs: 0, data };
        let Some(next) = number.next() else { return Ok(()) };
        number = next;
        if frames.blocking_send(Ok(frame)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Passes an encoder's failure on to whoever takes the frames.
fn report(result: anyhow::Result<()>, frames: &Frames) {
    if let Err(error) = result {
        let _ = frames.blocking_send(Err(error));
    }
}

const PICTURES: TrackId = TrackId(0);
const SOUND: TrackId = TrackId(1);
