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
use crate::codec::{CodecError, SoundSpan};
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
    /// The same as those of another track of the page, in a smaller size.
    Smaller(u16, Pictures),
    Sound(Box<Microphone>),
}

/// What the room is to be told of something shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Announcement {
    /// It is a track of its own.
    Track(Track),
    /// The pictures of a track can be had in a smaller size, too.
    Smaller {
        /// The track.
        of: TrackId,
        /// What the smaller pictures are handed over as.
        id: TrackId,
    },
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
    /// What is to have a smaller size has none: it is sound, or was not published.
    #[error("track {0} shows no pictures that could be smaller")]
    NothingSmaller(u16),
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

    /// Shows something, or changes what is shown: what to announce.
    ///
    /// # Errors
    /// When it has no shape, or there are too many.
    pub fn publish(&mut self, wanted: &Publish) -> Result<Announcement, ShowError> {
        if let Some(shown) = self.shown.get(&wanted.track) {
            return match (&shown.kind, wanted.smaller_of) {
                (Kind::Smaller(large, _), Some(of)) if *large == of => self.smaller(of, shown.id),
                (Kind::Pictures(_), None) if !is_sound(wanted.source) => self.track(shown.id, wanted),
                (Kind::Sound(_), None) if is_sound(wanted.source) => self.track(shown.id, wanted),
                _ => Err(ShowError::Kind(wanted.track)),
            };
        }
        if self.shown.len() >= PAGE_MOST_TRACKS {
            return Err(ShowError::TooMany);
        }
        let id = TrackId(self.next);
        let announcement = match wanted.smaller_of {
            Some(of) => self.smaller(of, id)?,
            None => self.track(id, wanted)?,
        };
        let kind = match wanted.smaller_of {
            Some(of) => Kind::Smaller(of, Pictures::default()),
            None if is_sound(wanted.source) => Kind::Sound(Box::new(Microphone::new(id, SoundSpan::Ms20)?)),
            None => Kind::Pictures(Pictures::default()),
        };
        self.next = self.next.checked_add(1).ok_or(ShowError::Exhausted)?;
        let shown = Shown { id, source: wanted.source, latest: CaptureTime::default(), kind };
        self.shown.insert(wanted.track, shown);
        Ok(announcement)
    }

    /// Shows something no longer, in no size: the track to end.
    ///
    /// # Errors
    /// When it was not shown.
    pub fn unpublish(&mut self, track: u16) -> Result<TrackId, ShowError> {
        let ended = self.shown.remove(&track).ok_or(ShowError::Unknown(track))?;
        self.shown.retain(|_, shown| !matches!(shown.kind, Kind::Smaller(of, _) if of == track));
        Ok(ended.id)
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
        let (Kind::Pictures(pictures) | Kind::Smaller(_, pictures)) = &mut shown.kind else {
            return Err(ShowError::Kind(chunk.track));
        };
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

    /// The page's numbers of all pictures in their full size.
    pub fn pictures(&self) -> impl Iterator<Item = u16> {
        self.shown.iter().filter(|(_, shown)| matches!(shown.kind, Kind::Pictures(_))).map(|(number, _)| *number)
    }

    fn smaller(&self, of: u16, id: TrackId) -> Result<Announcement, ShowError> {
        match self.shown.get(&of) {
            Some(Shown { id: large, kind: Kind::Pictures(_), .. }) => Ok(Announcement::Smaller { of: *large, id }),
            Some(_) | None => Err(ShowError::NothingSmaller(of)),
        }
    }

    fn track(&self, id: TrackId, wanted: &Publish) -> Result<Announcement, ShowError> {
        let source = match wanted.source {
            PageSource::Camera => TrackSource::Camera,
            PageSource::Microphone => TrackSource::Microphone,
            PageSource::Screen | PageSource::ScreenAudio => TrackSource::Screen,
        };
        if is_sound(wanted.source) {
            return Ok(Announcement::Track(sound_track(id, source, self.epoch_unix_us)));
        }
        let (Some(codec), Some(width), Some(height)) = (&wanted.codec, wanted.width, wanted.height) else {
            return Err(ShowError::NoShape);
        };
        let kind = TrackKind::Video { width, height, millihertz: millihertz(wanted.rate) };
        let (codec, description) = (codec.clone(), Bytes::new());
        Ok(Announcement::Track(Track { id, kind, source, codec, description, epoch_unix_us: self.epoch_unix_us }))
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
        assert_eq!(track_of(shown.publish(&camera(1))), TrackId(0));
        assert_eq!(track_of(shown.publish(&camera(1))), TrackId(0), "it is changed");
        assert_eq!(shown.clear(), [TrackId(0)]);
        assert_eq!(track_of(shown.publish(&camera(1))), TrackId(1));
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

    #[test]
    fn a_smaller_size_comes_and_goes_with_what_it_is_a_smaller_size_of() {
        let mut shown = Publications::new(0);
        let smaller = |track, of| Publish { codec: None, smaller_of: Some(of), ..camera(track) };
        assert!(matches!(shown.publish(&smaller(2, 1)), Err(ShowError::NothingSmaller(1))), "of nothing");
        shown.publish(&camera(1)).unwrap();
        let expected = Announcement::Smaller { of: TrackId(0), id: TrackId(1) };
        assert_eq!(shown.publish(&smaller(2, 1)).unwrap(), expected);
        assert_eq!(shown.publish(&smaller(2, 1)).unwrap(), expected, "said twice");
        assert!(matches!(shown.publish(&smaller(3, 2)), Err(ShowError::NothingSmaller(2))), "smaller still");
        assert!(matches!(shown.publish(&camera(2)), Err(ShowError::Kind(2))), "not the same any more");
        assert_eq!(shown.pictures().collect::<Vec<u16>>(), [1]);
        let frame = shown.picture(chunk(2, true, 0, 0), 0).unwrap().unwrap();
        assert_eq!((frame.track, shown.number_of(TrackId(1))), (TrackId(1), Some(2)));
        assert_eq!(shown.unpublish(1).unwrap(), TrackId(0));
        assert!(matches!(shown.picture(chunk(2, true, 0, 0), 0), Err(ShowError::Unknown(2))), "both are gone");
    }

    fn camera(track: u16) -> Publish {
        let (codec, side) = (Some("avc1.42c01e".to_owned()), Some(64));
        let source = PageSource::Camera;
        Publish { track, source, codec, width: side, height: side, rate: Some(30.0), smaller_of: None }
    }

    fn track_of(announced: Result<Announcement, ShowError>) -> TrackId {
        match announced.unwrap() {
            Announcement::Track(track) => track.id,
            Announcement::Smaller { .. } => panic!("a track of its own was published"),
        }
    }

    fn chunk(track: u16, is_key: bool, layer: u8, captured_unix_us: u64) -> EncodedChunk {
        EncodedChunk { track, is_key, layer, captured_unix_us, data: Bytes::from_static(b"picture") }
    }
}
