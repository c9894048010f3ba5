//! What a peer publishes: pictures in two temporal layers and sound, whose bytes tell whether they arrived whole.

use std::time::Duration;

use bytes::Bytes;
use meipo::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use meipo::units::{Bitrate, CaptureTime, FrameNumber, Time, TrackId};

/// The track of pictures.
pub(crate) const CAMERA: TrackId = TrackId(1);

/// The track of sound.
pub(crate) const MICROPHONE: TrackId = TrackId(2);

/// A camera and a microphone.
#[derive(Clone, Debug)]
pub(crate) struct Studio {
    began: Time,
    picture: Pace,
    sound: Pace,
    key_len: usize,
    delta_len: usize,
    /// The two as long as no rate says otherwise, and the distance of pictures.
    full: (usize, usize, Duration),
    last_key: Option<u32>,
    is_key_wanted: bool,
}

/// When the frames of one track come.
#[derive(Clone, Copy, Debug)]
struct Pace {
    interval: Duration,
    next: Time,
    number: u32,
}

impl Studio {
    /// 30 pictures a second at 400 kbit/s, and 50 times 20 ms of sound.
    pub(crate) fn new(now: Time) -> Self {
        let pace = |interval| Pace { interval, next: now, number: 0 };
        let interval = Duration::from_micros(33_333);
        Studio {
            began: now,
            picture: pace(interval),
            sound: pace(Duration::from_millis(20)),
            key_len: 8000,
            delta_len: 1600,
            full: (8000, 1600, interval),
            last_key: None,
            is_key_wanted: false,
        }
    }

    /// Pictures of about so many kilobits a second.
    pub(crate) fn kilobits(mut self, kilobits: usize) -> Self {
        self.delta_len = kilobits * 1000 / 8 / 30;
        self.key_len = self.delta_len * 5;
        self.full = (self.key_len, self.delta_len, self.picture.interval);
        self
    }

    /// Frames this much further apart.
    pub(crate) fn slower(mut self, times: u32) -> Self {
        self.picture.interval *= times;
        self.sound.interval *= times;
        self.full.2 = self.picture.interval;
        self
    }

    /// From the next picture on the encoder keeps to this rate: with smaller pictures, then also with fewer.
    pub(crate) fn follow(&mut self, rate: Bitrate) {
        let (key_len, delta_len, interval) = self.full;
        let times = match rate.as_bits() {
            0..90_000 => 4,
            90_000..180_000 => 2,
            _ => 1,
        };
        self.picture.interval = interval * times;
        let bytes = usize::try_from(rate.bytes_in(self.picture.interval)).expect("a picture");
        self.delta_len = delta_len.min(bytes);
        self.key_len = key_len.min(self.delta_len * 5);
    }

    /// Decoding must be able to start at the next picture.
    pub(crate) fn want_key(&mut self) {
        self.is_key_wanted = true;
    }

    pub(crate) fn next(&self) -> Time {
        self.picture.next.min(self.sound.next)
    }

    pub(crate) fn tracks(&self) -> [Track; 2] {
        let track = |id, kind, source, codec: &str| Track {
            id,
            kind,
            source,
            codec: codec.to_owned(),
            description: Bytes::new(),
            epoch_unix_us: 0,
        };
        let pictures = TrackKind::Video { width: 640, height: 480, millihertz: 30_000 };
        let sound = TrackKind::Audio { sample_rate: 48_000, channels: 1 };
        [
            track(CAMERA, pictures, TrackSource::Camera, "avc1.42e01f"),
            track(MICROPHONE, sound, TrackSource::Microphone, "opus"),
        ]
    }

    /// What was captured up to now. Devices that slept bring nothing of that time.
    pub(crate) fn frames(&mut self, now: Time) -> Vec<Frame> {
        let mut frames = Vec::new();
        if let Some(number) = self.picture.take(now) {
            frames.push(self.capture(number, now));
        }
        if let Some(number) = self.sound.take(now) {
            frames.push(frame(MICROPHONE, number, now.since(self.began), FrameKind::Key, 0, SOUND_LEN));
        }
        frames
    }

    fn capture(&mut self, number: u32, now: Time) -> Frame {
        let captured = now.since(self.began);
        let last_key = self.last_key.filter(|_| !std::mem::take(&mut self.is_key_wanted));
        let Some(last_key) = last_key else {
            self.last_key = Some(number);
            return frame(CAMERA, number, captured, FrameKind::Key, 0, self.key_len);
        };
        // Two temporal layers: each picture of the upper one needs the one before, each of the lower one the one before that.
        let is_upper = (number - last_key) % 2 == 1;
        let mut picture = frame(CAMERA, number, captured, FrameKind::Delta, 2 - u8::from(is_upper), self.delta_len);
        picture.temporal_layer = u8::from(is_upper);
        picture
    }
}

impl Pace {
    fn take(&mut self, now: Time) -> Option<u32> {
        if self.next > now {
            return None;
        }
        let has_slept = now.since(self.next) > self.interval * 3;
        self.next = if has_slept { now } else { self.next } + self.interval;
        self.number += 1;
        Some(self.number - 1)
    }
}

/// Whether a frame carries the bytes it was published with.
pub(crate) fn is_intact(frame: &Frame) -> bool {
    frame.data.iter().enumerate().all(|(at, byte)| *byte == byte_at(frame.number.0, at))
}

fn frame(track: TrackId, number: u32, captured: Duration, kind: FrameKind, needs: u8, len: usize) -> Frame {
    Frame {
        track,
        number: FrameNumber(number),
        captured: CaptureTime::from_micros(u64::try_from(captured.as_micros()).expect("a short call")),
        kind,
        temporal_layer: 0,
        needs,
        data: (0..len).map(|at| byte_at(number, at)).collect(),
    }
}

fn byte_at(number: u32, at: usize) -> u8 {
    (number as usize).wrapping_mul(31).wrapping_add(at * 7).to_le_bytes()[0]
}

/// Bytes of 20 ms of sound at 32 kbit/s.
const SOUND_LEN: usize = 80;
