//! Files of frames: read for publishing, written for recording.
//!
//! In go Matroska, WebM and MP4, out come frames as they are in the file, bit for bit; and back into Matroska. What a
//! file holds is not trusted: damage gives an error that says where, never a panic.

mod describe;
mod ebml;
mod matroska;
mod mp4;
mod mp4_samples;
mod recorder;
mod segment;
mod source;

use std::fmt;
use std::io;

use bytes::Bytes;
use meipo::media::{Track, TrackKind, TrackSource};
use meipo::units::TrackId;

pub use recorder::Recorder;
pub use source::{SkippedTrack, Source};

/// What is wrong with which file.
#[derive(Debug)]
pub struct ContainerError {
    file: String,
    problem: Problem,
}

impl ContainerError {
    /// What is wrong with the file.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for ContainerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.problem)
    }
}

impl std::error::Error for ContainerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The problem itself stands in our own text.
        self.problem.source()
    }
}

/// Names the file a problem was found in.
fn in_file(file: &str) -> impl Fn(Problem) -> ContainerError {
    move |problem| ContainerError { file: file.to_owned(), problem }
}

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The system could not read or write; a full disk among others.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Neither Matroska nor MP4.
    #[error("neither Matroska, WebM nor MP4: it begins with {0:02x?}; {CONVERT}")]
    UnknownFormat(Vec<u8>),
    /// Nothing at all.
    #[error("is empty")]
    Empty,
    /// MP4 where seeking is not possible.
    #[error("MP4 cannot be read as it comes in; pipe Matroska instead, for example with `ffmpeg -i … -f matroska -`")]
    Mp4Stream,
    /// The file ended before anything could be read from it.
    #[error("ends at byte {0}, before any track is described")]
    NoTracks(u64),
    /// No track can be published.
    #[error("no track in it can be used: {0}; {CONVERT}")]
    NothingUsable(String),
    /// Bytes that are not what the format asks for at this place.
    #[error("at byte {offset}: {what}")]
    Malformed {
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// An element claims to be larger than any real one.
    #[error("at byte {offset}: {what} of {size} bytes; at most {limit} are read")]
    TooLarge {
        /// Where in the file.
        offset: u64,
        /// What claims to be so large.
        what: &'static str,
        /// Bytes it claims.
        size: u64,
        /// Bytes it may have.
        limit: u64,
    },
    /// More frames in one track than their numbers can count.
    #[error("track {} holds more than 2³² frames", .0.0)]
    TooManyFrames(TrackId),
    /// A frame of a track the recording does not have.
    #[error("track {} is not part of this recording", .0.0)]
    UnknownTrack(TrackId),
    /// A frame of a track that began after the recording's header was written: it needs a file of its own.
    #[error("track {} began too late for this file and needs another one", .0.0)]
    LateTrack(TrackId),
    /// A track this program cannot write into Matroska.
    #[error("{0} cannot be recorded; H.264, VP8, VP9, AV1 and Opus can")]
    CannotRecord(String),
}

/// How anything becomes a file that is read.
const CONVERT: &str =
    "`ffmpeg -i FILE -c:v libx264 -profile:v baseline -c:a libopus clip.mkv` makes a file that can be used";

/// Bytes that are not what the format asks for at `offset`.
fn malformed(offset: u64, what: impl Into<String>) -> Problem {
    Problem::Malformed { offset, what: what.into() }
}

/// What a track of a file says of itself, in WebCodecs words.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Shape {
    kind: TrackKind,
    codec: String,
    description: Bytes,
}

impl Shape {
    /// The track that is announced for it.
    fn track(&self, id: TrackId) -> Track {
        Track {
            id,
            kind: self.kind,
            source: TrackSource::File,
            codec: self.codec.clone(),
            description: self.description.clone(),
            epoch_unix_us: 0,
        }
    }
}

/// One frame as a file holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Block {
    /// Its track's place among [`Demux::shapes`].
    track: usize,
    /// When it is to be shown or heard, in microseconds; may lie a little below zero.
    timestamp: i64,
    is_key: bool,
    data: Bytes,
}

/// A file format being read.
trait Demux: Send {
    /// The tracks that are read: at most one of pictures and one of sound.
    fn shapes(&self) -> &[Shape];
    /// The tracks that are left out.
    fn skipped(&self) -> &[SkippedTrack];
    /// The next frame in decode order; `None` after the last.
    fn next_block(&mut self) -> Result<Option<Block>, Problem>;
}

/// Sorts the tracks of a file: the first of pictures and the first of sound that can be used are taken, in the order
/// of the file. Gives each taken shape with the file's number for it.
fn choose(found: Vec<(u64, Result<Shape, SkippedTrack>)>) -> (Vec<(u64, Shape)>, Vec<SkippedTrack>) {
    let mut taken: Vec<(u64, Shape)> = Vec::new();
    let mut skipped = Vec::new();
    for (number, shape) in found {
        let shape = shape.and_then(|shape| match shape.track(TrackId(0)).check() {
            Ok(()) => Ok(shape),
            Err(error) => Err(SkippedTrack { number, codec: shape.codec, reason: error.to_string() }),
        });
        match shape {
            Ok(shape) if taken.iter().any(|(_, other)| other.kind.is_audio() == shape.kind.is_audio()) => {
                let kind = if shape.kind.is_audio() { "sound" } else { "pictures" };
                skipped.push(SkippedTrack {
                    number,
                    codec: shape.codec,
                    reason: format!("an earlier track of {kind} is used"),
                });
            }
            Ok(shape) => taken.push((number, shape)),
            Err(track) => skipped.push(track),
        }
    }
    (taken, skipped)
}
