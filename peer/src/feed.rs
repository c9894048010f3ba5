//! What is published: tracks, what becomes of them, and their frames at the moment they are to be sent.
//!
//! A file and standard input are read ahead on a thread and paced here by their capture times; the test pattern is
//! encoded in real time and passed on as it comes.

use std::path::PathBuf;
use std::thread;

use anyhow::Context;
use meipo::media::{Frame, Track};
use meipo::net::clock::unix_micros_now;
use meipo::units::{Bitrate, TrackId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::args::Input;
use crate::container::Source;
use crate::params::READ_AHEAD;
use crate::pattern_feed::{self, EncoderControl};
use crate::schedule::{Rounds, Schedule};

/// What is published.
#[derive(Debug)]
pub struct Feed {
    tracks: Vec<Track>,
    supply: Supply,
    control: EncoderControl,
}

/// What a feed has to offer next.
#[derive(Clone, Debug)]
pub enum Offered {
    /// A track is another from here on: its size, its rate.
    Track(Track),
    /// A frame of a track.
    Frame(Frame),
}

/// Where it comes from, and who decides when it is sent.
#[derive(Debug)]
enum Supply {
    /// It is sent when it is made.
    Live(mpsc::Receiver<anyhow::Result<Offered>>),
    /// It is read ahead, and sent at its capture time.
    Timed(Reading),
}

/// Frames of a file that are read ahead.
#[derive(Debug)]
struct Reading {
    frames: mpsc::Receiver<anyhow::Result<Frame>>,
    start: Instant,
    schedule: Schedule,
    /// Read, but not due yet.
    next: Option<(Frame, Instant)>,
}

/// A file that is open, with its tracks, before anything of it is sent.
#[derive(Debug)]
pub struct OpenFile {
    /// What it has.
    pub tracks: Vec<Track>,
    /// What is left out, and why.
    pub skipped: Vec<String>,
    frames: mpsc::Receiver<anyhow::Result<Frame>>,
}

impl Feed {
    /// The frames of a file, beginning now.
    pub fn file(file: OpenFile) -> Self {
        let epoch_unix_us = unix_micros_now();
        let tracks = file.tracks.into_iter().map(|track| Track { epoch_unix_us, ..track }).collect();
        let (start, schedule) = (Instant::now(), Schedule::default());
        let reading = Reading { frames: file.frames, start, schedule, next: None };
        Feed { tracks, supply: Supply::Timed(reading), control: EncoderControl::default() }
    }

    /// A test pattern, beginning now.
    ///
    /// # Errors
    /// When the encoder refuses its settings.
    pub fn pattern(settings: &pattern_feed::Settings) -> anyhow::Result<Self> {
        let (tracks, made, control) = pattern_feed::start(settings)?;
        Ok(Feed { tracks, supply: Supply::Live(made), control })
    }

    /// What is published.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Somebody cannot go on without a key frame. A file has its own at its own times.
    pub fn want_key_frame(&self, track: TrackId) {
        self.control.want_key_frame(track);
    }

    /// Pictures may take this much of the way. A file is sent as it is.
    pub fn set_bitrate(&self, rate: Bitrate) {
        self.control.set_bitrate(rate);
    }

    /// The track whose pictures also come in a smaller size, and the track these come as.
    pub fn smaller(&self) -> Option<(TrackId, TrackId)> {
        self.control.smaller()
    }

    /// The smaller size is needed and may take this much, or is not needed.
    pub fn set_smaller_bitrate(&self, track: TrackId, rate: Option<Bitrate>) {
        self.control.set_smaller_bitrate(track, rate);
    }

    /// What comes next, when it is to be sent; `None` after the last. May be dropped and called again without losing
    /// anything.
    ///
    /// # Errors
    /// When the file cannot be read on, or the encoder fails.
    pub async fn next(&mut self) -> anyhow::Result<Option<Offered>> {
        match &mut self.supply {
            Supply::Live(made) => made.recv().await.transpose(),
            Supply::Timed(reading) => Ok(reading.next().await?.map(Offered::Frame)),
        }
    }
}

impl Reading {
    async fn next(&mut self) -> anyhow::Result<Option<Frame>> {
        if self.next.is_none() {
            let Some(frame) = self.frames.recv().await else { return Ok(None) };
            let frame = frame?;
            let due = self.start + self.schedule.due(frame.captured);
            self.next = Some((frame, due));
        }
        if let Some((_, due)) = &self.next {
            sleep_until(*due).await;
        }
        Ok(self.next.take().map(|(frame, _)| frame))
    }
}

impl OpenFile {
    /// Opens a file or standard input on a thread of its own, which goes on to read it. Standard input says what it has
    /// only once something comes.
    ///
    /// # Errors
    /// When it cannot be read, is of another format, or has nothing that can be used.
    pub async fn open(input: Input, is_looped: bool) -> anyhow::Result<Self> {
        let (opened, is_open) = oneshot::channel();
        let (frames, received) = mpsc::channel(READ_AHEAD);
        thread::Builder::new().name("reading".to_owned()).spawn(move || {
            let source = match open(&input) {
                Ok(source) => source,
                Err(error) => return drop(opened.send(Err(error))),
            };
            let skip = |skipped: &crate::container::SkippedTrack| {
                format!("track {} ({}) is left out: {}", skipped.number, skipped.codec, skipped.reason)
            };
            let skipped = source.skipped().iter().map(skip).collect();
            let _ = opened.send(Ok((source.tracks().to_vec(), skipped)));
            if let Err(error) = read(&input, source, is_looped, &frames) {
                let _ = frames.blocking_send(Err(error));
            }
        })?;
        let (tracks, skipped) = is_open.await.context("the reading thread has ended")??;
        Ok(OpenFile { tracks, skipped, frames: received })
    }
}

fn open(input: &Input) -> anyhow::Result<Source> {
    match input {
        Input::File(path) => Ok(Source::open(&PathBuf::from(path))?),
        Input::Stdin => Ok(Source::from_reader(std::io::stdin())?),
        Input::Pattern(_) => anyhow::bail!("a test pattern is no file"),
    }
}

/// Reads until the end, or for ever, or until nobody wants more.
fn read(
    input: &Input,
    mut source: Source,
    is_looped: bool,
    frames: &mpsc::Sender<anyhow::Result<Frame>>,
) -> anyhow::Result<()> {
    let mut rounds = Rounds::new(source.tracks());
    loop {
        let mut is_empty = true;
        while let Some(frame) = source.next_frame()? {
            let Some(frame) = rounds.place(frame) else { return Ok(()) };
            is_empty = false;
            if frames.blocking_send(Ok(frame)).is_err() {
                return Ok(());
            }
        }
        if !is_looped || is_empty {
            return Ok(());
        }
        rounds.next_round();
        source = open(input)?;
    }
}
