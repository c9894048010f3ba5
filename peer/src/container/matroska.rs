//! Matroska and WebM as they come in: from a file, or from a pipe that is still being written.
//!
//! Elements are walked flat: segments and clusters are entered, everything else is read or stepped over whole. So an
//! unknown size, a missing index or an end in the middle makes no difference.

use std::collections::VecDeque;
use std::io::Read;

use bytes::{Buf, Bytes};
use meipo::media::TrackKind;
use mkv_element::Lacer;
use mkv_element::prelude::{BlockGroup, Cluster, Ebml, Element as _, Info, Segment, SimpleBlock, Timestamp};
use mkv_element::prelude::{ContentEncodings, TrackEntry, Tracks, VInt64};

use super::describe::{self, Codec};
use super::ebml::{Element, ElementReader};
use super::{Block, Demux, Problem, Shape, SkippedTrack, choose, malformed};
use crate::params::{MAX_BLOCK, MAX_HEADER};

/// A Matroska file being read.
#[derive(Debug)]
pub(super) struct MatroskaReader<R> {
    elements: ElementReader<R>,
    /// Nanoseconds in a tick.
    scale: u64,
    cluster: i64,
    lanes: Vec<Lane>,
    shapes: Vec<Shape>,
    skipped: Vec<SkippedTrack>,
    ready: VecDeque<Block>,
}

/// What reading the blocks of one track needs.
#[derive(Debug)]
struct Lane {
    number: u64,
    codec: Codec,
    /// Bytes that the writer took from the head of every frame.
    stripped: Bytes,
    /// Microseconds from one frame to the next, where the file says so.
    period: Option<i64>,
}

impl<R: Read> MatroskaReader<R> {
    /// Reads up to where every track is described: that is the header, and for VP9 the first key frame.
    pub(super) fn new(input: R) -> Result<Self, Problem> {
        let mut reader = MatroskaReader {
            elements: ElementReader::new(input),
            scale: 1_000_000,
            cluster: 0,
            lanes: Vec::new(),
            shapes: Vec::new(),
            skipped: Vec::new(),
            ready: VecDeque::new(),
        };
        while reader.lanes.is_empty() {
            if !reader.step()? {
                return Err(Problem::NoTracks(reader.elements.offset()));
            }
        }
        reader.name_vp9()?;
        Ok(reader)
    }

    /// Reads one element; `false` at the end.
    fn step(&mut self) -> Result<bool, Problem> {
        let Some(element) = self.elements.next()? else {
            return Ok(false);
        };
        match element.id {
            SEGMENT | CLUSTER => {}
            EBML => return self.read(element, "header", Self::check_header),
            INFO => return self.read(element, "segment information", Self::read_info),
            TRACKS if self.lanes.is_empty() => return self.read(element, "track list", Self::read_tracks),
            TIMESTAMP => return self.read(element, "cluster time", Self::read_cluster_time),
            SIMPLE_BLOCK => return self.read(element, "block", Self::read_simple_block),
            BLOCK_GROUP => return self.read(element, "block group", Self::read_block_group),
            _ => self.elements.skip(element)?,
        }
        Ok(true)
    }

    /// Hands the body of `element` to `take`; `false` if the input ends inside it.
    fn read(
        &mut self,
        element: Element,
        what: &'static str,
        take: fn(&mut Self, u64, Bytes) -> Result<(), Problem>,
    ) -> Result<bool, Problem> {
        let limit = if matches!(element.id, SIMPLE_BLOCK | BLOCK_GROUP) { MAX_BLOCK } else { MAX_HEADER };
        let Some(body) = self.elements.body(element, what, limit)? else {
            tracing::warn!(offset = element.offset, what, "the file ends inside an element; the rest is left out");
            return Ok(false);
        };
        take(self, element.offset, body)?;
        Ok(true)
    }

    fn check_header(&mut self, offset: u64, body: Bytes) -> Result<(), Problem> {
        let header = decode::<Ebml>(offset, "header", &body)?;
        match header.doc_type.as_deref() {
            None | Some("matroska" | "webm") => Ok(()),
            Some(other) => Err(malformed(offset, format!("EBML holds {other:?}, not Matroska"))),
        }
    }

    fn read_info(&mut self, offset: u64, body: Bytes) -> Result<(), Problem> {
        let info = decode::<Info>(offset, "segment information", &body)?;
        self.scale = *info.timestamp_scale;
        if !(1..=1_000_000_000).contains(&self.scale) {
            return Err(malformed(offset, format!("a tick of {} ns", self.scale)));
        }
        Ok(())
    }

    fn read_tracks(&mut self, offset: u64, body: Bytes) -> Result<(), Problem> {
        let entries = decode::<Tracks>(offset, "track list", &body)?.track_entry;
        let found = entries.iter().map(|entry| (*entry.track_number, shape_of(entry))).collect();
        let (taken, skipped) = choose(found);
        self.skipped = skipped;
        for (number, shape) in taken {
            let Some(entry) = entries.iter().find(|entry| *entry.track_number == number) else {
                continue;
            };
            let Some(codec) = Codec::from_matroska(&entry.codec_id) else {
                continue;
            };
            self.lanes.push(Lane {
                number,
                codec,
                stripped: stripped_head(entry.content_encodings.as_ref()).unwrap_or_default(),
                period: entry.default_duration.as_ref().and_then(|nanos| i64::try_from(**nanos / 1000).ok()),
            });
            self.shapes.push(shape);
        }
        if self.lanes.is_empty() {
            let tracks = self.skipped.iter().map(|track| format!("{} ({})", track.codec, track.reason));
            return Err(Problem::NothingUsable(tracks.collect::<Vec<_>>().join(", ")));
        }
        Ok(())
    }

    fn read_cluster_time(&mut self, offset: u64, body: Bytes) -> Result<(), Problem> {
        let time = decode::<Timestamp>(offset, "cluster time", &body)?;
        self.cluster = i64::try_from(*time).map_err(|_| malformed(offset, "cluster time beyond all time"))?;
        Ok(())
    }

    fn read_simple_block(&mut self, offset: u64, body: Bytes) -> Result<(), Problem> {
        self.read_block(offset, body, |flags| flags & 0x80 != 0)
    }

    fn read_block_group(&mut self, offset: u64, body: Bytes) -> Result<(), Problem> {
        let group = decode::<BlockGroup>(offset, "block group", &body)?;
        let is_key = group.reference_block.is_empty();
        self.read_block(offset, group.block.0, |_| is_key)
    }

    /// Reads a block (RFC 9559 §10.2): track number, time since the cluster's, flags, one frame or several laced.
    fn read_block(&mut self, offset: u64, mut body: Bytes, is_key: impl Fn(u8) -> bool) -> Result<(), Problem> {
        let short = || malformed(offset, "block that ends inside its header");
        let number = take_number(&mut body).ok_or_else(short)?;
        let ticks = body.try_get_i16().map_err(|_| short())?;
        let flags = body.try_get_u8().map_err(|_| short())?;
        let Some((track, lane)) = self.lanes.iter().enumerate().find(|(_, lane)| lane.number == number) else {
            return Ok(());
        };
        let mut timestamp = self.micros(i64::from(ticks));
        for frame in unlace(offset, flags, &body)? {
            let data = lane.restore(frame);
            let period = if lane.codec == Codec::Opus { describe::opus_duration(&data) } else { lane.period };
            self.ready.push_back(Block { track, timestamp, is_key: is_key(flags), data });
            timestamp = timestamp.saturating_add(period.unwrap_or(0));
        }
        Ok(())
    }

    /// Ticks since the cluster's time as microseconds since the start.
    fn micros(&self, ticks: i64) -> i64 {
        let nanos = (i128::from(self.cluster) + i128::from(ticks)) * i128::from(self.scale);
        i64::try_from((nanos + 500).div_euclid(1000)).unwrap_or(i64::MAX)
    }

    /// Reads on to the first key frame of a VP9 track that does not name its profile otherwise.
    fn name_vp9(&mut self) -> Result<(), Problem> {
        while let Some(track) = self.shapes.iter().position(|shape| shape.codec.is_empty()) {
            let key = self.ready.iter().find(|block| block.track == track && block.is_key);
            let name = key.map(|block| Codec::Vp9.string(&[], Some(&block.data)));
            match (name, self.shapes.get_mut(track)) {
                (Some(Some(name)), Some(shape)) => shape.codec = name,
                (Some(None), _) | (_, None) => return Err(malformed(0, "the first VP9 frame is no key frame")),
                (None, Some(_)) if self.ready.len() > MAX_WAITING => {
                    return Err(malformed(0, "no VP9 key frame near the beginning"));
                }
                (None, Some(_)) => {
                    if !self.step()? {
                        return Err(Problem::NoTracks(self.elements.offset()));
                    }
                }
            }
        }
        Ok(())
    }
}

impl<R: Read + Send> Demux for MatroskaReader<R> {
    fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    fn skipped(&self) -> &[SkippedTrack] {
        &self.skipped
    }

    fn next_block(&mut self) -> Result<Option<Block>, Problem> {
        loop {
            if let Some(block) = self.ready.pop_front() {
                return Ok(Some(block));
            }
            if !self.step()? {
                return Ok(None);
            }
        }
    }
}

impl Lane {
    /// The frame with the head that the writer left out.
    fn restore(&self, frame: Bytes) -> Bytes {
        if self.stripped.is_empty() {
            return frame;
        }
        [self.stripped.as_ref(), &frame].concat().into()
    }
}

/// The WebCodecs words for a track. VP9 that keeps its profile in its key frames comes without a name.
fn shape_of(entry: &TrackEntry) -> Result<Shape, SkippedTrack> {
    let id = entry.codec_id.to_string();
    let refuse =
        |reason: &str| SkippedTrack { number: *entry.track_number, codec: id.clone(), reason: reason.to_owned() };
    let codec = Codec::from_matroska(&id).ok_or_else(|| refuse("H.264, VP8, VP9, AV1 and Opus are read"))?;
    if stripped_head(entry.content_encodings.as_ref()).is_none() {
        return Err(refuse("it is compressed or encrypted"));
    }
    let private = entry.codec_private.as_ref().map(|private| private.0.clone()).unwrap_or_default();
    let codec_string = match codec.string(&private, None) {
        None if codec == Codec::Vp9 => String::new(),
        None => return Err(refuse("its codec configuration is missing or damaged")),
        Some(string) => string,
    };
    let kind = kind_of(entry, codec, &private).ok_or_else(|| refuse("its size or shape is missing or out of range"))?;
    Ok(Shape { kind, codec: codec_string, description: codec.description(&private) })
}

/// Sound or pictures, and their shape.
fn kind_of(entry: &TrackEntry, codec: Codec, private: &[u8]) -> Option<TrackKind> {
    if codec == Codec::Opus {
        let (channels, _) = describe::opus_head(private)?;
        return Some(TrackKind::Audio {
            sample_rate: crate::params::SAMPLE_RATE,
            channels: Some(channels).filter(|channels| matches!(channels, 1 | 2))?,
        });
    }
    let video = entry.video.as_ref()?;
    let side = |pixels: u64| u16::try_from(pixels).ok().filter(|side| *side > 0);
    let period = entry.default_duration.as_ref().map(|nanos| **nanos).filter(|nanos| *nanos > 0);
    let millihertz = period.and_then(|nanos| u32::try_from((1_000_000_000_000 + nanos / 2) / nanos).ok());
    Some(TrackKind::Video {
        width: side(*video.pixel_width)?,
        height: side(*video.pixel_height)?,
        millihertz: millihertz.unwrap_or(0),
    })
}

/// The bytes every frame of a track begins with in truth, taken out by the writer; `None` if frames are hidden in
/// another way.
fn stripped_head(encodings: Option<&ContentEncodings>) -> Option<Bytes> {
    let Some(encodings) = encodings else {
        return Some(Bytes::new());
    };
    match encodings.content_encoding.as_slice() {
        [] => Some(Bytes::new()),
        [only] => {
            let compression = only.content_compression.as_ref()?;
            let is_stripping = *compression.content_comp_algo == 3 && only.content_encryption.is_none();
            is_stripping.then(|| compression.content_comp_settings.as_ref().map(|head| head.0.clone()))?
        }
        _ => None,
    }
}

/// The frames of a block, which the two lacing bits of its flags say how to take apart (RFC 9559 §10.3).
fn unlace(offset: u64, flags: u8, body: &Bytes) -> Result<Vec<Bytes>, Problem> {
    let lacer = match flags >> 1 & 3 {
        0 => return Ok(vec![body.clone()]),
        1 => Lacer::Xiph,
        2 => Lacer::FixedSize,
        _ => Lacer::Ebml,
    };
    let damaged = || malformed(offset, "laced block whose sizes do not add up");
    let count = usize::from(*body.first().ok_or_else(damaged)?) + 1;
    if body.len() <= count {
        return Err(damaged());
    }
    let frames = lacer.delace(body).map_err(|_| damaged())?;
    Ok(frames.into_iter().map(|frame| body.slice_ref(frame)).collect())
}

/// A number of one to eight bytes with a marker bit (RFC 8794 §4).
fn take_number(body: &mut Bytes) -> Option<u64> {
    let first = body.try_get_u8().ok()?;
    let more = first.leading_zeros();
    let mut number = u64::from(first ^ 0x80_u8.checked_shr(more)?);
    for _ in 0..more {
        number = number << 8 | u64::from(body.try_get_u8().ok()?);
    }
    Some(number)
}

/// Decodes the body of an element that is held whole.
fn decode<T: mkv_element::prelude::Element>(offset: u64, what: &str, body: &Bytes) -> Result<T, Problem> {
    T::decode_body(&mut &body[..]).map_err(|error| malformed(offset, format!("{what}: {error}")))
}

/// How many frames may wait for a VP9 key frame: ten seconds of sound and pictures.
const MAX_WAITING: usize = 1000;

const EBML: u64 = id(Ebml::ID);
const SEGMENT: u64 = id(Segment::ID);
const INFO: u64 = id(Info::ID);
const TRACKS: u64 = id(Tracks::ID);
const CLUSTER: u64 = id(Cluster::ID);
const TIMESTAMP: u64 = id(Timestamp::ID);
const SIMPLE_BLOCK: u64 = id(SimpleBlock::ID);
const BLOCK_GROUP: u64 = id(BlockGroup::ID);

/// An element's id with its marker bit, as it stands in the file.
const fn id(id: VInt64) -> u64 {
    let bits = 64 - id.value.leading_zeros();
    let len = if bits == 0 { 1 } else { bits.div_ceil(7) };
    id.value | 1 << (7 * len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_standard() {
        assert_eq!([EBML, SEGMENT, INFO, TRACKS], [0x1a45_dfa3, 0x1853_8067, 0x1549_a966, 0x1654_ae6b]);
        assert_eq!([CLUSTER, TIMESTAMP, SIMPLE_BLOCK, BLOCK_GROUP], [0x1f43_b675, 0xe7, 0xa3, 0xa0]);
    }

    #[test]
    fn laced_frames_come_apart_and_hostile_laces_do_not() {
        let xiph = Bytes::from_static(&[1, 2, b'a', b'b', b'c']);
        assert_eq!(unlace(0, 2, &xiph).unwrap(), [&b"ab"[..], b"c"]);
        let fixed = Bytes::from_static(&[1, b'a', b'b', b'c', b'd']);
        assert_eq!(unlace(0, 4, &fixed).unwrap(), [&b"ab"[..], b"cd"]);
        for flags in [2, 4, 6] {
            assert!(unlace(0, flags, &Bytes::from_static(&[9])).is_err());
            assert!(unlace(0, flags, &Bytes::new()).is_err());
        }
    }
}
