//! A recording: the frames of one participant in one Matroska file.
//!
//! Everything but the last second is on its way to the disk at any time, and what is there plays without the rest. So
//! a killed recorder loses at most two seconds.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use meipo::media::{Frame, Track, TrackKind};
use meipo::units::TrackId;

use super::describe::{self, Codec};
use super::segment::{HeaderTrack, Segment, TimedBlock};
use super::{ContainerError, Problem, in_file};
use crate::codec::{OPUS_LOOKAHEAD, avc, opus_head};
use crate::params::{CLUSTER_BYTES, HEADER_WAIT};

/// One Matroska file being written.
#[derive(Debug)]
pub struct Recorder {
    name: String,
    writer: Writer<File>,
}

impl Recorder {
    /// Whether a track can be recorded.
    ///
    /// # Errors
    /// Says why not.
    pub fn check(track: &Track) -> Result<(), Problem> {
        Lane::new(track).map(drop)
    }

    /// Begins a new file for these tracks. An existing file is never touched.
    ///
    /// # Errors
    /// When the file cannot be created or exists, or a track's codec cannot be recorded.
    pub fn create(path: &Path, tracks: &[Track]) -> Result<Self, ContainerError> {
        let name = path.display().to_string();
        let create = || -> Result<_, Problem> {
            let lanes = tracks.iter().map(Lane::new).collect::<Result<_, _>>()?;
            Ok(Writer::new(File::create_new(path)?, lanes))
        };
        let writer = create().map_err(in_file(&name))?;
        Ok(Recorder { name, writer })
    }

    /// Adds a frame. Pictures before their track's first key frame are left out, since nothing could show them.
    ///
    /// # Errors
    /// [`Problem::LateTrack`] if the track began after the header was written: record it into
    /// [`part_path`](Self::part_path). [`Problem::Io`] if the disk is full.
    pub fn write(&mut self, frame: &Frame) -> Result<(), ContainerError> {
        self.writer.write(frame).map_err(in_file(&self.name))
    }

    /// Writes out what is held back, for example when a call falls silent.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn flush(&mut self) -> Result<(), ContainerError> {
        self.writer.flush().map_err(in_file(&self.name))
    }

    /// Writes out the rest, an index and the duration.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(self) -> Result<(), ContainerError> {
        self.writer.finish().map_err(in_file(&self.name))
    }

    /// The name of a recording's further parts: `call.mkv`, `call-2.mkv`, `call-3.mkv`.
    pub fn part_path(path: &Path, part: u32) -> PathBuf {
        if part < 2 {
            return path.to_owned();
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = match path.extension() {
            Some(extension) => format!("{stem}-{part}.{}", extension.to_string_lossy()),
            None => format!("{stem}-{part}"),
        };
        path.with_file_name(name)
    }
}

/// The recording apart from its file's name.
#[derive(Debug)]
struct Writer<W> {
    lanes: Vec<Lane>,
    stage: Stage<W>,
}

/// Before and after the header is written.
#[derive(Debug)]
enum Stage<W> {
    /// Some track may still begin in time; frames wait, each with its time in microseconds.
    Gathering { output: W, waiting: Vec<(u64, Frame)> },
    /// The header is written; times count from `start`, in microseconds.
    Running { segment: Segment<W>, start: u64 },
    /// Writing failed before; nothing more is written.
    Failed,
}

/// One track of the recording.
#[derive(Debug)]
struct Lane {
    id: TrackId,
    kind: TrackKind,
    codec: Codec,
    /// What the header needs to know; `None` until a key frame says it.
    private: Option<Bytes>,
    /// Whether frames come with start codes, which Matroska does not have.
    is_annex_b: bool,
    /// The sender's time of day at capture time 0, in microseconds; 0 where it is not known.
    epoch: u64,
    has_begun: bool,
    /// Its place in the header; `None` if it began too late.
    place: Option<usize>,
}

impl Lane {
    fn new(track: &Track) -> Result<Self, Problem> {
        let cannot = || Problem::CannotRecord(track.codec.clone());
        let codec = Codec::from_webcodecs(&track.codec).ok_or_else(cannot)?;
        if track.kind.is_audio() != (codec == Codec::Opus) {
            return Err(cannot());
        }
        let is_annex_b = codec == Codec::Avc && track.description.is_empty();
        let private = match (codec, track.kind) {
            (Codec::Avc, _) if is_annex_b => None,
            (Codec::Av1, _) if track.description.is_empty() => {
                Some(describe::av1_config(&track.codec).ok_or_else(cannot)?)
            }
            (Codec::Opus, TrackKind::Audio { channels, .. }) if track.description.is_empty() => {
                Some(opus_head(channels, OPUS_LOOKAHEAD))
            }
            (Codec::Avc | Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus, _) => Some(track.description.clone()),
        };
        Ok(Lane {
            id: track.id,
            kind: track.kind,
            codec,
            private,
            is_annex_b,
            epoch: track.epoch_unix_us,
            has_begun: false,
            place: None,
        })
    }

    /// When `frame` was captured, in microseconds, on the time line that all tracks share.
    fn time_of(&self, frame: &Frame) -> u64 {
        self.epoch.saturating_add(frame.captured.as_micros())
    }

    /// Whether `frame` can be used: pictures begin with a key frame that brings its parameter sets.
    fn accept(&mut self, frame: &Frame) -> bool {
        if self.has_begun {
            return true;
        }
        if !self.kind.is_audio() && !frame.is_key() {
            return false;
        }
        if self.private.is_none() {
            self.private = avc::config_from_key_frame(&frame.data);
        }
        self.has_begun = self.private.is_some();
        self.has_begun
    }
}

impl<W: Write + Seek> Writer<W> {
    fn new(output: W, mut lanes: Vec<Lane>) -> Self {
        let waiting = Vec::new();
        if lanes.iter().any(|lane| lane.epoch == 0) {
            lanes.iter_mut().for_each(|lane| lane.epoch = 0);
        }
        Writer { lanes, stage: Stage::Gathering { output, waiting } }
    }

    /// Adds a frame. What has failed to be written once stays failed, so that what is on the disk stays whole.
    fn write(&mut self, frame: &Frame) -> Result<(), Problem> {
        let result = self.try_write(frame);
        if matches!(result, Err(Problem::Io(_))) {
            self.stage = Stage::Failed;
        }
        result
    }

    fn try_write(&mut self, frame: &Frame) -> Result<(), Problem> {
        let lane = self.lanes.iter_mut().find(|lane| lane.id == frame.track);
        let lane = lane.ok_or(Problem::UnknownTrack(frame.track))?;
        match &mut self.stage {
            Stage::Running { segment, start } => {
                if lane.place.is_none() {
                    return Err(Problem::LateTrack(frame.track));
                }
                if lane.accept(frame) {
                    write_block(segment, lane, frame, *start)?;
                }
                Ok(())
            }
            Stage::Gathering { waiting, .. } => {
                let time = lane.time_of(frame);
                if lane.accept(frame) {
                    waiting.push((time, frame.clone()));
                }
                let earliest = waiting.iter().map(|(time, _)| *time).min().unwrap_or(time);
                let waited = Duration::from_micros(time.saturating_sub(earliest));
                let is_complete = self.lanes.iter().all(|lane| lane.has_begun);
                let held = waiting.iter().map(|(_, frame)| frame.data.len()).sum::<usize>();
                if is_complete || waited >= HEADER_WAIT || held >= CLUSTER_BYTES {
                    self.begin()?;
                }
                Ok(())
            }
            Stage::Failed => Err(Problem::Io(std::io::Error::other("writing failed before"))),
        }
    }

    /// Writes the header with every track that is described by now, and the frames that waited for it.
    fn begin(&mut self) -> Result<(), Problem> {
        let stage = std::mem::replace(&mut self.stage, Stage::Failed);
        let Stage::Gathering { output, waiting } = stage else {
            self.stage = stage;
            return Ok(());
        };
        let mut tracks = Vec::new();
        for lane in &mut self.lanes {
            let Some(private) = &lane.private else {
                continue;
            };
            lane.place = Some(tracks.len());
            tracks.push(HeaderTrack { codec: lane.codec, kind: lane.kind, private: private.clone() });
        }
        let start = waiting.iter().map(|(time, _)| *time).min().unwrap_or(0);
        let mut segment = Segment::new(output, &tracks)?;
        for (_, frame) in &waiting {
            if let Some(lane) = self.lanes.iter().find(|lane| lane.id == frame.track) {
                write_block(&mut segment, lane, frame, start)?;
            }
        }
        self.stage = Stage::Running { segment, start };
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Problem> {
        match &mut self.stage {
            Stage::Running { segment, .. } => segment.flush(),
            Stage::Gathering { .. } | Stage::Failed => Ok(()),
        }
    }

    fn finish(mut self) -> Result<(), Problem> {
        self.begin()?;
        match self.stage {
            Stage::Running { segment, .. } => segment.finish().map(drop),
            Stage::Gathering { .. } | Stage::Failed => Ok(()),
        }
    }
}

/// Writes one frame as Matroska holds it.
fn write_block<W: Write + Seek>(
    segment: &mut Segment<W>,
    lane: &Lane,
    frame: &Frame,
    start: u64,
) -> Result<(), Problem> {
    let Some(track) = lane.place else {
        return Ok(());
    };
    let converted = lane.is_annex_b.then(|| avc::to_length_prefixed(&frame.data));
    let micros = lane.time_of(frame).saturating_sub(start);
    segment.write(&TimedBlock {
        track,
        millis: i64::try_from(micros.saturating_add(500) / 1000).unwrap_or(i64::MAX),
        is_key: frame.is_key(),
        starts_cluster: frame.is_key() && !lane.kind.is_audio(),
        data: converted.as_ref().unwrap_or(&frame.data),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Error, SeekFrom};

    use meipo::media::{FrameKind, TrackSource};
    use meipo::units::{CaptureTime, FrameNumber};
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{H264Encoder, Picture, VideoEncoder, VideoSettings};
    use crate::container::Source;
    use meipo::units::Bitrate;

    #[test]
    fn a_recording_gives_back_what_was_written() {
        let mut writer = writer(&[sound(0, 2), pictures(1, "vp8")]);
        let frames = [frame(0, 5_000, true), frame(1, 12_000, true), frame(0, 25_000, true), frame(1, 45_000, false)];
        for frame in &frames {
            writer.write(frame).unwrap();
        }
        let (tracks, read) = read(&finished(writer));
        assert_eq!(tracks.iter().map(|track| track.codec.as_str()).collect::<Vec<_>>(), ["opus", "vp8"]);
        let times: Vec<_> = read.iter().map(|frame| (frame.track.0, frame.captured.as_micros())).collect();
        assert_eq!(times, [(0, 0), (1, 7_000), (0, 20_000), (1, 40_000)]);
        assert!(read.iter().zip(&frames).all(|(read, written)| read.data == written.data));
    }

    #[test]
    fn annex_b_becomes_length_prefixed_and_still_decodes() {
        let settings = VideoSettings {
            width: 64,
            height: 64,
            millihertz: 30_000,
            bitrate: Bitrate::from_kilobits(100),
            max_bitrate: Bitrate::from_kilobits(100),
            temporal_layers: 2,
        };
        let mut encoder = H264Encoder::new(&settings).unwrap();
        let mut writer = writer(&[pictures(1, "avc1.42c01e")]);
        for number in 0..4 {
            let encoded = encoder.encode(&Picture::black(64, 64), CaptureTime::from_micros(number * 33_000)).unwrap();
            let mut frame = frame(1, number * 33_000, encoded.is_key);
            frame.data = encoded.data;
            writer.write(&frame).unwrap();
        }
        let (tracks, frames) = read(&finished(writer));
        let mut decoder = crate::codec::video_decoder(&tracks[0]).unwrap();
        assert!(frames.iter().all(|frame| decoder.decode(&frame.data).unwrap().is_some()));
        assert_eq!(frames.len(), 4);
    }

    #[test]
    fn sound_waits_a_second_for_pictures_and_late_pictures_go_elsewhere() {
        let mut writer = writer(&[sound(0, 1), pictures(1, "avc1.42e01f")]);
        for number in 0..60 {
            writer.write(&frame(0, number * 20_000, true)).unwrap();
        }
        let error = writer.write(&frame(1, 1_200_000, true)).unwrap_err();
        assert!(matches!(error, Problem::LateTrack(TrackId(1))), "{error}");
        let (tracks, frames) = read(&finished(writer));
        assert_eq!((tracks.len(), frames.len()), (1, 60));
    }

    #[test]
    fn pictures_before_the_first_key_frame_are_left_out() {
        let mut writer = writer(&[pictures(1, "vp8")]);
        for (time, is_key) in [(0, false), (33_000, false), (66_000, true), (99_000, false)] {
            writer.write(&frame(1, time, is_key)).unwrap();
        }
        let (_, frames) = read(&finished(writer));
        assert_eq!(frames.iter().map(|frame| frame.captured.as_micros()).collect::<Vec<_>>(), [0, 33_000]);
    }

    #[test]
    fn a_killed_recorder_loses_at_most_the_last_second() {
        let mut writer = writer(&[sound(0, 1)]);
        for number in 0..500 {
            writer.write(&frame(0, number * 20_000, true)).unwrap();
        }
        let Stage::Running { segment, .. } = writer.stage else { panic!("the header is written") };
        let (_, frames) = read(segment.output_for_test().get_ref());
        assert!(frames.len() > 500 - 51, "{}", frames.len());
    }

    #[test]
    fn frames_out_of_presentation_order_keep_their_order_and_times() {
        let mut writer = writer(&[pictures(1, "vp8")]);
        let times = [0, 120, 40, 80, 1300, 1220, 1260];
        for (index, millis) in times.into_iter().enumerate() {
            writer.write(&frame(1, millis * 1000, index == 0)).unwrap();
        }
        let (_, frames) = read(&finished(writer));
        let read: Vec<_> = frames.iter().map(|frame| frame.captured.as_micros() / 1000).collect();
        assert_eq!(read, times);
    }

    #[test]
    fn tracks_with_different_epochs_share_one_time_line() {
        let mut tracks = [sound(0, 1), pictures(1, "vp8")];
        (tracks[0].epoch_unix_us, tracks[1].epoch_unix_us) = (1_795_000_000_000_000, 1_795_000_000_250_000);
        let mut writer = writer(&tracks);
        writer.write(&frame(0, 100_000, true)).unwrap();
        writer.write(&frame(1, 50_000, true)).unwrap();
        let (_, frames) = read(&finished(writer));
        assert_eq!(frames.iter().map(|frame| frame.captured.as_micros()).collect::<Vec<_>>(), [0, 200_000]);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut writer = Writer::new(Full, lanes(&[sound(0, 1)]));
        let error = writer.write(&frame(0, 0, true)).unwrap_err();
        assert!(error.to_string().contains("no space"), "{error}");
        assert!(writer.write(&frame(0, 20_000, true)).is_err());
    }

    #[test]
    fn further_parts_are_numbered_before_the_extension() {
        assert_eq!(Recorder::part_path(Path::new("a/call.mkv"), 2), Path::new("a/call-2.mkv"));
        assert_eq!(Recorder::part_path(Path::new("call.mkv"), 1), Path::new("call.mkv"));
    }

    #[test]
    fn a_recording_cut_anywhere_reads_up_to_its_last_whole_block() {
        let bytes = long_recording();
        let mut last = 0;
        for cut in (600..bytes.len()).step_by(7) {
            let (_, frames) = read(&bytes[..cut]);
            assert!(frames.len() >= last, "{cut}");
            last = frames.len();
        }
        assert_eq!(last, 400);
    }

    proptest! {
        #[test]
        fn damaged_matroska_never_panics(places in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..12)) {
            let mut bytes = long_recording();
            for (place, value) in places {
                let len = bytes.len().min(700);
                bytes[place % len] = value;
            }
            if let Ok(mut source) = Source::from_reader(Cursor::new(bytes)) {
                while let Ok(Some(_)) = source.next_frame() {}
            }
        }
    }

    /// A disk without room.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(Error::other("no space left"))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Full {
        fn seek(&mut self, _: SeekFrom) -> std::io::Result<u64> {
            Ok(0)
        }
    }

    fn long_recording() -> Vec<u8> {
        let mut writer = writer(&[sound(0, 1), pictures(1, "vp8")]);
        for number in 0..200 {
            writer.write(&frame(1, number * 20_000, number % 50 == 0)).unwrap();
            writer.write(&frame(0, number * 20_000, true)).unwrap();
        }
        finished(writer)
    }

    fn writer(tracks: &[Track]) -> Writer<Cursor<Vec<u8>>> {
        Writer::new(Cursor::default(), lanes(tracks))
    }

    fn lanes(tracks: &[Track]) -> Vec<Lane> {
        tracks.iter().map(|track| Lane::new(track).unwrap()).collect()
    }

    fn finished(mut writer: Writer<Cursor<Vec<u8>>>) -> Vec<u8> {
        writer.begin().unwrap();
        let Stage::Running { segment, .. } = writer.stage else { panic!("it has begun") };
        segment.finish().unwrap().into_inner()
    }

    fn read(bytes: &[u8]) -> (Vec<Track>, Vec<Frame>) {
        let mut source = Source::from_reader(Cursor::new(bytes.to_vec())).unwrap();
        let tracks = source.tracks().to_vec();
        (tracks, std::iter::from_fn(|| source.next_frame().unwrap()).collect())
    }

    fn sound(id: u16, channels: u8) -> Track {
        track(id, TrackKind::Audio { sample_rate: 48_000, channels }, "opus")
    }

    fn pictures(id: u16, codec: &str) -> Track {
        track(id, TrackKind::Video { width: 64, height: 64, millihertz: 30_000 }, codec)
    }

    fn track(id: u16, kind: TrackKind, codec: &str) -> Track {
        Track {
            id: TrackId(id),
            kind,
            source: TrackSource::Camera,
            codec: codec.to_owned(),
            description: Bytes::new(),
            epoch_unix_us: 0,
        }
    }

    fn frame(track: u16, micros: u64, is_key: bool) -> Frame {
        Frame {
            track: TrackId(track),
            number: FrameNumber(0),
            captured: CaptureTime::from_micros(micros),
            kind: if is_key { FrameKind::Key } else { FrameKind::Delta },
            temporal_layer: 0,
            needs: u8::from(!is_key),
            data: Bytes::from(micros.to_be_bytes().to_vec()),
        }
    }
}
