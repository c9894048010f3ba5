//! The decoders of the peer, each as a function of arbitrary bytes.

use std::io::{Cursor, Write};

use bytes::Bytes;
use meipo::media::{Track, TrackKind, TrackSource};
use meipo::units::TrackId;
use peer::codec::avc::{self, AvcConfig, SequenceShape};
use peer::codec::{audio_decoder, video_decoder};
use peer::container::Source;

/// A target and its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target of this file by its name, which is also that of its corpus.
pub const TARGETS: [Target; 5] = [("matroska", matroska), ("mp4", mp4), ("avc", avc), ("h264", h264), ("opus", opus)];

/// A Matroska stream to its end.
pub fn matroska(data: &[u8]) {
    if let Ok(source) = Source::from_reader(Cursor::new(data.to_vec())) {
        drain(source);
    }
}

/// An MP4 file to its end.
pub fn mp4(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be had");
    file.write_all(data).expect("a temporary file can be written");
    if let Ok(source) = Source::open(file.path()) {
        drain(source);
    }
}

/// Decoder configurations, parameter sets and NAL units; the first byte says where the frame begins.
pub fn avc(data: &[u8]) {
    let Some((&at, rest)) = data.split_first() else { return };
    let (record, frame) = rest.split_at(rest.len().min(usize::from(at)));
    if let Ok(config) = AvcConfig::parse(record) {
        let _ = config.units(frame);
        for set in config.parameter_sets() {
            let _ = SequenceShape::parse(set);
        }
    }
    let _ = (SequenceShape::parse(rest), avc::codec_string(record), avc::to_length_prefixed(rest));
    if let Some(record) = avc::config_from_key_frame(rest) {
        let _ = AvcConfig::parse(&record);
    }
}

/// H.264 frames, each behind two bytes of length; the first byte says how long the description before them is.
pub fn h264(data: &[u8]) {
    let Some((&len, rest)) = data.split_first() else { return };
    let (description, mut rest) = rest.split_at(rest.len().min(usize::from(len)));
    let kind = TrackKind::Video { width: 64, height: 64, millihertz: 30_000 };
    let Ok(mut decoder) = video_decoder(&track(kind, "avc1.42e01f", description)) else { return };
    while let Some((&[high, low], after)) = rest.split_first_chunk() {
        let (frame, after) = after.split_at(after.len().min(usize::from(u16::from_be_bytes([high, low]))));
        rest = after;
        let _ = decoder.decode(frame);
    }
}

/// Opus packets, each behind a byte of length.
pub fn opus(mut data: &[u8]) {
    let kind = TrackKind::Audio { sample_rate: 48_000, channels: 2 };
    let Ok(mut decoder) = audio_decoder(&track(kind, "opus", &[])) else { return };
    while let Some((&len, rest)) = data.split_first() {
        let (packet, rest) = rest.split_at(rest.len().min(usize::from(len)));
        data = rest;
        let _ = (decoder.decode_fec(packet), decoder.decode(packet), decoder.conceal());
    }
}

fn drain(mut source: Source) {
    for track in source.tracks() {
        let _ = track.check();
    }
    while let Ok(Some(_)) = source.next_frame() {}
}

fn track(kind: TrackKind, codec: &str, description: &[u8]) -> Track {
    Track {
        id: TrackId(1),
        kind,
        source: TrackSource::File,
        codec: codec.to_owned(),
        description: Bytes::copy_from_slice(description),
        epoch_unix_us: 0,
    }
}
