//! The test pattern as a camera and a microphone would be: drawn and spoken in real time, encoded here.
//!
//! Pictures become smaller and fewer as the way carries less. Whoever has a narrower way than the others gets the same picture
//! in half the width and height, from an encoder of its own that runs only while it is needed. A ticker says when a picture or
//! 20 ms of sound are due, on one clock for both; a thread for each draws and encodes. An encoder that cannot keep up leaves
//! pictures out rather than falling behind.

mod drawing;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use meipo::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use meipo::net::clock::unix_micros_now;
use meipo::units::{Bitrate, CaptureTime, FrameNumber, TrackId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use self::drawing::{Drawing, Wishes};
use crate::args::PatternSpec;
use crate::codec::{AudioEncoder, AudioSettings, OPUS_LOOKAHEAD, OpusEncoder, SoundSpan, opus_head};
use crate::feed::Offered;
use crate::params::{ENCODER_BACKLOG, PATTERN_EXPECTED_LOSS, PATTERN_SOUND_RATE, READ_AHEAD, SAMPLE_RATE};
use crate::pattern::TestSound;

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

type News = mpsc::Sender<anyhow::Result<Offered>>;

/// Begins to draw and to speak; both end when nobody takes what they make.
///
/// # Errors
/// When an encoder refuses the settings, or the system gives no thread.
pub fn start(
    settings: &Settings,
) -> anyhow::Result<(Vec<Track>, mpsc::Receiver<anyhow::Result<Offered>>, EncoderControl)> {
    let audio = OpusEncoder::new(&AudioSettings {
        channels: 1,
        span: SoundSpan::Ms20,
        bitrate: PATTERN_SOUND_RATE,
        expected_loss: PATTERN_EXPECTED_LOSS,
    })?;
    let epoch = unix_micros_now();
    let begin = Instant::now();
    let mut control = EncoderControl::default();
    let (news, received) = mpsc::channel(READ_AHEAD);
    let whole = Drawing::whole(settings, epoch)?;
    let tracks = vec![whole.announcement(), sound_track(epoch)];
    for drawing in [Some(whole), Drawing::smaller(settings, epoch)?].into_iter().flatten() {
        control.wishes.insert(drawing.track, drawing.wishes.clone());
        let due = ticks(begin, Duration::from_secs(1) / u32::from(settings.spec.rate), ENCODER_BACKLOG);
        let sent = news.clone();
        let draw = move || report(drawing.run(due, &sent), &sent);
        thread::Builder::new().name("drawing".to_owned()).spawn(draw)?;
    }
    // Sound that is left out is heard: it may queue for longer.
    let due = ticks(begin, SoundSpan::Ms20.duration(), READ_AHEAD);
    let sound = TestSound::new(u64::from(settings.hue), 1);
    thread::Builder::new().name("speaking".to_owned()).spawn(move || {
        report(speak(due, sound, audio, &news), &news);
    })?;
    Ok((tracks, received, control))
}

fn sound_track(epoch_unix_us: u64) -> Track {
    Track {
        id: SOUND,
        kind: TrackKind::Audio { sample_rate: SAMPLE_RATE, channels: 1 },
        source: TrackSource::TestPattern,
        codec: "opus".to_owned(),
        description: opus_head(1, OPUS_LOOKAHEAD),
        epoch_unix_us,
    }
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

fn speak(
    mut ticks: mpsc::Receiver<CaptureTime>,
    mut sound: TestSound,
    mut encoder: OpusEncoder,
    news: &News,
) -> anyhow::Result<()> {
    let mut number = FrameNumber::default();
    while let Some(captured) = ticks.blocking_recv() {
        let data = encoder.encode(&sound.next_samples(encoder.span_len()))?;
        let kind = FrameKind::Key;
        let frame = Frame { track: SOUND, number, captured, kind, temporal_layer: 0, needs: 0, data };
        let Some(next) = number.next() else { return Ok(()) };
        number = next;
        if news.blocking_send(Ok(Offered::Frame(frame))).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Passes an encoder's failure on to whoever takes what it makes.
fn report(result: anyhow::Result<()>, news: &News) {
    if let Err(error) = result {
        let _ = news.blocking_send(Err(error));
    }
}

const PICTURES: TrackId = TrackId(0);
const SOUND: TrackId = TrackId(1);
const SMALLER: TrackId = TrackId(2);
