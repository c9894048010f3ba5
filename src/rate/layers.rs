//! Which pictures of one track a receiver gets: as many layers, of the larger or the smaller size, as its way carries.
//!
//! Frames go in; those that are to go come out with numbers of their own, so that what is left out is no loss to the
//! receiver. Fewer go soon after the way no longer carries them, more only after it could for a while; a change of size
//! begins with a key frame.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::params::{
    LAYER_RATE_SPAN, PICTURES_LEAST, SHARE_DOWN_AFTER, SHARE_RELAPSE, SHARE_UP_AFTER, SHARE_UP_AFTER_MOST,
    SMALLER_LEAST,
};
use crate::rate::queue::Packets;
use crate::units::{Bitrate, FrameNumber, Time};
use crate::wire::packet::{Header, Packet};
use crate::wire::track::FrameKind;

/// How much of a track goes to a receiver; each is more than the one before.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Share {
    /// No pictures.
    Paused,
    /// The smaller size.
    Smaller,
    /// The larger size without what nothing depends on.
    Base,
    /// Everything.
    Full,
}

/// Which encoding of a track a frame belongs to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Size {
    /// The one for those who see little.
    Small,
    /// The one everybody gets who can.
    Large,
}

/// What the shares of a track take, bits a second.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offer {
    /// The larger size, all layers.
    pub full: Bitrate,
    /// The larger size, base layer; the same as all of it where there is only one.
    pub base: Bitrate,
    /// Whether a smaller size can be had.
    pub has_smaller: bool,
}

/// What one receiver gets of one track.
#[derive(Debug)]
pub struct Selection {
    share: Share,
    flowing: Size,
    /// A share that would be better, and since when.
    pressing: Option<(Share, Time)>,
    /// When the share last changed.
    changed: Time,
    /// How long more must have been possible before more is sent.
    patience: Duration,
    /// The number of the next frame to go.
    next: Option<FrameNumber>,
    /// Under which numbers the last frames went, by their own.
    numbers: BTreeMap<FrameNumber, FrameNumber>,
    wants_key: bool,
}

impl Offer {
    /// What it will take when an encoder that follows has come down to `told`.
    pub fn at_most(self, told: Bitrate) -> Offer {
        if self.full <= told {
            return self;
        }
        let base = self.base.as_bits() as f64 * told.as_bits() as f64 / self.full.as_bits() as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a rate")]
        let base = Bitrate::from_bits(base as u64);
        Offer { full: told, base, ..self }
    }
}

impl Selection {
    /// Everything goes until the way says otherwise.
    pub fn new(now: Time) -> Self {
        Selection {
            share: Share::Full,
            flowing: Size::Large,
            pressing: None,
            changed: now,
            patience: SHARE_UP_AFTER,
            next: None,
            numbers: BTreeMap::new(),
            wants_key: false,
        }
    }

    /// What goes.
    pub fn share(&self) -> Share {
        self.share
    }

    /// Which size is needed now or soon.
    pub fn needs(&self, size: Size) -> bool {
        self.share != Share::Paused && (self.flowing == size || self.target() == size)
    }

    /// Which size goes now.
    pub fn flowing(&self) -> Size {
        self.flowing
    }

    /// The number after the last frame that went; `None` if none did.
    pub fn end(&self) -> Option<FrameNumber> {
        self.next
    }

    /// The way carries this much of the track.
    pub fn review(&mut self, offer: &Offer, available: Bitrate, now: Time) {
        let better = self.best(offer, available);
        if better == self.share {
            self.pressing = None;
            return;
        }
        let is_less = better < self.share;
        let since = match self.pressing {
            Some((share, since)) if (share < self.share) == is_less => since,
            Some(_) | None => now,
        };
        self.pressing = Some((better, since));
        let patience = match better {
            // A moment's full queue looks as if nothing fitted.
            Share::Paused => SHARE_DOWN_AFTER * 2,
            _ if is_less => SHARE_DOWN_AFTER,
            Share::Smaller | Share::Base | Share::Full => self.patience,
        };
        if now.since(since) >= patience {
            self.change(better, now);
        }
    }

    /// The frame as it goes, if it does.
    pub fn pick(&mut self, packets: &Packets, size: Size) -> Option<Packets> {
        let header = packets.first()?.header;
        let is_key = header.kind == FrameKind::Key;
        if self.share == Share::Paused {
            return None;
        }
        if size != self.flowing {
            if size != self.target() || !is_key {
                return None;
            }
            self.flowing = size;
            self.numbers.clear();
        }
        if self.leaves_out(&header) {
            return None;
        }
        let number = self.next.unwrap_or(header.frame);
        let needs = if is_key { 0 } else { self.needs_as_sent(&header, number)? };
        self.next = number.next();
        self.wants_key &= !(is_key && size == self.target());
        self.numbers.insert(header.frame, number);
        while self.numbers.len() > usize::from(u8::MAX) {
            self.numbers.pop_first();
        }
        Some(renumbered(packets, number, needs))
    }

    /// The size of which the receiver needs a key frame; `None` if it goes on without.
    pub fn wanted_key(&self) -> Option<Size> {
        self.wants_key.then(|| self.target())
    }

    fn target(&self) -> Size {
        if self.share == Share::Smaller { Size::Small } else { Size::Large }
    }

    /// The most that fits. What flows is kept until it clearly does not fit, and left for more only when that clearly does.
    fn best(&self, offer: &Offer, available: Bitrate) -> Share {
        let fits = |share: Share, needed: Bitrate| {
            let (available, needed) = (available.as_bits(), needed.as_bits());
            if share <= self.share { needed * 4 <= available * 5 } else { needed * 20 <= available * 21 }
        };
        // As little as that goes while anything goes.
        let is_least = offer.full <= PICTURES_LEAST && available > Bitrate::default();
        let has_layers = offer.base.as_bits() * 10 < offer.full.as_bits() * 9;
        if fits(Share::Full, offer.full) || is_least {
            Share::Full
        } else if has_layers && fits(Share::Base, offer.base) {
            Share::Base
        } else if offer.has_smaller && fits(Share::Smaller, SMALLER_LEAST) {
            Share::Smaller
        } else {
            Share::Paused
        }
    }

    fn change(&mut self, share: Share, now: Time) {
        let is_relapse = share < self.share && now.since(self.changed) < SHARE_RELAPSE;
        self.patience = match is_relapse {
            true => (self.patience * 2).min(SHARE_UP_AFTER_MOST),
            false if share < self.share => SHARE_UP_AFTER,
            false => self.patience,
        };
        let was_paused = self.share == Share::Paused;
        self.share = share;
        self.changed = now;
        self.pressing = None;
        self.wants_key = share != Share::Paused && (was_paused || self.target() != self.flowing);
    }

    /// Whether a frame is more than goes. Until a change of size has come about, only what others depend on goes.
    fn leaves_out(&self, header: &Header) -> bool {
        let is_base_only = self.share == Share::Base || self.target() != self.flowing;
        is_base_only && header.temporal_layer > 0
    }

    /// How far back the frame lies that this one needs; `None` if that one did not go.
    fn needs_as_sent(&mut self, header: &Header, number: FrameNumber) -> Option<u8> {
        if header.needs == 0 {
            return Some(0);
        }
        let needed = FrameNumber(header.frame.0.checked_sub(u32::from(header.needs))?);
        let back = self.numbers.get(&needed).map(|needed| number.0.saturating_sub(needed.0));
        let back = back.and_then(|back| u8::try_from(back).ok());
        self.wants_key |= back.is_none() && header.temporal_layer == 0;
        back
    }
}

/// The same frame under another number; its bytes are shared.
fn renumbered(packets: &Packets, number: FrameNumber, needs: u8) -> Packets {
    if packets.first().is_some_and(|packet| packet.header.frame == number && packet.header.needs == needs) {
        return packets.clone();
    }
    let renumber = |packet: &Packet| {
        let header = Header { frame: number, needs, ..packet.header };
        Packet { header, payload: packet.payload.clone() }
    };
    packets.iter().map(renumber).collect()
}

/// Measures what the layers of an encoding take.
#[derive(Debug, Default)]
pub struct LayerMeter {
    frames: VecDeque<(Time, u64, bool)>,
    base: u64,
    all: u64,
}

impl LayerMeter {
    /// A frame of so many bytes was encoded.
    pub fn handle_frame(&mut self, bytes: usize, temporal_layer: u8, now: Time) {
        let (bytes, is_base) = (bytes as u64, temporal_layer == 0);
        self.frames.push_back((now, bytes, is_base));
        self.all += bytes;
        self.base += if is_base { bytes } else { 0 };
        while let Some((_, bytes, was_base)) = self.frames.pop_front_if(|(at, ..)| now.since(*at) > LAYER_RATE_SPAN) {
            self.all -= bytes;
            self.base -= if was_base { bytes } else { 0 };
        }
    }

    /// What all layers and the base layer take.
    pub fn rates(&self) -> (Bitrate, Bitrate) {
        let (Some((first, ..)), Some((last, ..))) = (self.frames.front(), self.frames.back()) else {
            return (Bitrate::default(), Bitrate::default());
        };
        let span = last.since(*first).max(LAYER_RATE_SPAN / 2);
        (Bitrate::of(self.all, span), Bitrate::of(self.base, span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::CaptureTime;
    use bytes::Bytes;

    const OFFER: Offer =
        Offer { full: Bitrate::from_kilobits(1000), base: Bitrate::from_kilobits(600), has_smaller: true };
    const PLENTY: Bitrate = Bitrate::from_kilobits(5000);

    /// A picture of two layers: each upper one needs the one before, each lower one the one before that.
    fn picture(number: u32) -> Packets {
        let (kind, needs, temporal_layer) = match number {
            0 => (FrameKind::Key, 0, 0),
            upper if upper % 2 == 1 => (FrameKind::Delta, 1, 1),
            _ => (FrameKind::Delta, 2, 0),
        };
        packet(number, kind, needs, temporal_layer)
    }

    fn key(number: u32) -> Packets {
        packet(number, FrameKind::Key, 0, 0)
    }

    fn packet(number: u32, kind: FrameKind, needs: u8, temporal_layer: u8) -> Packets {
        let captured = CaptureTime::from_micros(u64::from(number) * 33_333);
        let header = Header { kind, temporal_layer, needs, captured, ..Header::alone(1, number) };
        [Packet { header, payload: Bytes::new() }].into()
    }

    /// Reviews for a while, ten times a second.
    fn review(selection: &mut Selection, available: Bitrate, from: Time, span: Duration) -> Time {
        let mut now = from;
        while now < from + span {
            selection.review(&OFFER, available, now);
            now += Duration::from_millis(100);
        }
        selection.review(&OFFER, available, now);
        now
    }

    /// What goes of these: number and how far back its need lies.
    fn sent(selection: &mut Selection, pictures: impl IntoIterator<Item = Packets>, size: Size) -> Vec<(u32, u8)> {
        let went = pictures.into_iter().filter_map(|packets| selection.pick(&packets, size));
        went.map(|packets| (packets[0].header.frame.0, packets[0].header.needs)).collect()
    }

    #[test]
    fn on_a_good_way_everything_goes_as_it_is() {
        let mut selection = Selection::new(Time::ZERO);
        for number in 0..10 {
            let frame = picture(number);
            assert!(std::sync::Arc::ptr_eq(&selection.pick(&frame, Size::Large).unwrap(), &frame));
        }
        assert_eq!(selection.end(), Some(FrameNumber(10)));
    }

    #[test]
    fn a_slower_way_gets_the_base_layer_without_gaps() {
        let mut selection = Selection::new(Time::ZERO);
        sent(&mut selection, (0..4).map(picture), Size::Large);
        review(&mut selection, Bitrate::from_kilobits(650), Time::ZERO, SHARE_DOWN_AFTER);
        assert_eq!(selection.share(), Share::Base);
        assert_eq!(sent(&mut selection, (4..10).map(picture), Size::Large), [(4, 2), (5, 1), (6, 1)]);
        assert_eq!(selection.wanted_key(), None);
    }

    #[test]
    fn a_far_slower_way_gets_the_smaller_size_from_its_key_frame_on() {
        let mut selection = Selection::new(Time::ZERO);
        sent(&mut selection, (0..4).map(picture), Size::Large);
        review(&mut selection, Bitrate::from_kilobits(200), Time::ZERO, SHARE_DOWN_AFTER);
        assert_eq!((selection.share(), selection.wanted_key()), (Share::Smaller, Some(Size::Small)));
        assert!(selection.needs(Size::Large) && selection.needs(Size::Small));
        assert_eq!(sent(&mut selection, (4..7).map(picture), Size::Large), [(4, 2), (5, 1)], "until it comes");
        assert_eq!(sent(&mut selection, [picture(101), key(102), picture(103)], Size::Small), [(6, 0), (7, 1)]);
        assert_eq!((selection.wanted_key(), selection.needs(Size::Large)), (None, false));
        assert!(sent(&mut selection, (7..9).map(picture), Size::Large).is_empty());
    }

    #[test]
    fn a_way_that_carries_nothing_pauses_and_what_comes_back_begins_with_a_key_frame() {
        let mut selection = Selection::new(Time::ZERO);
        sent(&mut selection, (0..4).map(picture), Size::Large);
        let now = review(&mut selection, Bitrate::from_kilobits(10), Time::ZERO, SHARE_DOWN_AFTER * 2);
        assert_eq!((selection.share(), selection.wanted_key()), (Share::Paused, None));
        assert!(sent(&mut selection, [picture(4), key(5)], Size::Large).is_empty());
        review(&mut selection, PLENTY, now, SHARE_UP_AFTER * 2);
        assert_eq!((selection.share(), selection.wanted_key()), (Share::Full, Some(Size::Large)));
        assert_eq!(sent(&mut selection, [picture(7), picture(8), key(9), picture(10)], Size::Large), [(4, 0)]);
    }

    #[test]
    fn a_moment_s_shortage_changes_nothing() {
        let mut selection = Selection::new(Time::ZERO);
        let short = SHARE_DOWN_AFTER - Duration::from_millis(100);
        let now = review(&mut selection, Bitrate::from_kilobits(10), Time::ZERO, short);
        review(&mut selection, PLENTY, now, Duration::from_millis(100));
        review(&mut selection, Bitrate::from_kilobits(10), now + Duration::from_millis(200), short);
        assert_eq!(selection.share(), Share::Full);
    }

    #[test]
    fn who_falls_back_at_once_waits_longer_before_the_next_try() {
        let mut selection = Selection::new(Time::ZERO);
        let narrow = Bitrate::from_kilobits(200);
        let now = review(&mut selection, narrow, Time::ZERO + SHARE_RELAPSE, SHARE_DOWN_AFTER);
        let now = review(&mut selection, PLENTY, now, SHARE_UP_AFTER);
        assert_eq!(selection.share(), Share::Full);
        let now = review(&mut selection, narrow, now, SHARE_DOWN_AFTER);
        let now = review(&mut selection, PLENTY, now, SHARE_UP_AFTER);
        assert_eq!(selection.share(), Share::Smaller);
        review(&mut selection, PLENTY, now, SHARE_UP_AFTER);
        assert_eq!(selection.share(), Share::Full);
    }

    #[test]
    fn the_meter_tells_the_layers_apart() {
        let mut meter = LayerMeter::default();
        for number in 0..120_u64 {
            let layer = u8::from(number % 2 == 1);
            meter.handle_frame(if layer == 0 { 3000 } else { 2000 }, layer, Time::from_millis(number * 1000 / 30));
        }
        let (all, base) = meter.rates();
        assert!((590_000..650_000).contains(&all.as_bits()), "{all:?}");
        assert!((350_000..390_000).contains(&base.as_bits()), "{base:?}");
    }
}
