//! Decoders for everything that comes from everybody.
//!
//! In: tracks, frames, the absence of frames, and the time of day. Out: counts, latencies, the wish for a key frame, and
//! pictures for whoever looks.
//! Whatever a peer sends, the worst that happens is a counted error.

use std::collections::BTreeMap;

use meipo::media::{Frame, FrameKind, Track};
use meipo::units::{FrameNumber, PeerId, TrackId};

use crate::codec::{AudioDecoder, CodecError, Picture, VideoDecoder, audio_decoder, video_decoder};
use crate::params::{KEY_FRAME_PATIENCE, MAX_CONCEALED, MAX_LATENCY};
use crate::pattern::read_time_code;

/// What decoding amounts to for one peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// Pictures that were decoded.
    pub pictures: u64,
    /// Frames that came whole and still could not be decoded.
    pub errors: u64,
    /// Frames of codecs that are not decoded here.
    pub undecodable: u64,
    /// Sum and number of latencies since they were last taken, of pictures and of sound, in microseconds.
    latencies: [(u64, u64); 2],
}

impl Decoded {
    /// Mean latencies of pictures and of sound in microseconds since they were last taken.
    pub fn take_latencies(&mut self) -> [Option<u64>; 2] {
        std::mem::take(&mut self.latencies).map(|(sum, count)| sum.checked_div(count))
    }
}

/// What the peers have to be told, or the person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wish {
    /// The peer is to send a key frame of this track.
    KeyFrame(PeerId, TrackId),
    /// This track will not be decoded; said once for each.
    CannotDecode(PeerId, String),
}

/// All decoders.
#[derive(Debug, Default)]
pub struct Decoders {
    lanes: BTreeMap<(PeerId, TrackId), Lane>,
    decoded: BTreeMap<PeerId, Decoded>,
    onlooker: Onlooker,
}

/// Who sees each picture, if anybody does.
#[derive(Default)]
struct Onlooker(Option<Box<Look>>);

type Look = dyn FnMut(&Picture) + Send;

impl std::fmt::Debug for Onlooker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "somebody" } else { "nobody" })
    }
}

/// One track being decoded.
#[derive(Debug)]
struct Lane {
    track: Track,
    is_same_clock: bool,
    decoder: Decoder,
    last: Option<FrameNumber>,
}

enum Decoder {
    Pictures { decoder: Box<dyn VideoDecoder>, is_broken: bool, asked_unix_us: u64 },
    Sound { decoder: Box<dyn AudioDecoder>, missing: u32 },
    None,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Decoder::Pictures { .. } => "Pictures",
            Decoder::Sound { .. } => "Sound",
            Decoder::None => "None",
        })
    }
}

impl Decoders {
    /// Decoders whose pictures are all shown to `look`, the moment they are due. It must be quick: the next frame waits.
    pub fn seen_by(look: impl FnMut(&Picture) + Send + 'static) -> Self {
        Decoders { onlooker: Onlooker(Some(Box::new(look))), ..Decoders::default() }
    }

    /// A peer announces a track, or says again what it is.
    pub fn handle_track(&mut self, peer: PeerId, track: Track, is_same_clock: bool) -> Option<Wish> {
        let key = (peer, track.id);
        if let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.track == track || lane.goes_on_as(&track)) {
            (lane.track, lane.is_same_clock) = (track, is_same_clock);
            return None;
        }
        let (decoder, wish) = match Decoder::new(&track) {
            Ok(decoder) => (decoder, None),
            Err(error) => (Decoder::None, Some(Wish::CannotDecode(peer, error.to_string()))),
        };
        self.lanes.insert(key, Lane { track, is_same_clock, decoder, last: None });
        wish
    }

    /// A frame is due, now.
    pub fn handle_frame(&mut self, peer: PeerId, frame: &Frame, now_unix_us: impl Fn() -> u64) -> Option<Wish> {
        let lane = self.lanes.get_mut(&(peer, frame.track))?;
        // After a new connection the frames since the last key frame come again.
        if lane.last.is_some_and(|last| frame.number <= last) {
            return None;
        }
        lane.last = Some(frame.number);
        let decoded = self.decoded.entry(peer).or_default();
        let captured = lane.is_same_clock.then(|| lane.captured_unix_us(frame)).flatten();
        match &mut lane.decoder {
            Decoder::None => decoded.undecodable += 1,
            Decoder::Sound { decoder, missing } => match decode_sound(decoder.as_mut(), frame, missing) {
                Ok(()) => decoded.note_latency(1, captured, now_unix_us()),
                Err(error) => decoded.note_error(peer, &error),
            },
            Decoder::Pictures { decoder, is_broken, asked_unix_us } => {
                match decode_picture(decoder.as_mut(), frame, is_broken) {
                    Ok(Some(picture)) => {
                        decoded.pictures += 1;
                        let drawn = read_time_code(&picture).map(|code| code.unix_us);
                        decoded.note_latency(0, drawn.or(captured), now_unix_us());
                        self.onlooker.0.iter_mut().for_each(|look| look(&picture));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        decoded.note_error(peer, &error);
                        let now = now_unix_us();
                        if u128::from(now.saturating_sub(*asked_unix_us)) >= KEY_FRAME_PATIENCE.as_micros() {
                            *asked_unix_us = now;
                            return Some(Wish::KeyFrame(peer, frame.track));
                        }
                    }
                }
            }
        }
        None
    }

    /// Frames that were due will not come.
    pub fn handle_lost(&mut self, peer: PeerId, track: TrackId, count: u32) {
        let lane = self.lanes.get_mut(&(peer, track));
        if let Some(Lane { decoder: Decoder::Sound { missing, .. }, .. }) = lane {
            *missing = missing.saturating_add(count);
        }
    }

    /// A track has ended.
    pub fn handle_track_ended(&mut self, peer: PeerId, track: TrackId) {
        self.lanes.remove(&(peer, track));
    }

    /// A peer is gone.
    pub fn handle_peer_left(&mut self, peer: PeerId) {
        self.lanes.retain(|(of, _), _| *of != peer);
        self.decoded.remove(&peer);
    }

    /// What decoding amounts to for a peer.
    pub fn decoded(&mut self, peer: PeerId) -> &mut Decoded {
        self.decoded.entry(peer).or_default()
    }
}

impl Lane {
    /// Whether what the track has become is for the same decoder: a key frame tells a new size by itself, and what is of the
    /// old size may still be due.
    fn goes_on_as(&self, track: &Track) -> bool {
        let before = &self.track;
        !track.kind.is_audio()
            && !before.kind.is_audio()
            && before.description == track.description
            && before.codec.split('.').next() == track.codec.split('.').next()
    }

    /// When a frame was captured, if the sender says what its clock says.
    fn captured_unix_us(&self, frame: &Frame) -> Option<u64> {
        let epoch = self.track.epoch_unix_us;
        (epoch > 0).then(|| epoch.saturating_add(frame.captured.as_micros()))
    }
}

impl Decoder {
    fn new(track: &Track) -> Result<Self, CodecError> {
        if track.kind.is_audio() {
            Ok(Decoder::Sound { decoder: audio_decoder(track)?, missing: 0 })
        } else {
            Ok(Decoder::Pictures { decoder: video_decoder(track)?, is_broken: false, asked_unix_us: 0 })
        }
    }
}

impl Decoded {
    fn note_error(&mut self, peer: PeerId, error: &CodecError) {
        tracing::debug!(?peer, %error, "a frame does not decode");
        self.errors += 1;
    }

    /// Counts a latency that can be one: clocks that do not agree give others.
    fn note_latency(&mut self, kind: usize, captured_unix_us: Option<u64>, now_unix_us: u64) {
        let latency = captured_unix_us.and_then(|captured| now_unix_us.checked_sub(captured));
        let plausible = latency.filter(|latency| u128::from(*latency) <= MAX_LATENCY.as_micros());
        if let (Some(latency), Some((sum, count))) = (plausible, self.latencies.get_mut(kind)) {
            *sum = sum.saturating_add(latency);
            *count += 1;
        }
    }
}

/// Decodes a picture. After an error nothing is tried before the next key frame, for it would only look damaged.
fn decode_picture(
    decoder: &mut dyn VideoDecoder,
    frame: &Frame,
    is_broken: &mut bool,
) -> Result<Option<Picture>, CodecError> {
    if *is_broken && frame.kind != FrameKind::Key {
        return Err(CodecError::H264Decode("it needs a frame that did not decode".to_owned()));
    }
    let result = decoder.decode(&frame.data);
    *is_broken = result.is_err();
    result
}

/// Decodes a packet of sound, after filling the gap before it: the last missing packet has a copy in this one.
fn decode_sound(decoder: &mut dyn AudioDecoder, frame: &Frame, missing: &mut u32) -> Result<(), CodecError> {
    let missing = std::mem::take(missing).min(MAX_CONCEALED);
    for _ in 1..missing {
        decoder.conceal()?;
    }
    if missing > 0 {
        decoder.decode_fec(&frame.data)?;
    }
    decoder.decode(&frame.data).map(drop)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use meipo::media::{TrackKind, TrackSource};
    use meipo::units::{Bitrate, CaptureTime};

    use super::*;
    use crate::codec::{H264Encoder, VideoEncoder, VideoSettings};
    use crate::pattern::TestPicture;

    const ALICE: PeerId = PeerId::from_bytes([1; 32]);
    const EPOCH: u64 = 1_795_000_000_000_000;

    #[test]
    fn a_test_picture_says_how_old_it_is_even_where_clocks_are_not_known_to_agree() {
        let mut decoders = decoders("avc1.42c01e", false);
        for frame in frames(3) {
            let drawn = EPOCH + frame.captured.as_micros();
            assert_eq!(decoders.handle_frame(ALICE, &frame, || drawn + 25_000), None);
        }
        let decoded = decoders.decoded(ALICE);
        assert_eq!((decoded.pictures, decoded.errors), (3, 0));
        assert_eq!(decoded.take_latencies(), [Some(25_000), None]);
        assert_eq!(decoded.take_latencies(), [None, None]);
    }

    #[test]
    fn whoever_looks_sees_each_picture_once() {
        let (sender, seen) = std::sync::mpsc::channel();
        let mut decoders = Decoders::seen_by(move |picture| _ = sender.send(read_time_code(picture)));
        decoders.handle_track(ALICE, track("avc1.42c01e"), true);
        for frame in frames(3).iter().chain(&frames(3)) {
            decoders.handle_frame(ALICE, frame, || EPOCH);
        }
        let numbers: Vec<_> = seen.try_iter().flatten().map(|code| code.frame).collect();
        assert_eq!(numbers, [0, 1, 2]);
    }

    #[test]
    fn a_missing_frame_asks_for_one_key_frame_and_is_healed_by_it() {
        let mut decoders = decoders("avc1.42c01e", true);
        let mut sent = frames(6);
        sent.remove(0);
        let wishes: Vec<_> = sent.iter().filter_map(|frame| decoders.handle_frame(ALICE, frame, || EPOCH)).collect();
        assert_eq!(wishes, [Wish::KeyFrame(ALICE, TrackId(1))]);
        assert_eq!(decoders.decoded(ALICE).errors, 5);
        let mut healing = frames(1);
        healing[0].number = FrameNumber(6);
        decoders.handle_frame(ALICE, &healing[0], || EPOCH);
        assert_eq!(decoders.decoded(ALICE).pictures, 1);
    }

    #[test]
    fn frames_that_come_again_are_not_decoded_again() {
        let mut decoders = decoders("avc1.42c01e", true);
        for frame in frames(2).iter().chain(&frames(2)) {
            decoders.handle_frame(ALICE, frame, || EPOCH);
        }
        assert_eq!(decoders.decoded(ALICE).pictures, 2);
    }

    #[test]
    fn a_codec_for_browsers_is_counted_and_said_once() {
        let mut decoders = Decoders::default();
        let track = track("vp8");
        let wish = decoders.handle_track(ALICE, track.clone(), true);
        assert!(matches!(wish, Some(Wish::CannotDecode(ALICE, _))), "{wish:?}");
        assert_eq!(decoders.handle_track(ALICE, track, true), None);
        for frame in frames(2) {
            decoders.handle_frame(ALICE, &frame, || EPOCH);
        }
        assert_eq!((decoders.decoded(ALICE).undecodable, decoders.decoded(ALICE).errors), (2, 0));
    }

    fn decoders(codec: &str, is_same_clock: bool) -> Decoders {
        let mut decoders = Decoders::default();
        assert_eq!(decoders.handle_track(ALICE, track(codec), is_same_clock), None);
        decoders
    }

    fn track(codec: &str) -> Track {
        Track {
            id: TrackId(1),
            kind: TrackKind::Video { width: 320, height: 240, millihertz: 30_000 },
            source: TrackSource::TestPattern,
            codec: codec.to_owned(),
            description: Bytes::new(),
            epoch_unix_us: EPOCH,
        }
    }

    fn frames(count: u32) -> Vec<Frame> {
        let settings = VideoSettings {
            width: 320,
            height: 240,
            millihertz: 30_000,
            bitrate: Bitrate::from_kilobits(300),
            max_bitrate: Bitrate::from_kilobits(300),
            temporal_layers: 1,
        };
        let mut encoder = H264Encoder::new(&settings).unwrap();
        let pattern = TestPicture::new(320, 240, 0);
        let frame = |number: u32| {
            let captured = CaptureTime::from_micros(u64::from(number) * 33_333);
            let picture = pattern.draw(number, EPOCH + captured.as_micros());
            let encoded = encoder.encode(&picture, captured).unwrap();
            Frame {
                track: TrackId(1),
                number: FrameNumber(number),
                captured,
                kind: if encoded.is_key { FrameKind::Key } else { FrameKind::Delta },
                temporal_layer: encoded.temporal_layer,
                needs: encoded.needs,
                data: encoded.data,
            }
        };
        (0..count).map(frame).collect()
    }
}
