//! A Matroska segment as it grows: header, whole clusters, and at the end an index.
//!
//! The one rule: what has been written is never needed again for the file to play. Only [`Segment::finish`] goes back,
//! to add the duration and the place of the index.

use std::io::{Seek, SeekFrom, Write};

use bytes::{BufMut, Bytes};
use meipo::media::TrackKind;
use mkv_element::io::blocking_impl::WriteTo;
use mkv_element::prelude::{
    Audio, Channels, CodecDelay, CodecId, CodecPrivate, CueClusterPosition, CuePoint, CueTime, CueTrack,
    CueTrackPositions, Cues, DefaultDuration, DocType, DocTypeReadVersion, DocTypeVersion, Duration as MkvDuration,
    Ebml, Element, FlagLacing, Info, MuxingApp, PixelHeight, PixelWidth, SamplingFrequency, Seek as SeekEntry,
    SeekHead, SeekId, SeekPosition, SeekPreRoll, SimpleBlock, Timestamp, TimestampScale, TrackEntry, TrackNumber,
    TrackType, TrackUid, Tracks, Video, Void, WritingApp,
};

use super::Problem;
use super::describe::{self, Codec};
use crate::params::{CLUSTER_BYTES, CLUSTER_SPAN, OPUS_PRE_ROLL, SAMPLE_RATE};

/// What the header says of one track.
#[derive(Clone, Debug)]
pub(super) struct HeaderTrack {
    pub(super) codec: Codec,
    pub(super) kind: TrackKind,
    pub(super) private: Bytes,
}

/// One frame, timed in milliseconds since the beginning of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimedBlock<'a> {
    /// Its track's place in the header.
    pub(super) track: usize,
    pub(super) millis: i64,
    pub(super) is_key: bool,
    /// Whether it is a key frame of pictures, where a player looks for a cluster to begin.
    pub(super) starts_cluster: bool,
    pub(super) data: &'a [u8],
}

/// A segment being written.
#[derive(Debug)]
pub(super) struct Segment<W> {
    output: W,
    /// Where the segment's body begins: what positions are counted from.
    body: u64,
    seek_head: u64,
    info: u64,
    /// Where the next cluster will begin.
    end: u64,
    cluster: Option<Cluster>,
    entries: Vec<CuePoint>,
    last_millis: i64,
}

/// The cluster being filled.
#[derive(Debug)]
struct Cluster {
    millis: i64,
    blocks: Vec<u8>,
    /// The track of its first frame, if a player can begin there.
    entry: Option<usize>,
}

impl<W: Write + Seek> Segment<W> {
    /// Writes the header.
    pub(super) fn new(output: W, tracks: &[HeaderTrack]) -> Result<Self, Problem> {
        let mut header = Vec::new();
        put(&ebml_header(), &mut header)?;
        header.put_slice(&SEGMENT_OF_UNKNOWN_SIZE);
        let body = header.len() as u64;
        header.put_slice(&seek_head(None)?);
        let info_at = header.len() as u64;
        header.put_slice(&info(None)?);
        let track_entry = (1..).zip(tracks).map(|(number, track)| track_entry(number, track)).collect();
        put(&Tracks { track_entry, ..Tracks::default() }, &mut header)?;
        let mut segment = Segment {
            output,
            body,
            seek_head: body,
            info: info_at,
            end: header.len() as u64,
            cluster: None,
            entries: Vec::new(),
            last_millis: 0,
        };
        segment.output.write_all(&header)?;
        segment.output.flush()?;
        Ok(segment)
    }

    /// Adds a frame; writes the cluster before it out where this frame begins a new one.
    pub(super) fn write(&mut self, block: &TimedBlock<'_>) -> Result<(), Problem> {
        if self.cluster.as_ref().is_some_and(|cluster| cluster.ends_before(block)) {
            self.flush()?;
        }
        self.last_millis = self.last_millis.max(block.millis);
        let cluster = self.cluster.get_or_insert_with(|| Cluster {
            millis: block.millis.max(0),
            blocks: Vec::new(),
            entry: block.is_key.then_some(block.track),
        });
        cluster.push(block)
    }

    /// Writes out what is held back.
    pub(super) fn flush(&mut self) -> Result<(), Problem> {
        let Some(cluster) = self.cluster.take() else {
            return Ok(());
        };
        let mut body = Vec::with_capacity(cluster.blocks.len() + 16);
        let millis = u64::try_from(cluster.millis).unwrap_or(0);
        put(&Timestamp(millis), &mut body)?;
        body.put_slice(&cluster.blocks);
        let mut whole = vec![0x1f, 0x43, 0xb6, 0x75];
        whole.put_u64(LONG_SIZE | body.len() as u64);
        whole.put_slice(&body);
        self.output.write_all(&whole)?;
        self.output.flush()?;
        if let Some(track) = cluster.entry {
            self.entries.push(cue_point(millis, track, self.end - self.body));
        }
        self.end += whole.len() as u64;
        Ok(())
    }

    /// Writes out the rest and the index, and goes back to fill in the duration, the size and the index's place.
    pub(super) fn finish(mut self) -> Result<W, Problem> {
        self.flush()?;
        let cues_at = self.end - self.body;
        if !self.entries.is_empty() {
            let mut cues = Vec::new();
            let cue_point = std::mem::take(&mut self.entries);
            put(&Cues { cue_point, ..Cues::default() }, &mut cues)?;
            self.output.write_all(&cues)?;
            self.end += cues.len() as u64;
            self.output.seek(SeekFrom::Start(self.seek_head))?;
            self.output.write_all(&seek_head(Some(cues_at))?)?;
        }
        self.output.seek(SeekFrom::Start(self.info))?;
        self.output.write_all(&info(Some(self.last_millis))?)?;
        self.output.seek(SeekFrom::Start(self.body - 8))?;
        self.output.write_all(&(LONG_SIZE | (self.end - self.body)).to_be_bytes())?;
        self.output.seek(SeekFrom::Start(self.end))?;
        self.output.flush()?;
        Ok(self.output)
    }
}

impl Cluster {
    /// Whether `block` belongs into the next cluster: at a key frame, after a second, and when offsets run out.
    fn ends_before(&self, block: &TimedBlock<'_>) -> bool {
        let from_start = block.millis - self.millis;
        let span = i64::try_from(CLUSTER_SPAN.as_millis()).unwrap_or(i64::MAX);
        block.starts_cluster
            || from_start >= span
            || i16::try_from(from_start).is_err()
            || self.blocks.len() >= CLUSTER_BYTES
    }

    /// Adds a block: track, time since the cluster's, flags, frame (RFC 9559 §10.3).
    fn push(&mut self, block: &TimedBlock<'_>) -> Result<(), Problem> {
        let out_of_reach = || super::malformed(0, format!("frame at {} ms, far from those around it", block.millis));
        let offset = i16::try_from(block.millis - self.millis).map_err(|_| out_of_reach())?;
        let number = u8::try_from(block.track + 1).map_err(|_| out_of_reach())?;
        let mut body = Vec::with_capacity(block.data.len() + 4);
        body.put_u8(0x80 | number);
        body.put_i16(offset);
        body.put_u8(if block.is_key { 0x80 } else { 0 });
        body.put_slice(block.data);
        put(&SimpleBlock(body.into()), &mut self.blocks)?;
        Ok(())
    }
}

/// Encodes one element behind what `out` holds.
fn put<E: Element>(element: &E, out: &mut Vec<u8>) -> Result<(), Problem> {
    element.write_to(out).map_err(|error| super::malformed(0, error.to_string()))
}

fn ebml_header() -> Ebml {
    Ebml {
        doc_type: Some(DocType("matroska".into())),
        doc_type_version: Some(DocTypeVersion(4)),
        doc_type_read_version: Some(DocTypeReadVersion(2)),
        ..Ebml::default()
    }
}

/// Where the index lies, or room to say it later: always as long.
fn seek_head(cues_at: Option<u64>) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    if let Some(position) = cues_at {
        let seek = vec![SeekEntry {
            crc32: None,
            void: None,
            seek_id: SeekId(Bytes::from_static(&[0x1c, 0x53, 0xbb, 0x6b])),
            seek_position: SeekPosition(position),
        }];
        put(&SeekHead { crc32: None, void: None, seek }, &mut bytes)?;
    }
    let rest = SEEK_HEAD_LEN.saturating_sub(bytes.len() + 2);
    put(&Void { size: rest as u64 }, &mut bytes)?;
    Ok(bytes)
}

/// The segment's own description, with the duration or with room for it: always as long.
fn info(millis: Option<i64>) -> Result<Vec<u8>, Problem> {
    let mut info = Info {
        timestamp_scale: TimestampScale(1_000_000),
        #[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
        duration: millis.map(|millis| MkvDuration(millis as f64)),
        muxing_app: MuxingApp("meipo".into()),
        writing_app: WritingApp("meipo".into()),
        ..Info::default()
    };
    let mut bytes = Vec::new();
    put(&info, &mut bytes)?;
    let rest = INFO_LEN.saturating_sub(bytes.len() + 2);
    info.void = Some(Void { size: rest as u64 });
    bytes.clear();
    put(&info, &mut bytes)?;
    Ok(bytes)
}

fn track_entry(number: u64, track: &HeaderTrack) -> TrackEntry {
    let mut entry = TrackEntry {
        track_number: TrackNumber(number),
        track_uid: TrackUid(number),
        flag_lacing: FlagLacing(0),
        codec_id: CodecId(track.codec.matroska_id().into()),
        codec_private: (!track.private.is_empty()).then(|| CodecPrivate(track.private.clone())),
        ..TrackEntry::default()
    };
    match track.kind {
        TrackKind::Video { width, height, millihertz } => {
            entry.track_type = TrackType(1);
            if millihertz > 0 {
                entry.default_duration = Some(DefaultDuration(1_000_000_000_000 / u64::from(millihertz)));
            }
            entry.video = Some(Video {
                pixel_width: PixelWidth(width.into()),
                pixel_height: PixelHeight(height.into()),
                ..Video::default()
            });
        }
        TrackKind::Audio { sample_rate, channels } => {
            let pre_skip = describe::opus_head(&track.private).map_or(0, |(_, pre_skip)| pre_skip);
            entry.track_type = TrackType(2);
            entry.codec_delay = CodecDelay(u64::from(pre_skip) * 1_000_000_000 / u64::from(SAMPLE_RATE));
            entry.seek_pre_roll = SeekPreRoll(u64::try_from(OPUS_PRE_ROLL.as_nanos()).unwrap_or(0));
            entry.audio = Some(Audio {
                sampling_frequency: SamplingFrequency(sample_rate.into()),
                channels: Channels(channels.into()),
                ..Audio::default()
            });
        }
    }
    entry
}

/// One entry of the index.
fn cue_point(millis: u64, track: usize, position: u64) -> CuePoint {
    CuePoint {
        crc32: None,
        void: None,
        cue_time: CueTime(millis),
        cue_track_positions: vec![CueTrackPositions {
            cue_track: CueTrack(track as u64 + 1),
            cue_cluster_position: CueClusterPosition(position),
            ..CueTrackPositions::default()
        }],
    }
}

/// Segment, and a size of eight bytes that says "unknown" until the end is known.
const SEGMENT_OF_UNKNOWN_SIZE: [u8; 12] = [0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/// The marker of a size that takes eight bytes.
const LONG_SIZE: u64 = 1 << 56;

/// Room for the place of the index: an entry takes 26 bytes or fewer.
const SEEK_HEAD_LEN: usize = 64;

/// Room for the segment's own description: with the longest duration it takes 50 bytes.
const INFO_LEN: usize = 80;

#[cfg(test)]
impl<W> Segment<W> {
    /// What has been written so far.
    pub(super) fn output_for_test(&self) -> &W {
        &self.output
    }
}
