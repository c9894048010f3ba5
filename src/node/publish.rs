//! What goes from us to everybody: a frame is cut once and stands in every peer's queue.

use crate::media::packetize::{FrameTooLarge, packetize};
use crate::media::{Frame, Track, TrackSource};
use crate::params::{CACHE_MAX_BYTES, KEY_FRAME_INTERVAL, PICTURE_DEADLINE, SOUND_DEADLINE};
use crate::rate::layers::{LayerMeter, Offer, Size};
use crate::rate::queue::{Class, Packets};
use crate::units::{Bitrate, FrameNumber, Time, TrackId};

/// One track of ours.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) track: Track,
    /// The frames since the last key frame, for those who join late; empty when they are too many.
    since_key: Vec<Packets>,
    cached: usize,
    layers: LayerMeter,
    keys: KeyFrames,
    smaller: Option<Smaller>,
    /// Frames that went to nobody, while the host of the room wanted no sound: the others are numbered without them.
    skipped: u32,
    /// The number after the last frame.
    pub(super) end: FrameNumber,
}

/// The same pictures in a smaller size, for those whose way does not carry the others.
#[derive(Debug)]
struct Smaller {
    /// Under which track its frames are handed to us; nobody else sees it.
    id: TrackId,
    keys: KeyFrames,
    /// The rate the encoder was told last; `None` while it rests.
    told: Option<Bitrate>,
}

/// When key frames of one encoding came and were asked for.
#[derive(Debug, Default)]
struct KeyFrames {
    sent: Option<Time>,
    asked: Option<Time>,
}

impl KeyFrames {
    /// Somebody needs a key frame; whether the encoder is to be asked.
    fn handle_request(&mut self, now: Time) -> bool {
        let is_recent = |at: Option<Time>| at.is_some_and(|at| now.since(at) < KEY_FRAME_INTERVAL);
        if is_recent(self.sent) || is_recent(self.asked) {
            return false;
        }
        self.asked = Some(now);
        true
    }
}

impl Publication {
    pub(super) fn new(track: Track) -> Self {
        Publication {
            track,
            since_key: Vec::new(),
            cached: 0,
            layers: LayerMeter::default(),
            keys: KeyFrames::default(),
            smaller: None,
            skipped: 0,
            end: FrameNumber::default(),
        }
    }

    /// Cuts a frame and keeps it for late joiners.
    pub(super) fn publish(&mut self, frame: &Frame, now: Time) -> Result<Packets, FrameTooLarge> {
        let number = FrameNumber(frame.number.0.saturating_sub(self.skipped));
        let packets: Packets = packetize(&Frame { number, ..frame.clone() })?.into();
        self.end = FrameNumber(number.0.saturating_add(1));
        if self.class() == Class::Picture {
            self.layers.handle_frame(frame.data.len(), frame.temporal_layer, now);
            self.cache(&packets, frame, now);
        }
        Ok(packets)
    }

    /// A frame goes to nobody.
    pub(super) fn skip(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }

    /// What somebody who begins to watch now needs of the past to see something at once; `None` if a new key frame serves them
    /// better. A file has none to give.
    pub(super) fn backlog(&self, now: Time) -> Option<&[Packets]> {
        let is_fresh = self.keys.sent.is_none_or(|sent| now.since(sent) < KEY_FRAME_INTERVAL);
        (is_fresh || self.track.source == TrackSource::File).then_some(&self.since_key)
    }

    pub(super) fn class(&self) -> Class {
        if self.track.kind.is_audio() { Class::Sound } else { Class::Picture }
    }

    /// Until when a frame that is sent at `now` is of use.
    pub(super) fn deadline(&self, now: Time) -> Time {
        now + match self.class() {
            Class::Sound => SOUND_DEADLINE,
            Class::Picture => PICTURE_DEADLINE,
        }
    }

    /// Somebody needs a key frame of this size: the track whose encoder is to be asked, if it is.
    pub(super) fn handle_key_frame_request(&mut self, size: Size, now: Time) -> Option<TrackId> {
        let (id, keys) = match (size, &mut self.smaller) {
            (Size::Small, Some(smaller)) => (smaller.id, &mut smaller.keys),
            (Size::Small | Size::Large, _) => (self.track.id, &mut self.keys),
        };
        (!self.track.kind.is_audio() && keys.handle_request(now)).then_some(id)
    }

    /// The same pictures also come in a smaller size, under a track of their own.
    pub(super) fn set_smaller(&mut self, id: TrackId) {
        self.smaller = Some(Smaller { id, keys: KeyFrames::default(), told: None });
    }

    /// Which of its sizes comes under this track.
    pub(super) fn size(&self, id: TrackId) -> Option<Size> {
        if id == self.track.id {
            return Some(Size::Large);
        }
        self.smaller.as_ref().filter(|smaller| smaller.id == id).map(|_| Size::Small)
    }

    /// Cuts a frame of the smaller size.
    pub(super) fn publish_smaller(&mut self, frame: &Frame, now: Time) -> Result<Packets, FrameTooLarge> {
        let packets: Packets = packetize(&Frame { track: self.track.id, ..frame.clone() })?.into();
        if let Some(smaller) = self.smaller.as_mut().filter(|_| frame.is_key()) {
            smaller.keys.sent = Some(now);
        }
        Ok(packets)
    }

    /// What its shares take of a way, when encoders were told this rate. Who offers a smaller size follows what it is told.
    pub(super) fn offer(&self, told: Bitrate) -> Offer {
        let (full, base) = self.layers.rates();
        let offer = Offer { full, base, has_smaller: self.has_smaller() };
        if self.has_smaller() { offer.at_most(told) } else { offer }
    }

    pub(super) fn has_smaller(&self) -> bool {
        self.smaller.is_some()
    }

    /// The smaller size is needed with this rate, or not: the track whose encoder must be told, if that is news.
    pub(super) fn tell_smaller(&mut self, rate: Option<Bitrate>) -> Option<TrackId> {
        let smaller = self.smaller.as_mut()?;
        let is_news = match (smaller.told, rate) {
            (Some(told), Some(rate)) => told.as_bits().abs_diff(rate.as_bits()) * 20 > told.as_bits(),
            (told, rate) => told != rate,
        };
        is_news.then(|| {
            smaller.told = rate;
            smaller.id
        })
    }

    fn cache(&mut self, packets: &Packets, frame: &Frame, now: Time) {
        if frame.is_key() {
            self.since_key.clear();
            self.cached = 0;
            self.keys.sent = Some(now);
        } else if self.since_key.is_empty() {
            return;
        }
        self.cached += frame.data.len();
        if self.cached > CACHE_MAX_BYTES {
            self.since_key.clear();
            return;
        }
        self.since_key.push(packets.clone());
    }
}
