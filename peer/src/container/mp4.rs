//! MP4, fragmented or not. The whole index is read first; frames are then fetched where they lie.

use std::io::{Read, Seek, SeekFrom};

use bytes::Bytes;
use meipo::media::TrackKind;
use mp4_atom::{Atom, Av01, Avcc, Codec as SampleEntry, Dops, Moof, Moov, Trak, VpcC};

use super::describe::{self, Codec};
use super::mp4_samples::{self, Sample, Timeline};
use super::{Block, Demux, Problem, Shape, SkippedTrack, choose, malformed};
use crate::codec::opus_head;
use crate::params::{MAX_BLOCK, MAX_MP4_INDEX, MAX_MP4_SAMPLES};

/// An MP4 file being read.
#[derive(Debug)]
pub(super) struct Mp4Reader<R> {
    input: R,
    shapes: Vec<Shape>,
    skipped: Vec<SkippedTrack>,
    samples: std::vec::IntoIter<Sample>,
}

impl<R: Read + Seek> Mp4Reader<R> {
    /// Reads the index: `moov`, and every `moof` if there are any.
    pub(super) fn new(mut input: R) -> Result<Self, Problem> {
        let file_len = input.seek(SeekFrom::End(0))?;
        let index = read_index(&mut input, file_len)?;
        let (moov_offset, moov) = index.moov.ok_or(Problem::NoTracks(file_len))?;
        let found = moov.trak.iter().map(|trak| (u64::from(trak.tkhd.track_id), shape_of(trak))).collect();
        let (taken, skipped) = choose(found);
        if taken.is_empty() {
            let tracks = skipped.iter().map(|track| format!("{} ({})", track.codec, track.reason));
            return Err(Problem::NothingUsable(tracks.collect::<Vec<_>>().join(", ")));
        }
        let mut samples = Vec::new();
        let mut shapes = Vec::new();
        for (place, (number, mut shape)) in taken.into_iter().enumerate() {
            let Some(trak) = moov.trak.iter().find(|trak| u64::from(trak.tkhd.track_id) == number) else {
                continue;
            };
            let timeline = Timeline::new(&moov, trak, pre_skip(&shape)).map_err(|what| malformed(moov_offset, what))?;
            let limit = MAX_MP4_SAMPLES - samples.len();
            let before = samples.len();
            mp4_samples::from_table(place, trak, &timeline, limit, &mut samples)
                .map_err(|what| malformed(moov_offset, what))?;
            let trex = moov.mvex.iter().flat_map(|mvex| &mvex.trex).find(|trex| u64::from(trex.track_id) == number);
            let mut decode_time = samples.get(before..).and_then(<[_]>::last).map_or(0, Sample::end);
            for (offset, moof) in &index.moofs {
                let run = mp4_samples::Fragment { place, number, offset: *offset, moof, trex };
                decode_time =
                    run.append(&timeline, decode_time, &mut samples).map_err(|what| malformed(*offset, what))?;
            }
            if let TrackKind::Video { millihertz, .. } = &mut shape.kind {
                *millihertz = timeline.rate(samples.get(before..).unwrap_or_default());
            }
            shapes.push(shape);
        }
        samples.retain(|sample| sample.offset.saturating_add(sample.size.into()) <= file_len);
        samples.sort_by_key(|sample| sample.decode_micros);
        mp4_samples::lift_above_zero(&mut samples);
        Ok(Mp4Reader { input, shapes, skipped, samples: samples.into_iter() })
    }
}

impl<R: Read + Seek + Send> Demux for Mp4Reader<R> {
    fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    fn skipped(&self) -> &[SkippedTrack] {
        &self.skipped
    }

    fn next_block(&mut self) -> Result<Option<Block>, Problem> {
        let Some(sample) = self.samples.next() else {
            return Ok(None);
        };
        if u64::from(sample.size) > MAX_BLOCK {
            return Err(Problem::TooLarge {
                offset: sample.offset,
                what: "frame",
                size: sample.size.into(),
                limit: MAX_BLOCK,
            });
        }
        self.input.seek(SeekFrom::Start(sample.offset))?;
        let mut data = Vec::new();
        (&mut self.input).take(sample.size.into()).read_to_end(&mut data)?;
        Ok(Some(Block {
            track: sample.place,
            timestamp: sample.shown_micros,
            is_key: sample.is_key,
            data: data.into(),
        }))
    }
}

/// The boxes that say where frames lie, each with its own place.
#[derive(Debug, Default)]
struct Index {
    moov: Option<(u64, Moov)>,
    moofs: Vec<(u64, Moof)>,
}

/// Walks the outermost boxes. A file that ends inside one is read as far as it goes.
fn read_index(input: &mut (impl Read + Seek), file_len: u64) -> Result<Index, Problem> {
    let mut index = Index::default();
    let mut offset = 0;
    while offset + 8 <= file_len {
        input.seek(SeekFrom::Start(offset))?;
        let (kind, header_len, size) = read_box_header(input, offset, file_len)?;
        let body_len = size.saturating_sub(header_len);
        let is_whole = offset.saturating_add(size) <= file_len;
        match &kind {
            b"moov" | b"moof" if !is_whole => break,
            b"moov" if index.moov.is_none() => {
                index.moov = Some((offset, read_box(input, offset, body_len)?));
            }
            b"moof" => index.moofs.push((offset, read_box(input, offset, body_len)?)),
            _ => {}
        }
        offset = offset.saturating_add(size);
    }
    Ok(index)
}

/// Kind, length of the header, and length of the whole box at `offset` (ISO/IEC 14496-12 §4.2).
fn read_box_header(input: &mut impl Read, offset: u64, file_len: u64) -> Result<([u8; 4], u64, u64), Problem> {
    let (mut short, mut kind) = ([0; 4], [0; 4]);
    input.read_exact(&mut short)?;
    input.read_exact(&mut kind)?;
    let (header_len, size) = match u32::from_be_bytes(short) {
        0 => (8, file_len - offset),
        1 => {
            let mut long = [0; 8];
            input.read_exact(&mut long)?;
            (16, u64::from_be_bytes(long))
        }
        size => (8, u64::from(size)),
    };
    if size < header_len {
        return Err(malformed(offset, format!("box of {size} bytes, less than its header")));
    }
    Ok((kind, header_len, size))
}

/// Reads and decodes the box whose body comes next.
fn read_box<T: Atom>(input: &mut impl Read, offset: u64, body_len: u64) -> Result<T, Problem> {
    if body_len > MAX_MP4_INDEX {
        return Err(Problem::TooLarge { offset, what: "index", size: body_len, limit: MAX_MP4_INDEX });
    }
    let mut body = Vec::new();
    input.take(body_len).read_to_end(&mut body)?;
    T::decode_body(&mut body.as_slice()).map_err(|error| malformed(offset, format!("{}: {error}", T::KIND)))
}

/// The WebCodecs words for a track.
fn shape_of(trak: &Trak) -> Result<Shape, SkippedTrack> {
    let refuse = |codec: &str, reason: &str| SkippedTrack {
        number: trak.tkhd.track_id.into(),
        codec: codec.to_owned(),
        reason: reason.to_owned(),
    };
    let entries = &trak.mdia.minf.stbl.stsd.codecs;
    let [entry] = entries.as_slice() else {
        let reason = format!("it has {} sample descriptions; exactly one is read", entries.len());
        return Err(refuse("unknown", &reason));
    };
    let damaged = |codec: &str| refuse(codec, "its codec configuration is damaged");
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign list of thirty codecs, of which these are read")]
    let (kind, codec, private) = match entry {
        SampleEntry::Avc1(entry) => (picture(&entry.visual), Codec::Avc, encoded::<Avcc>(&entry.avcc)),
        SampleEntry::Avc3(entry) => (picture(&entry.visual), Codec::Avc, encoded::<Avcc>(&entry.avcc)),
        SampleEntry::Vp08(entry) => (picture(&entry.visual), Codec::Vp8, Some(Bytes::new())),
        SampleEntry::Vp09(entry) => (picture(&entry.visual), Codec::Vp9, Some(vp9_features(&entry.vpcc))),
        SampleEntry::Av01(Av01 { visual, av1c, .. }) => (picture(visual), Codec::Av1, encoded(av1c)),
        SampleEntry::Opus(entry) => (sound(&entry.dops), Codec::Opus, Some(head_of(&entry.dops))),
        other => {
            let name: String = format!("{other:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
            return Err(refuse(&name, "H.264, VP8, VP9, AV1 and Opus are read"));
        }
    };
    let kind = kind.ok_or_else(|| damaged(codec.matroska_id()))?;
    let private = private.ok_or_else(|| damaged(codec.matroska_id()))?;
    let string = codec.string(&private, None).ok_or_else(|| damaged(codec.matroska_id()))?;
    Ok(Shape { kind, codec: string, description: codec.description(&private) })
}

/// The size of pictures; their rate is known once all of them are.
fn picture(visual: &mp4_atom::Visual) -> Option<TrackKind> {
    (visual.width > 0 && visual.height > 0).then_some(TrackKind::Video {
        width: visual.width,
        height: visual.height,
        millihertz: 0,
    })
}

/// The shape of sound; more than two channels come in several streams, which are not read.
fn sound(head: &Dops) -> Option<TrackKind> {
    (matches!(head.output_channel_count, 1 | 2) && head.channel_mapping.is_none())
        .then_some(TrackKind::Audio { sample_rate: crate::params::SAMPLE_RATE, channels: head.output_channel_count })
}

/// The `OpusHead` that says the same as a `dOps`: the numbers turn around.
fn head_of(head: &Dops) -> Bytes {
    let mut bytes = opus_head(head.output_channel_count, head.pre_skip).to_vec();
    if let Some(rate) = bytes.get_mut(12..16) {
        rate.copy_from_slice(&head.input_sample_rate.to_le_bytes());
    }
    if let Some(gain) = bytes.get_mut(16..18) {
        gain.copy_from_slice(&head.output_gain.to_le_bytes());
    }
    bytes.into()
}

/// The features WebM would keep for VP9: id, length, value.
fn vp9_features(config: &VpcC) -> Bytes {
    let level = if config.level == 0 { 10 } else { config.level };
    vec![1, 1, config.profile, 2, 1, level, 3, 1, config.bit_depth].into()
}

/// The body of a box, as it stands in a file.
fn encoded<T: Atom>(atom: &T) -> Option<Bytes> {
    let mut body = Vec::new();
    atom.encode_body(&mut body).ok()?;
    Some(body.into())
}

/// Samples that an Opus decoder gives before the sound begins.
fn pre_skip(shape: &Shape) -> u16 {
    describe::opus_head(&shape.description).map_or(0, |(_, pre_skip)| pre_skip)
}
