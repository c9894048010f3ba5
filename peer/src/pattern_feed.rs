//! The test pattern as a camera and a microphone would be: drawn and spoken in real time, encoded here.
//!
//! Whoever has a narrow way gets the same picture in half the width and height, from an encoder of its own that runs only while
//! it is needed. A ticker says when a picture or 20 ms of sound are due, on one clock for both; a thread for each draws and encodes.
//! An encoder that cannot keep up leaves pictures out rather than falling behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use meipo::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use meipo::net::clock::unix_micros_now;
use meipo::params::SMALLER_MOST;
use meipo::units::{Bitrate, CaptureTime, FrameNumber, TrackId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::args::PatternSpec;
use crate::codec::{
    AudioEncoder, AudioSettings, EncodedPicture, H264Encoder, OPUS_LOOKAHEAD, OpusEncoder, SoundSpan, VideoEncoder,
    VideoSettings, opus_head,
};
use crate::params::{
    ENCODER_BACKLOG, PATTERN_EXPECTED_LOSS, PATTERN_KEY_INTERVAL, PATTERN_MIN_SIDE, PATTERN_SOUND_RATE, READ_AHEAD,
    SAMPLE_RATE, TIME_CODE_MIN_WIDTH,
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

/// Tells encoders what the way asks of them. Clones tell the same encoders.
#[derive(Clone, Debug, Default)]
pub struct EncoderControl {
    wishes: BTreeMap<TrackId, Arc<Wishes>>,
}

/// What one encoder is to do with its next picture.
#[derive(Debug)]
struct Wishes {
    key: AtomicBool,
    /// Bits a second that the way carries; zero while nobody needs these pictures.
    bitrate: AtomicU64,
}

impl EncoderControl {
    /// The next picture of the track is to be a key frame.
    pub fn want_key_frame(&self, track: TrackId) {
        if let Some(wishes) = self.wishes.get(&track) {
            wishes.key.store(true, Ordering::Relaxed);
        }
    }

    /// Pictures may take this much of the way.
    pub fn set_bitrate(&self, rate: Bitrate) {
        self.set_bitrate_of(PICTURES, rate);
    }

    /// The track whose pictures also come in a smaller size, and the track these come as.
    pub fn smaller(&self) -> Option<(TrackId, TrackId)> {
        self.wishes.contains_key(&SMALLER).then_some((PICTURES, SMALLER))
    }

    /// The smaller size is needed and may take this much, or is not needed.
    pub fn set_smaller_bitrate(&self, track: TrackId, rate: Option<Bitrate>) {
        self.set_bitrate_of(track, rate.unwrap_or_default());
    }

    fn set_bitrate_of(&self, track: TrackId, rate: Bitrate) {
        if let Some(wishes) = self.wishes.get(&track) {
            wishes.bitrate.store(rate.as_bits(), Ordering::Relaxed);
        }
    }
}

type Frames = mpsc::Sender<anyhow::Result<Frame>>;

/// Begins to draw and to speak; both end when nobody takes the frames.
///
/// # Errors
/// When an encoder refuses the settings, or the system gives no thread.
pub fn start(
    settings: &Settings,
) -> anyhow::Result<(Vec<Track>, mpsc::Receiver<anyhow::Result<Frame>>, EncoderControl)> {
    let audio = OpusEncoder::new(&AudioSettings {
        channels: 1,
        span: SoundSpan::Ms20,
        bitrate: PATTERN_SOUND_RATE,
        expected_loss: PATTERN_EXPECTED_LOSS,
    })?;
    let epoch = unix_micros_now();
    let begin = Instant::now();
    let mut control = EncoderControl::default();
    let (frames, received) = mpsc::channel(READ_AHEAD);
    let whole = Drawing::new(PICTURES, settings, epoch)?;
    let tracks = tracks(settings, whole.encoder.codec(), epoch);
    for drawing in [Some(whole), Drawing::smaller(settings, epoch)?].into_iter().flatten() {
        control.wishes.insert(drawing.track, drawing.wishes.clone());
        let due = ticks(begin, Duration::from_secs(1) / u32::from(settings.spec.rate), ENCODER_BACKLOG);
        let sent = frames.clone();
        let draw = move || report(drawing.run(due, &sent), &sent);
        thread::Builder::new().name("drawing".to_owned()).spawn(draw)?;
    }
    // Sound that is left out is heard: it may queue for longer.
    let due = ticks(begin, SoundSpan::Ms20.duration(), READ_AHEAD);
    let sound = TestSound::new(u64::from(settings.hue), 1);
    thread::Builder::new().name("speaking".to_owned()).spawn(move || {
        report(speak(due, sound, audio, &frames), &frames);
    })?;
    Ok((tracks, received, control))
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

/// Draws and encodes, as much as the way carries.
struct Drawing {
    track: TrackId,
    pictures: TestPicture,
    epoch: u64,
    encoder: H264Encoder,
    /// What the person asked for.
    ceiling: Bitrate,
    /// What the encoder was told last.
    current: Bitrate,
    wishes: Arc<Wishes>,
}

impl Drawing {
    fn new(track: TrackId, settings: &Settings, epoch: u64) -> anyhow::Result<Self> {
        let PatternSpec { width, height, rate } = settings.spec;
        let encoder = H264Encoder::new(&VideoSettings {
            width,
            height,
            millihertz: u32::from(rate) * 1000,
            bitrate: settings.bitrate,
            max_bitrate: settings.bitrate,
            temporal_layers: 2,
        })?;
        let (ceiling, pictures) = (settings.bitrate, TestPicture::new(width, height, settings.hue));
        let wishes = Wishes { key: AtomicBool::new(false), bitrate: AtomicU64::new(ceiling.as_bits()) };
        Ok(Drawing { track, pictures, epoch, encoder, ceiling, current: ceiling, wishes: Arc::new(wishes) })
    }

    /// The same in half the width and height, at rest; `None` where that would be too small to be of use.
    fn smaller(settings: &Settings, epoch: u64) -> anyhow::Result<Option<Self>> {
        let PatternSpec { width, height, rate } = settings.spec;
        if usize::from(width / 2) < TIME_CODE_MIN_WIDTH {
            return Ok(None);
        }
        // The encoder wants even sides.
        let spec = PatternSpec { width: width / 4 * 2, height: (height / 4 * 2).max(PATTERN_MIN_SIDE), rate };
        let settings = Settings { spec, bitrate: settings.bitrate.min(SMALLER_MOST), ..*settings };
        let drawing = Drawing::new(SMALLER, &settings, epoch)?;
        drawing.wishes.bitrate.store(0, Ordering::Relaxed);
        Ok(Some(drawing))
    }

    fn run(mut self, mut ticks: mpsc::Receiver<CaptureTime>, frames: &Frames) -> anyhow::Result<()> {
        let mut number = FrameNumber::default();
        let mut key_at = CaptureTime::default();
        let mut tick = 0_u32;
        let mut has_rested = false;
        while let Some(captured) = ticks.blocking_recv() {
            tick = tick.wrapping_add(1);
            let wanted = Bitrate::from_bits(self.wishes.bitrate.load(Ordering::Relaxed)).min(self.ceiling);
            if wanted == Bitrate::default() {
                has_rested = true;
                continue;
            }
            if !tick.is_multiple_of(pictures_left_out(wanted, self.ceiling)) {
                continue;
            }
            self.follow(wanted)?;
            let since_key = captured.as_micros().saturating_sub(key_at.as_micros());
            let is_key_due = Duration::from_micros(since_key) >= PATTERN_KEY_INTERVAL;
            if self.wishes.key.swap(false, Ordering::Relaxed) || is_key_due || std::mem::take(&mut has_rested) {
                self.encoder.force_key();
            }
            let picture = self.pictures.draw(number.0, self.epoch.saturating_add(captured.as_micros()));
            let encoded = self.encoder.encode(&picture, captured)?;
            if encoded.is_key {
                key_at = captured;
            }
            let frame = frame_of(self.track, encoded, number, captured);
            let Some(next) = number.next() else { return Ok(()) };
            number = next;
            if frames.blocking_send(Ok(frame)).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Tells the encoder the rate when it has changed by more than a little. The encoder counts on the full frame rate, so
    /// pictures that are left out give their bits to the others.
    fn follow(&mut self, wanted: Bitrate) -> anyhow::Result<()> {
        let (wanted_bits, current) = (wanted.as_bits(), self.current.as_bits());
        if wanted_bits.abs_diff(current) * 30 > current {
            let left_out = u64::from(pictures_left_out(wanted, self.ceiling));
            self.encoder.set_bitrate(Bitrate::from_bits((wanted_bits * left_out).min(self.ceiling.as_bits())))?;
            self.current = wanted;
        }
        Ok(())
    }
}

/// Every how many-th picture is encoded: all of them, half, a quarter or an eighth as the rate falls below a third, a sixth
/// and a fifteenth of what was asked for. Fewer good pictures are better than many bad ones.
fn pictures_left_out(rate: Bitrate, ceiling: Bitrate) -> u32 {
    match ceiling.as_bits() / rate.as_bits().max(1) {
        0..3 => 1,
        3..6 => 2,
        6..15 => 4,
        15.. => 8,
    }
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
const SMALLER: TrackId = TrackId(2);
