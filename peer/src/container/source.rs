//! A file or a pipe of frames, ready to be published.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use bytes::Bytes;
use meipo::media::{Frame, FrameKind, Track};
use meipo::units::{CaptureTime, FrameNumber, TrackId};

use super::matroska::MatroskaReader;
use super::mp4::Mp4Reader;
use super::{Block, ContainerError, Demux, Problem, in_file};

/// A file or a pipe: what tracks it has, and their frames in the order they are decoded.
pub struct Source {
    name: String,
    demux: Box<dyn Demux>,
    tracks: Vec<Track>,
    numbers: Vec<FrameNumber>,
    /// A frame that was read to learn where the time line begins.
    first: Option<Block>,
    /// Added to every time, so that the first one is not below zero.
    shift: i64,
}

/// A track of a file that is not published, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SkippedTrack {
    /// The file's number for it.
    pub number: u64,
    /// The codec, in WebCodecs words or else in the file's.
    pub codec: String,
    /// Why it is left out.
    pub reason: String,
}

impl Source {
    /// Opens a Matroska, WebM or MP4 file; its content decides which, not its name.
    ///
    /// # Errors
    /// When the file cannot be read, is of another format, is damaged, or has no track that can be used.
    pub fn open(path: &Path) -> Result<Self, ContainerError> {
        let name = path.display().to_string();
        let open = || -> Result<Box<dyn Demux>, Problem> {
            let mut file = File::open(path)?;
            let magic = read_magic(&mut file)?;
            file.rewind()?;
            match Format::of(&magic)? {
                Format::Matroska => Ok(Box::new(MatroskaReader::new(BufReader::new(file))?)),
                Format::Mp4 => Ok(Box::new(Mp4Reader::new(BufReader::new(file))?)),
            }
        };
        let demux = open().map_err(in_file(&name))?;
        Source::new(name, demux)
    }

    /// Reads Matroska as it comes in, for example from `ffmpeg … -f matroska -`. Blocks until the tracks are described.
    ///
    /// # Errors
    /// When the stream cannot be read, is not Matroska, is damaged, or has no track that can be used.
    pub fn from_reader(mut reader: impl Read + Send + 'static) -> Result<Self, ContainerError> {
        let name = "standard input".to_owned();
        let open = || -> Result<Box<dyn Demux>, Problem> {
            let magic = read_magic(&mut reader)?;
            match Format::of(&magic)? {
                Format::Matroska => {
                    let input = Cursor::new(magic).chain(BufReader::new(reader));
                    Ok(Box::new(MatroskaReader::new(input)?))
                }
                Format::Mp4 => Err(Problem::Mp4Stream),
            }
        };
        let demux = open().map_err(in_file(&name))?;
        Source::new(name, demux)
    }

    fn new(name: String, mut demux: Box<dyn Demux>) -> Result<Self, ContainerError> {
        let first = demux.next_block().map_err(in_file(&name))?;
        let shift = first.as_ref().map_or(0, |block| block.timestamp.saturating_neg().max(0));
        let tracks: Vec<_> = (0..).zip(demux.shapes()).map(|(id, shape)| shape.track(TrackId(id))).collect();
        Ok(Source { name, numbers: vec![FrameNumber::default(); tracks.len()], demux, tracks, first, shift })
    }

    /// The tracks that are read: at most one of pictures and one of sound, numbered from 0.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// The tracks that are left out, and why.
    pub fn skipped(&self) -> &[SkippedTrack] {
        self.demux.skipped()
    }

    /// The next frame in decode order, of whichever track it is; `None` after the last.
    ///
    /// Pictures are timed by when they are shown, sound by when it went into its encoder: it is heard its codec's
    /// lookahead (6.5 ms) later, as from a live microphone. A file that ends inside a frame ends after the last whole
    /// one.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ContainerError> {
        let block = match self.first.take() {
            Some(block) => Some(block),
            None => self.demux.next_block().map_err(in_file(&self.name))?,
        };
        block.map(|block| self.number(block)).transpose().map_err(in_file(&self.name))
    }

    /// Makes a frame of a block.
    fn number(&mut self, block: Block) -> Result<Frame, Problem> {
        let lost = || Problem::UnknownTrack(TrackId(u16::MAX));
        let track = self.tracks.get(block.track).ok_or_else(lost)?;
        let next = self.numbers.get_mut(block.track).ok_or_else(lost)?;
        let number = *next;
        *next = number.next().ok_or(Problem::TooManyFrames(track.id))?;
        let is_key = block.is_key || track.kind.is_audio();
        let captured = block.timestamp.saturating_add(self.shift);
        Ok(Frame {
            track: track.id,
            number,
            captured: CaptureTime::from_micros(u64::try_from(captured).unwrap_or(0)),
            kind: if is_key { FrameKind::Key } else { FrameKind::Delta },
            temporal_layer: 0,
            needs: u8::from(!is_key),
            data: block.data,
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("tracks", &self.tracks).finish_non_exhaustive()
    }
}

/// The formats that are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Matroska,
    Mp4,
}

impl Format {
    /// The format that begins so.
    fn of(magic: &[u8]) -> Result<Self, Problem> {
        match magic {
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Ok(Format::Matroska),
            [_, _, _, _, kind @ ..] if MP4_FIRST_BOXES.contains(&kind) => Ok(Format::Mp4),
            [] => Err(Problem::Empty),
            _ => Err(Problem::UnknownFormat(magic.to_vec())),
        }
    }
}

/// What the first box of an MP4 or QuickTime file may be.
const MP4_FIRST_BOXES: [&[u8]; 7] = [b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide"];

/// The first eight bytes, or all where there are fewer.
fn read_magic(reader: &mut impl Read) -> Result<Bytes, Problem> {
    let mut magic = Vec::new();
    reader.take(8).read_to_end(&mut magic)?;
    Ok(magic.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_file_is_refused_with_what_it_begins_with() {
        let error = Source::from_reader(&b"#!/bin/sh\n"[..]).unwrap_err();
        assert!(error.to_string().starts_with("standard input: neither Matroska"), "{error}");
    }

    #[test]
    fn mp4_in_a_pipe_is_refused_with_the_way_out() {
        let error = Source::from_reader(&b"\0\0\0\x18ftypisom\0\0\0\0"[..]).unwrap_err();
        assert!(error.to_string().contains("-f matroska"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Source::open(Path::new("/nowhere/clip.mkv")).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/clip.mkv: "), "{error}");
    }
}
