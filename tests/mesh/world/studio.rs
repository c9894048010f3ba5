//! What a peer publishes: pictures in two temporal layers and sound, whose bytes tell whether they arrived whole.

use std::time::Duration;

use bytes::Bytes;
use meipo::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use meipo::units::{Bitrate, CaptureTime, FrameNumber, Time, TrackId};

/// The track of pictures.
pub(crate) const CAMERA: TrackId = TrackId(1);

/// Under which the same pictures are handed over in a smaller size.
pub(crate) const CAMERA_SMALLER: TrackId = TrackId(3);

/// The track of sound.
pub(crate) const MICROPHONE: TrackId = TrackId(2);

/// A camera and a microphone.
#[derive(Clone, Debug)]
pub(crate) struct Studio {
    began: Time,
    camera: Camera,
    /// The smaller size, while somebody needs it.
    smaller: Option<Camera>,
    sound: Pace,
}

/// A camera and its encoder.
#[derive(Clone, Debug)]
struct Camera {
    track: TrackId,
    pace: Pace,
    key_len: usize,
    delta_len: usize,
    /// The two as long as no rate says otherwise, and the distance of pictures.
    full: (usize, usize, Duration),
    last_key: Option<u32>,
    is_key_wanted: bool,
    /// How far apart the key frames of a file are, which heeds no wishes.
    recorded: Option<u32>,
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
        let sound = Pace { interval: Duration::from_millis(20), next: now, number: 0 };
        Studio { began: now, camera: Camera::new(CAMERA, 8000, 1600, now), smaller: None, sound }
    }

    /// Pictures of about so many kilobits a second.
    pub(crate) fn kilobits(mut self, kilobits: usize) -> Self {
        let delta_len = kilobits * 1000 / 8 / 30;
        self.camera = Camera::new(CAMERA, delta_len * 5, delta_len, self.camera.pace.next);
        self
    }

    /// A file with a key frame every so many pictures.
    pub(crate) fn recorded(mut self, key_every: u32) -> Self {
        self.camera.recorded = Some(key_every);
        self
    }

    /// Sound alone: the first picture is never due.
    pub(crate) fn without_pictures(mut self) -> Self {
        self.camera.pace.next += Duration::from_secs(1_000_000);
        self
    }

    /// Frames this much further apart.
    pub(crate) fn slower(mut self, times: u32) -> Self {
        self.camera.pace.interval *= times;
        self.sound.interval *= times;
        self.camera.full.2 = self.camera.pace.interval;
        self
    }

    /// From the next picture on the encoder keeps to this rate.
    pub(crate) fn follow(&mut self, rate: Bitrate) {
        self.camera.follow(rate);
    }

    /// The smaller size is to be had with this rate, or not.
    pub(crate) fn follow_smaller(&mut self, rate: Option<Bitrate>, now: Time) {
        let Some(rate) = rate else {
            self.smaller = None;
            return;
        };
        let camera = self.smaller.get_or_insert_with(|| Camera::new(CAMERA_SMALLER, 6000, 1200, now));
        camera.follow(rate);
    }

    /// Decoding must be able to start at the next picture of this track.
    pub(crate) fn want_key(&mut self, track: TrackId) {
        for camera in [&mut self.camera].into_iter().chain(&mut self.smaller) {
            camera.is_key_wanted |= camera.track == track;
        }
    }

    pub(crate) fn next(&self) -> Time {
        let smaller = self.smaller.as_ref().map(|camera| camera.pace.next);
        smaller.into_iter().fold(self.camera.pace.next.min(self.sound.next), Time::min)
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
        let source = self.camera.recorded.map_or(TrackSource::Camera, |_| TrackSource::File);
        [track(CAMERA, pictures, source, "avc1.42e01f"), track(MICROPHONE, sound, TrackSource::Microphone, "opus")]
    }

    /// What was captured up to now. Devices that slept bring nothing of that time.
    pub(crate) fn frames(&mut self, now: Time) -> Vec<Frame> {
        let since = now.since(self.began);
        let cameras = [&mut self.camera].into_iter().chain(&mut self.smaller);
        let mut frames: Vec<Frame> = cameras.filter_map(|camera| camera.take(since, now)).collect();
        if let Some(number) = self.sound.take(now) {
            frames.push(frame(MICROPHONE, number, since, FrameKind::Key, 0, SOUND_LEN));
        }
        frames
    }
}

impl Camera {
    fn new(track: TrackId, key_len: usize, delta_len: usize, now: Time) -> Self {
        let interval = Duration::from_micros(33_333);
        Camera {
            track,
            pace: Pace { interval, next: now, number: 0 },
            key_len,
            delta_len,
            full: (key_len, delta_len, interval),
            last_key: None,
            is_key_wanted: false,
            recorded: None,
        }
    }

    /// Smaller pictures, then also fewer.
    fn follow(&mut self, rate: Bitrate) {
        if self.recorded.is_some() {
            return;
        }
        let (key_len, delta_len, interval) = self.full;
        let times = match rate.as_bits() {
            0..90_000 => 4,
            90_000..180_000 => 2,
            _ => 1,
        };
        self.pace.interval = interval * times;
        let bytes = usize::try_from(rate.bytes_in(self.pace.interval)).expect("a picture");
        self.delta_len = delta_len.min(bytes);
        self.key_len = key_len.min(self.delta_len * 5);
    }

    fn take(&mut self, captured: Duration, now: Time) -> Option<Frame> {
        let number = self.pace.take(now)?;
        let is_wanted = std::mem::take(&mut self.is_key_wanted) && self.recorded.is_none();
        let is_due = |last_key| self.recorded.is_some_and(|every| number - last_key >= every);
        let last_key = self.last_key.filter(|last_key| !is_wanted && !is_due(*last_key));
        let Some(last_key) = last_key else {
            self.last_key = Some(number);
            return Some(frame(self.track, number, captured, FrameKind::Key, 0, self.key_len));
        };
        // Two temporal layers: each picture of the upper one needs the one before, each of the lower one the one before that.
        let is_upper = (number - last_key) % 2 == 1;
        let needs = 2 - u8::from(is_upper);
        let mut picture = frame(self.track, number, captured, FrameKind::Delta, needs, self.delta_len);
        picture.temporal_layer = u8::from(is_upper);
        Some(picture)
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
    frame.data.iter().enumerate().all(|(at, byte)| *byte == byte_at(frame.captured, at))
}

fn frame(track: TrackId, number: u32, captured: Duration, kind: FrameKind, needs: u8, len: usize) -> Frame {
    let captured = CaptureTime::from_micros(u64::try_from(captured.as_micros()).expect("a short call"));
    Frame {
        track,
        number: FrameNumber(number),
        captured,
        kind,
        temporal_layer: 0,
        needs,
        data: (0..len).map(|at| byte_at(captured, at)).collect(),
    }
}

fn byte_at(captured: CaptureTime, at: usize) -> u8 {
    (captured.as_micros() / 100).wrapping_mul(31).wrapping_add(at as u64 * 7).to_le_bytes()[0]
}

/// Bytes of 20 ms of sound at 32 kbit/s.
const SOUND_LEN: usize = 80;
