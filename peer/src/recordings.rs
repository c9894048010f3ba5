//! One recording for each participant: events and the time go in, files grow, and what a person should know comes out.
//!
//! A file is begun when a participant's first frames come, and finished when they end. What does not fit into it, such as
//! a track that begins late, goes into a further part. One that cannot be written ends; the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use meipo::media::{Frame, Track};
use meipo::units::{FrameNumber, PeerId, Time, TrackId};

use crate::container::{ContainerError, Problem, Recorder};
use crate::params::{ANNOUNCEMENT_WAIT, MAX_FILE_STEM, MAX_PARTS, RECORDING_FLUSH};

/// What a person should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Notice {
    /// A file has been begun.
    Begun(PeerId, PathBuf),
    /// Something of this participant cannot be recorded.
    Failed(PeerId, String),
    /// A new part has begun, and pictures of this track can only begin with a key frame.
    NeedsKey(PeerId, TrackId),
}

/// All recordings into one folder.
#[derive(Debug)]
pub struct Recordings {
    folder: PathBuf,
    peers: BTreeMap<PeerId, Recording>,
    notices: Vec<Notice>,
}

/// One participant's.
#[derive(Debug)]
struct Recording {
    /// Where the first part goes.
    path: PathBuf,
    /// The tracks since all were last at an end.
    tracks: BTreeMap<TrackId, Track>,
    ended: BTreeSet<TrackId>,
    stage: Stage,
    /// The newest frame of each track: after a new connection some come again.
    last: BTreeMap<TrackId, FrameNumber>,
}

#[derive(Debug)]
enum Stage {
    /// Frames wait until all tracks that come together are announced.
    Waiting { since: Option<Time>, frames: Vec<Frame> },
    /// The file knows these tracks.
    Writing { recorder: Recorder, tracks: BTreeMap<TrackId, Track>, flushed: Time },
    /// It could not be written; nothing more is tried.
    Failed,
}

impl Recordings {
    /// Recordings into `folder`, which is there.
    pub fn new(folder: PathBuf) -> Self {
        Recordings { folder, peers: BTreeMap::new(), notices: Vec::new() }
    }

    /// A participant has come, under this name.
    pub fn handle_peer(&mut self, peer: PeerId, name: &str) {
        let path = self.folder.join(file_name(name, peer));
        self.peers.entry(peer).or_insert_with(|| Recording {
            path,
            tracks: BTreeMap::new(),
            ended: BTreeSet::new(),
            stage: Stage::Waiting { since: None, frames: Vec::new() },
            last: BTreeMap::new(),
        });
    }

    /// A participant announces a track, or changes it.
    pub fn handle_track(&mut self, peer: PeerId, track: Track) {
        let Some(recording) = self.peers.get_mut(&peer) else { return };
        match Recorder::check(&track) {
            Ok(()) => drop(recording.tracks.insert(track.id, track)),
            Err(problem) => self.notices.push(Notice::Failed(peer, problem.to_string())),
        }
    }

    /// A frame has come. One of a track that cannot be recorded, or was not announced, is left out.
    pub fn handle_frame(&mut self, peer: PeerId, frame: Frame, now: Time) {
        let Some(recording) = self.peers.get_mut(&peer) else { return };
        let is_old = recording.last.get(&frame.track).is_some_and(|last| frame.number <= *last);
        if is_old || !recording.tracks.contains_key(&frame.track) {
            return;
        }
        recording.last.insert(frame.track, frame.number);
        if let Err(error) = recording.take(frame, peer, now, &mut self.notices) {
            self.fail(peer, &error);
        }
    }

    /// A track has ended; with the last one the file is finished.
    pub fn handle_track_ended(&mut self, peer: PeerId, track: TrackId, now: Time) {
        let Some(recording) = self.peers.get_mut(&peer) else { return };
        recording.ended.insert(track);
        if recording.tracks.keys().all(|track| recording.ended.contains(track)) {
            if let Err(error) = recording.finish(peer, now, &mut self.notices) {
                self.fail(peer, &error);
            }
            if let Some(recording) = self.peers.get_mut(&peer) {
                recording.forget_tracks();
            }
        }
    }

    /// A participant is gone.
    pub fn handle_peer_left(&mut self, peer: PeerId, now: Time) {
        let Some(mut recording) = self.peers.remove(&peer) else { return };
        if let Err(error) = recording.finish(peer, now, &mut self.notices) {
            self.notices.push(Notice::Failed(peer, error.to_string()));
        }
    }

    /// Begins files whose tracks are known, and writes out what is held back.
    pub fn handle_timeout(&mut self, now: Time) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            let Some(recording) = self.peers.get_mut(&peer) else { continue };
            if let Err(error) = recording.handle_timeout(peer, now, &mut self.notices) {
                self.fail(peer, &error);
            }
        }
    }

    /// Finishes every file.
    pub fn finish(&mut self, now: Time) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.handle_peer_left(peer, now);
        }
    }

    /// What happened since it was last asked.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn fail(&mut self, peer: PeerId, error: &ContainerError) {
        if let Some(recording) = self.peers.get_mut(&peer) {
            recording.stage = Stage::Failed;
        }
        self.notices.push(Notice::Failed(peer, format!("the recording has ended: {error}")));
    }
}

impl Recording {
    fn take(&mut self, frame: Frame, peer: PeerId, now: Time, notices: &mut Vec<Notice>) -> Result<(), ContainerError> {
        match &mut self.stage {
            Stage::Failed => Ok(()),
            Stage::Waiting { since, frames } => {
                since.get_or_insert(now);
                frames.push(frame);
                Ok(())
            }
            Stage::Writing { recorder, tracks, .. } => {
                let is_known = tracks.get(&frame.track) == self.tracks.get(&frame.track);
                let written = if is_known { recorder.write(&frame).map(|()| true) } else { Ok(false) };
                let fits = match written {
                    Err(error) if matches!(error.problem(), Problem::LateTrack(_)) => false,
                    written => written?,
                };
                if fits {
                    return Ok(());
                }
                self.next_part(now)?;
                let pictures = self.tracks.values().filter(|track| !track.kind.is_audio());
                notices.extend(pictures.map(|track| Notice::NeedsKey(peer, track.id)));
                self.take(frame, peer, now, notices)
            }
        }
    }

    fn handle_timeout(&mut self, peer: PeerId, now: Time, notices: &mut Vec<Notice>) -> Result<(), ContainerError> {
        match &mut self.stage {
            Stage::Waiting { since: Some(since), .. } if now.since(*since) >= ANNOUNCEMENT_WAIT => {
                self.begin(peer, now, notices)
            }
            Stage::Writing { recorder, flushed, .. } if now.since(*flushed) >= RECORDING_FLUSH => {
                *flushed = now;
                recorder.flush()
            }
            Stage::Waiting { .. } | Stage::Writing { .. } | Stage::Failed => Ok(()),
        }
    }

    /// Begins a file with the tracks that are known now, and the frames that waited for it.
    fn begin(&mut self, peer: PeerId, now: Time, notices: &mut Vec<Notice>) -> Result<(), ContainerError> {
        let Stage::Waiting { frames, .. } = &mut self.stage else { return Ok(()) };
        let frames = std::mem::take(frames);
        let tracks: Vec<Track> = self.tracks.values().cloned().collect();
        let (recorder, path) = create(&self.path, &tracks)?;
        notices.push(Notice::Begun(peer, path));
        self.stage = Stage::Writing { recorder, tracks: self.tracks.clone(), flushed: now };
        for frame in frames.into_iter().filter(|frame| tracks.iter().any(|track| track.id == frame.track)) {
            self.take(frame, peer, now, notices)?;
        }
        Ok(())
    }

    /// Ends this part; the next frame begins another one.
    fn next_part(&mut self, now: Time) -> Result<(), ContainerError> {
        let waiting = Stage::Waiting { since: Some(now), frames: Vec::new() };
        match std::mem::replace(&mut self.stage, waiting) {
            Stage::Writing { recorder, .. } => recorder.finish(),
            Stage::Waiting { .. } | Stage::Failed => Ok(()),
        }
    }

    fn finish(&mut self, peer: PeerId, now: Time, notices: &mut Vec<Notice>) -> Result<(), ContainerError> {
        if let Stage::Waiting { frames, .. } = &self.stage
            && !frames.is_empty()
        {
            self.begin(peer, now, notices)?;
        }
        let waiting = Stage::Waiting { since: None, frames: Vec::new() };
        match std::mem::replace(&mut self.stage, waiting) {
            Stage::Writing { recorder, .. } => recorder.finish(),
            Stage::Waiting { .. } | Stage::Failed => Ok(()),
        }
    }
}

impl Recording {
    /// What is announced from now on is new.
    fn forget_tracks(&mut self) {
        self.tracks.clear();
        self.ended.clear();
        self.last.clear();
    }
}

/// Begins the first file whose name is free: `alice-abcdefgh.mkv`, then `alice-abcdefgh-2.mkv` and so on.
fn create(path: &Path, tracks: &[Track]) -> Result<(Recorder, PathBuf), ContainerError> {
    let mut part = 1;
    loop {
        let path = Recorder::part_path(path, part);
        match Recorder::create(&path, tracks) {
            Err(error) if is_taken(&error) && part < MAX_PARTS => part += 1,
            result => return result.map(|recorder| (recorder, path)),
        }
    }
}

fn is_taken(error: &ContainerError) -> bool {
    matches!(error.problem(), Problem::Io(error) if error.kind() == io::ErrorKind::AlreadyExists)
}

/// A participant's file: its name as far as every file system takes it, and enough of its id to tell two of one name
/// apart. Names are chosen by strangers: no separator, no leading dot, nothing reserved gets through.
fn file_name(name: &str, peer: PeerId) -> String {
    let mut stem = String::new();
    for char in name.chars() {
        let char = if char.is_alphanumeric() || matches!(char, '-' | '_') { char } else { '_' };
        if stem.len() + char.len_utf8() > MAX_FILE_STEM {
            break;
        }
        stem.push(char);
    }
    let stem = stem.trim_matches(['_', '-']);
    let stem = if stem.is_empty() { "peer" } else { stem };
    format!("{stem}-{}.mkv", peer.short())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use meipo::media::{FrameKind, TrackKind, TrackSource};
    use meipo::units::CaptureTime;
    use tempfile::TempDir;

    use super::*;
    use crate::container::Source;

    const ALICE: PeerId = PeerId::from_bytes([1; 32]);
    const BOB: PeerId = PeerId::from_bytes([2; 32]);

    #[test]
    fn a_name_cannot_leave_the_folder_or_hide_in_it() {
        let id = ALICE.short();
        for (name, expected) in [
            ("alice", "alice"),
            ("../../etc/passwd", "etc_passwd"),
            ("..", "peer"),
            ("/", "peer"),
            ("a\\b:c*d?", "a_b_c_d"),
            ("Ann-Marie O'Neil", "Ann-Marie_O_Neil"),
            ("媒婆", "媒婆"),
            (".hidden", "hidden"),
        ] {
            assert_eq!(file_name(name, ALICE), format!("{expected}-{id}.mkv"), "{name}");
        }
        assert!(file_name(&"媒".repeat(64), ALICE).len() < 120);
    }

    #[test]
    fn each_participant_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut recordings = room(&folder, &[(ALICE, "alice"), (BOB, "bob")]);
        for number in 0..50 {
            recordings.handle_frame(ALICE, frame(0, number), time(number));
            recordings.handle_frame(BOB, frame(0, number), time(number));
            recordings.handle_timeout(time(number));
        }
        recordings.finish(time(50));
        assert_eq!(begun(&mut recordings).len(), 2);
        assert_eq!((frames_in(&folder, "alice", ""), frames_in(&folder, "bob", "")), (50, 50));
    }

    #[test]
    fn a_taken_name_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file_name("alice", ALICE)), "precious").unwrap();
        let mut recordings = room(&folder, &[(ALICE, "alice")]);
        recordings.handle_frame(ALICE, frame(0, 0), time(0));
        recordings.handle_peer_left(ALICE, time(1));
        assert!(begun(&mut recordings)[0].ends_with(format!("alice-{}-2.mkv", ALICE.short())));
        assert_eq!(std::fs::read(folder.path().join(file_name("alice", ALICE))).unwrap(), b"precious");
    }

    #[test]
    fn a_track_that_begins_late_gets_a_further_part() {
        let folder = tempfile::tempdir().unwrap();
        let mut recordings = room(&folder, &[(ALICE, "alice")]);
        for number in 0..100 {
            recordings.handle_frame(ALICE, frame(0, number), time(number));
            recordings.handle_timeout(time(number));
            if number == 90 {
                let kind = TrackKind::Video { width: 64, height: 64, millihertz: 50_000 };
                recordings.handle_track(ALICE, Track { kind, codec: "vp8".to_owned(), ..track(1) });
            }
            if number > 90 {
                recordings.handle_frame(ALICE, frame(1, number), time(number));
            }
        }
        recordings.finish(time(100));
        assert_eq!(begun(&mut recordings).len(), 2);
        assert_eq!(frames_in(&folder, "alice", "") + frames_in(&folder, "alice", "-2"), 109);
    }

    #[test]
    fn frames_that_come_again_are_recorded_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut recordings = room(&folder, &[(ALICE, "alice")]);
        for number in (0..30).chain(10..40) {
            recordings.handle_frame(ALICE, frame(0, number), time(number));
        }
        recordings.finish(time(50));
        assert_eq!(frames_in(&folder, "alice", ""), 40);
    }

    #[test]
    fn the_end_of_all_tracks_ends_the_file_and_a_new_track_begins_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut recordings = room(&folder, &[(ALICE, "alice")]);
        recordings.handle_frame(ALICE, frame(0, 0), time(0));
        recordings.handle_track_ended(ALICE, TrackId(0), time(1));
        assert_eq!(frames_in(&folder, "alice", ""), 1);
        recordings.handle_track(ALICE, track(0));
        recordings.handle_frame(ALICE, frame(0, 0), time(2));
        recordings.finish(time(3));
        assert_eq!(frames_in(&folder, "alice", "-2"), 1);
    }

    #[test]
    fn what_cannot_be_recorded_is_said_and_the_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut recordings = room(&folder, &[(ALICE, "alice"), (BOB, "bob")]);
        let codec = "hev1.1.6.L93.B0".to_owned();
        recordings.handle_track(ALICE, Track { id: TrackId(5), codec, ..track(0) });
        for peer in [ALICE, BOB] {
            recordings.handle_frame(peer, frame(5, 0), time(0));
            recordings.handle_frame(peer, frame(0, 0), time(0));
        }
        recordings.finish(time(1));
        let notices = recordings.take_notices();
        let failed = notices.iter().filter(|notice| matches!(notice, Notice::Failed(ALICE, _))).count();
        assert_eq!((failed, notices.len()), (1, 3), "{notices:?}");
        assert_eq!((frames_in(&folder, "alice", ""), frames_in(&folder, "bob", "")), (1, 1));
    }

    #[test]
    fn a_folder_that_cannot_be_written_ends_the_recording_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let mut recordings = Recordings::new(folder.path().join("gone"));
        recordings.handle_peer(ALICE, "alice");
        recordings.handle_track(ALICE, track(0));
        for number in 0..60 {
            recordings.handle_frame(ALICE, frame(0, number), time(number));
            recordings.handle_timeout(time(number));
        }
        recordings.finish(time(60));
        let notices = recordings.take_notices();
        assert!(matches!(&notices[..], [Notice::Failed(ALICE, reason)] if reason.contains("gone")), "{notices:?}");
    }

    fn room(folder: &TempDir, peers: &[(PeerId, &str)]) -> Recordings {
        let mut recordings = Recordings::new(folder.path().to_owned());
        for (peer, name) in peers {
            recordings.handle_peer(*peer, name);
            recordings.handle_track(*peer, track(0));
        }
        recordings
    }

    fn begun(recordings: &mut Recordings) -> Vec<PathBuf> {
        let begun = |notice| match notice {
            Notice::Begun(_, path) => Some(path),
            Notice::Failed(..) | Notice::NeedsKey(..) => None,
        };
        recordings.take_notices().into_iter().filter_map(begun).collect()
    }

    fn frames_in(folder: &TempDir, name: &str, part: &str) -> usize {
        let short = if name == "alice" { ALICE.short() } else { BOB.short() };
        let mut source = Source::open(&folder.path().join(format!("{name}-{short}{part}.mkv"))).unwrap();
        std::iter::from_fn(|| source.next_frame().unwrap()).count()
    }

    fn track(id: u16) -> Track {
        Track {
            id: TrackId(id),
            kind: TrackKind::Audio { sample_rate: 48_000, channels: 1 },
            source: TrackSource::Microphone,
            codec: "opus".to_owned(),
            description: Bytes::new(),
            epoch_unix_us: 0,
        }
    }

    fn frame(track: u16, number: u32) -> Frame {
        Frame {
            track: TrackId(track),
            number: FrameNumber(number),
            captured: CaptureTime::from_micros(u64::from(number) * 20_000),
            kind: FrameKind::Key,
            temporal_layer: 0,
            needs: 0,
            data: Bytes::from_static(&[0x78, 1, 2, 3]),
        }
    }

    fn time(number: u32) -> Time {
        Time::from_millis(u64::from(number) * 20)
    }
}
