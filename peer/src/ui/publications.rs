//! What a page shows, as tracks and frames.
//!
//! Publications, pictures and blocks of sound go in as the page names them; tracks and frames come out under numbers of
//! ours, which are never used twice, so a page that is loaded again begins anew without harm. Capture times count from
//! the start of the call and never go back, whatever the page's clock does.

use std::collections::BTreeMap;

use bytes::Bytes;
use meipo::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use meipo::units::{CaptureTime, FrameNumber, TrackId};

use super::message::{EncodedChunk, PageSource, Publish};
use crate::codec::CodecError;
use crate::params::{PAGE_CLOCK_ERROR, PAGE_MOST_TRACKS};
use crate::voice::{Block, Microphone, sound_track};

/// Everything a page shows.
#[derive(Debug)]
pub struct Publications {
    epoch_unix_us: u64,
    /// What is added to the page's clock to make it ours, once it was read.
    skew: Option<i128>,
    next: u16,
    shown: BTreeMap<u16, Shown>,
}

#[derive(Debug)]
struct Shown {
    id: TrackId,
    source: PageSource,
    latest: CaptureTime,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Pictures(Pictures),
    Sound(Box<Microphone>),
}

/// The dependencies of pictures, which the page does not tell.
#[derive(Debug, Default)]
struct Pictures {
    number: FrameNumber,
    /// The latest picture of each temporal layer since the last key frame.
    latest: [Option<FrameNumber>; 4],
    has_begun: bool,
}

/// Why a page cannot show something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShowError {
    /// Nothing was published under this number.
    #[error("track {0} was not published")]
    Unknown(u16),
    /// As many as there may be.
    #[error("a page shows at most {PAGE_MOST_TRACKS} tracks at a time")]
    TooMany,
    /// All numbers have been used.
    #[error("all numbers of tracks have been used; leave and join again")]
    Exhausted,
    /// Pictures need a shape.
    #[error("pictures need codec, width, height and rate")]
    NoShape,
    /// Sound where pictures belong, or the other way round.
    #[error("track {0} is of another kind")]
    Kind(u16),
    /// The sound encoder failed.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Publications {
    /// Nothing is shown yet; the call begins at this time of day.
    pub fn new(epoch_unix_us: u64) -> Self {
        Publications { epoch_unix_us, skew: None, next: 0, shown: BTreeMap::new() }
    }

    /// Shows something, or changes what is shown: the track to announce.
    ///
    /// # Errors
    /// When it has no shape, or there are too many.
    pub fn publish(&mut self, wanted: &Publish) -> Result<Track, ShowError> {
        if let Some(shown) = self.shown.get(&wanted.track) {
            if shown.is_sound() != is_sound(wanted.source) {
                return Err(ShowError::Kind(wanted.track));
            }
            return self.track(shown.id, wanted);
        }
        if self.shown.len() >= PAGE_MOST_TRACKS {
            return Err(ShowError::TooMany);
        }
        let id = TrackId(self.next);
        let track = self.track(id, wanted)?;
        let kind = if is_sound(wanted.source) {
            Kind::Sound(Box::new(Microphone::new(id)?))
        } else {
            Kind::Pictures(Pictures::default())
        };
        self.next = self.next.checked_add(1).ok_or(ShowError::Exhausted)?;
        let shown = Shown { id, source: wanted.source, latest: CaptureTime::default(), kind };
        self.shown.insert(wanted.track, shown);
        Ok(track)
    }

    /// Shows something no longer: the track to end.
    ///
    /// # Errors
    /// When it was not shown.
    pub fn unpublish(&mut self, track: u16) -> Result<TrackId, ShowError> {
        self.shown.remove(&track).map(|shown| shown.id).ok_or(ShowError::Unknown(track))
    }

    /// Another page has come, or none is there any more: the tracks to end.
    pub fn clear(&mut self) -> Vec<TrackId> {
        self.skew = None;
        std::mem::take(&mut self.shown).into_values().map(|shown| shown.id).collect()
    }

    /// A picture; `None` if nothing can be seen of it, because no key frame came before.
    ///
    /// # Errors
    /// When no pictures were published under this number.
    pub fn picture(&mut self, chunk: EncodedChunk, now_unix_us: u64) -> Result<Option<Frame>, ShowError> {
        let captured = self.capture_time(chunk.track, chunk.captured_unix_us, now_unix_us)?;
        let shown = self.shown.get_mut(&chunk.track).ok_or(ShowError::Unknown(chunk.track))?;
        let Kind::Pictures(pictures) = &mut shown.kind else { return Err(ShowError::Kind(chunk.track)) };
        Ok(pictures.frame(shown.id, captured, chunk.is_key, chunk.layer, chunk.data))
    }

    /// A block of sound; every second one completes a frame.
    ///
    /// # Errors
    /// When no sound was published under this number, or it cannot be encoded.
    pub fn sound(
        &mut self,
        track: u16,
        block: &Block,
        captured_unix_us: u64,
        now_unix_us: u64,
    ) -> Result<Option<Frame>, ShowError> {
        let captured = self.capture_time(track, captured_unix_us, now_unix_us)?;
        let shown = self.shown.get_mut(&track).ok_or(ShowError::Unknown(track))?;
        let Kind::Sound(microphone) = &mut shown.kind else { return Err(ShowError::Kind(track)) };
        Ok(microphone.push(block, captured)?)
    }

    /// The page's number for a track of ours.
    pub fn number_of(&self, id: TrackId) -> Option<u16> {
        self.shown.iter().find(|(_, shown)| shown.id == id).map(|(number, _)| *number)
    }

    /// What is shown under this number.
    pub fn source_of(&self, track: u16) -> Option<PageSource> {
        self.shown.get(&track).map(|shown| shown.source)
    }

    /// The page's numbers of all pictures.
    pub fn pictures(&self) -> impl Iterator<Item = u16> {
        self.shown.iter().filter(|(_, shown)| !shown.is_sound()).map(|(number, _)| *number)
    }

    fn track(&self, id: TrackId, wanted: &Publish) -> Result<Track, ShowError> {
        let source = match wanted.source {
            PageSource::Camera => TrackSource::Camera,
            PageSource::Microphone => TrackSource::Microphone,
            PageSource::Screen | PageSource::ScreenAudio => TrackSource::Screen,
        };
        if is_sound(wanted.source) {
            return Ok(sound_track(id, source, self.epoch_unix_us));
        }
        let (Some(codec), Some(width), Some(height)) = (&wanted.codec, wanted.width, wanted.height) else {
            return Err(ShowError::NoShape);
        };
        let kind = TrackKind::Video { width, height, millihertz: millihertz(wanted.rate) };
        let (codec, description) = (codec.clone(), Bytes::new());
        Ok(Track { id, kind, source, codec, description, epoch_unix_us: self.epoch_unix_us })
    }

    fn capture_time(&mut self, track: u16, page_unix_us: u64, now_unix_us: u64) -> Result<CaptureTime, ShowError> {
        let (page, now) = (i128::from(page_unix_us), i128::from(now_unix_us));
        let error = |skew: i128| (page + skew - now).unsigned_abs();
        let most = PAGE_CLOCK_ERROR.as_micros();
        let skew = match self.skew {
            Some(skew) if error(skew) <= most => skew,
            Some(_) | None if error(0) <= most => 0,
            Some(_) | None => now - page,
        };
        self.skew = Some(skew);
        let since = u64::try_from(page + skew - i128::from(self.epoch_unix_us)).unwrap_or(0);
        let shown = self.shown.get_mut(&track).ok_or(ShowError::Unknown(track))?;
        shown.latest = shown.latest.max(CaptureTime::from_micros(since));
        Ok(shown.latest)
    }
}

impl Shown {
    fn is_sound(&self) -> bool {
        matches!(self.kind, Kind::Sound(_))
    }
}

impl Pictures {
    fn frame(&mut self, track: TrackId, captured: CaptureTime, is_key: bool, layer: u8, data: Bytes) -> Option<Frame> {
        self.has_begun |= is_key;
        if !self.has_begun {
            return None;
        }
        let number = self.number;
        self.number = number.next()?;
        let temporal_layer = if is_key { 0 } else { layer.min(3) };
        // A picture needs the latest of a lower layer; one of the base layer the latest of that.
        let lower = self.latest.iter().take(usize::from(temporal_layer.max(1))).flatten().max();
        let back = lower.map_or(1, |needed| u8::try_from(number.0 - needed.0).unwrap_or(u8::MAX));
        if is_key {
            self.latest = [None; 4];
        }
        if let Some(latest) = self.latest.get_mut(usize::from(temporal_layer)) {
            *latest = Some(number);
        }
        let (kind, needs) = if is_key { (FrameKind::Key, 0) } else { (FrameKind::Delta, back) };
        Some(Frame { track, number, captured, kind, temporal_layer, needs, data })
    }
}

fn is_sound(source: PageSource) -> bool {
    matches!(source, PageSource::Microphone | PageSource::ScreenAudio)
}

/// Thousandths of a picture a second; 0 if it is not known.
fn millihertz(rate: Option<f64>) -> u32 {
    let rate = rate.filter(|rate| (0.0..=1000.0).contains(rate)).unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million, as checked")]
    let millihertz = (rate * 1000.0).round() as u32;
    millihertz
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_need_what_lies_below_them_and_nothing_is_sent_before_a_key_frame() {
        let mut shown = Publications::new(0);
        shown.publish(&camera(1)).unwrap();
        let mut needs = Vec::new();
        for (is_key, layer) in [(false, 0), (true, 0), (false, 1), (false, 0), (false, 1), (true, 0), (false, 0)] {
            let frame = shown.picture(chunk(1, is_key, layer, 0), 0).unwrap();
            needs.push(frame.map(|frame| (frame.number.0, frame.needs, frame.temporal_layer)));
        }
        let expected = [None, Some((0, 0, 0)), Some((1, 1, 1)), Some((2, 2, 0)), Some((3, 1, 1)), Some((4, 0, 0))];
        assert_eq!(needs[..6], expected);
        assert_eq!(needs[6], Some((5, 1, 0)));
    }

    #[test]
    fn numbers_of_ours_are_never_used_twice_though_a_page_begins_anew() {
        let mut shown = Publications::new(0);
        assert_eq!(shown.publish(&camera(1)).unwrap().id, TrackId(0));
        assert_eq!(shown.publish(&camera(1)).unwrap().id, TrackId(0), "it is changed");
        assert_eq!(shown.clear(), [TrackId(0)]);
        assert_eq!(shown.publish(&camera(1)).unwrap().id, TrackId(1));
        assert_eq!((shown.number_of(TrackId(1)), shown.number_of(TrackId(0))), (Some(1), None));
    }

    #[test]
    fn capture_times_count_from_the_start_and_never_go_back() {
        let mut shown = Publications::new(10_000_000);
        shown.publish(&camera(1)).unwrap();
        let mut at =
            |page: u64, now: u64| shown.picture(chunk(1, true, 0, page), now).unwrap().unwrap().captured.as_micros();
        assert_eq!(at(10_500_000, 10_510_000), 500_000);
        assert_eq!(at(10_400_000, 10_520_000), 500_000, "a step back is none");
        assert_eq!(at(99, 11_000_000), 1_000_000, "a clock of its own");
        assert_eq!(at(100_099, 11_100_000), 1_100_000, "and it goes on");
        assert_eq!(at(u64::MAX, 12_000_000), 2_000_000, "whatever it says");
    }

    #[test]
    fn sound_and_pictures_are_not_mixed_up_and_both_are_bounded() {
        let mut shown = Publications::new(0);
        shown.publish(&camera(1)).unwrap();
        let microphone = Publish { source: PageSource::Microphone, codec: None, ..camera(2) };
        shown.publish(&microphone).unwrap();
        assert!(matches!(shown.publish(&Publish { track: 1, ..microphone.clone() }), Err(ShowError::Kind(1))));
        assert!(matches!(shown.sound(1, &[0; 480], 0, 0), Err(ShowError::Kind(1))));
        assert!(matches!(shown.picture(chunk(2, true, 0, 0), 0), Err(ShowError::Kind(2))));
        assert!(matches!(shown.picture(chunk(3, true, 0, 0), 0), Err(ShowError::Unknown(3))));
        assert!(matches!(shown.publish(&Publish { codec: None, ..camera(4) }), Err(ShowError::NoShape)));
        let more = (10..30).filter(|track| shown.publish(&camera(*track)).is_ok()).count();
        assert_eq!(more, PAGE_MOST_TRACKS - 2);
    }

    fn camera(track: u16) -> Publish {
        let codec = Some("avc1.42c01e".to_owned());
        Publish { track, source: PageSource::Camera, codec, width: Some(64), height: Some(64), rate: Some(30.0) }
    }

    fn chunk(track: u16, is_key: bool, layer: u8, captured_unix_us: u64) -> EncodedChunk {
        EncodedChunk { track, is_key, layer, captured_unix_us, data: Bytes::from_static(b"picture") }
    }
}
