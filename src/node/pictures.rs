//! Our frames on their way to everybody: sound to all alike, of pictures as much as each one's way carries.

use std::collections::BTreeMap;

use super::event::Event;
use super::peer::Peer;
use super::publish::Publication;
use super::talk::{PublishError, tell_peer};
use super::{Node, Time};
use crate::media::Frame;
use crate::params::{PICTURES_LEAST, SMALLER_LEAST, SMALLER_MOST};
use crate::rate::layers::{Selection, Share, Size};
use crate::rate::queue::{Class, Packets};
use crate::units::{Bitrate, PeerId, TrackId};
use crate::wire::control::ToPeer;

impl Node {
    /// The pictures of `track` also come in a smaller size: their frames are sent as if they were of the track `smaller`,
    /// while [`Event::SmallerBitrate`] asks for them.
    ///
    /// # Errors
    /// When `track` was not announced, or `smaller` is a track of its own.
    pub fn publish_smaller(&mut self, track: TrackId, smaller: TrackId) -> Result<(), PublishError> {
        let is_taken = self.publications.contains_key(&smaller);
        let publication = self.publications.get_mut(&track).filter(|_| !is_taken);
        publication.ok_or(PublishError::NoTrack(track))?.set_smaller(smaller);
        Ok(())
    }

    /// Sends a frame to everybody who wants its track.
    ///
    /// # Errors
    /// When the frame is too large or its track was not announced.
    pub fn send_frame(&mut self, frame: &Frame, now: Time) -> Result<(), PublishError> {
        let is_silenced = self.is_silenced();
        let mut sizes = self.publications.values_mut().filter_map(|publication| {
            let size = publication.size(frame.track)?;
            Some((publication, size))
        });
        let (publication, size) = sizes.next().ok_or(PublishError::NoTrack(frame.track))?;
        if is_silenced && publication.class() == Class::Sound {
            publication.skip();
            return Ok(());
        }
        let packets = match size {
            Size::Large => publication.publish(frame, now)?,
            Size::Small => publication.publish_smaller(frame, now)?,
        };
        for peer in self.peers.values_mut().filter(|peer| peer.is_connected()) {
            peer.send(publication, &packets, size, now);
        }
        Ok(())
    }

    /// Ends a track: everybody learns how many frames it had.
    pub fn end_track(&mut self, track: TrackId) {
        let Some(publication) = self.publications.remove(&track) else { return };
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.is_connected()) {
            let end = peer.selections.remove(&track).and_then(|selection| selection.end()).unwrap_or(publication.end);
            self.actions.push_back(tell_peer(*id, &ToPeer::TrackEnded { track, end }));
        }
    }

    /// Somebody begins to watch a track: they get what they need to see something at once, or a new key frame.
    pub(super) fn begin_track(&mut self, to: &PeerId, track: TrackId, now: Time) {
        let Some(publication) = self.publications.get(&track) else { return };
        let Some(peer) = self.peers.get_mut(to).filter(|peer| peer.wants(track)) else { return };
        match publication.backlog(now) {
            Some(backlog) => backlog.iter().for_each(|packets| peer.send(publication, packets, Size::Large, now)),
            None => self.ask_for_key_frame(track, Size::Large, now),
        }
    }

    /// A report tells how much a peer's way carries: it may get more or fewer pictures, of more or fewer bits.
    pub(super) fn review_pictures(&mut self, id: PeerId, now: Time) {
        // What encoders will come down to by themselves is no reason to leave layers out.
        self.announce_bitrate();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.review(&self.publications, self.told_bitrate, now);
        self.ask_for_missing_keys(&id, now);
        self.announce_bitrate();
        self.announce_smaller();
    }

    /// A receiver cannot go on without a key frame.
    pub(super) fn handle_key_frame_request(&mut self, from: &PeerId, track: TrackId, now: Time) {
        let peer = self.peers.get(from);
        if peer.is_some_and(|peer| peer.sender.has_key(track)) {
            return;
        }
        let selection = peer.and_then(|peer| peer.selections.get(&track));
        let size = selection.map_or(Size::Large, Selection::flowing);
        self.ask_for_key_frame(track, size, now);
    }

    pub(super) fn ask_for_key_frame(&mut self, track: TrackId, size: Size, now: Time) {
        let Some(publication) = self.publications.get_mut(&track) else { return };
        if let Some(track) = publication.handle_key_frame_request(size, now) {
            self.events.push_back(Event::KeyFrameWanted { track });
        }
    }

    fn ask_for_missing_keys(&mut self, id: &PeerId, now: Time) {
        let Some(peer) = self.peers.get(id) else { return };
        let wanted = peer.selections.iter().filter_map(|(track, selection)| Some((*track, selection.wanted_key()?)));
        let wanted: Vec<(TrackId, Size)> = wanted.collect();
        for (track, size) in wanted {
            self.ask_for_key_frame(track, size, now);
        }
    }

    /// Tells the person how fast pictures may be encoded, when that has changed by more than a little.
    fn announce_bitrate(&mut self) {
        let large = self.takers(|share| share >= Share::Base);
        // When nobody can take them, they become what somebody can.
        let rates = if large.is_empty() { self.takers(|_| true) } else { large };
        let Some(rate) = common_rate(rates, self.has_smaller()) else { return };
        let rate = rate.max(PICTURES_LEAST);
        let (told, now) = (self.told_bitrate.as_bits(), rate.as_bits());
        if now.abs_diff(told) * 20 > told {
            self.told_bitrate = rate;
            self.events.push_back(Event::Bitrate(rate));
        }
    }

    /// Tells the person whether and how fast pictures are to be encoded in a smaller size, too.
    fn announce_smaller(&mut self) {
        if !self.has_smaller() {
            return;
        }
        let least = self.takers(|share| share == Share::Smaller).into_iter().min();
        let peers = &self.peers;
        for publication in self.publications.values_mut() {
            let id = publication.track.id;
            let needs = |peer: &Peer| peer.selections.get(&id).is_some_and(|selection| selection.needs(Size::Small));
            let is_needed = peers.values().any(|peer| peer.is_connected() && peer.wants(id) && needs(peer));
            let rate = is_needed.then(|| least.unwrap_or(SMALLER_MOST).clamp(SMALLER_LEAST, SMALLER_MOST));
            if let Some(track) = publication.tell_smaller(rate) {
                self.events.push_back(Event::SmallerBitrate { track, rate });
            }
        }
    }

    /// What each way has room for besides sound, of those who get such a share of our pictures.
    fn takers(&self, is_such: impl Fn(Share) -> bool) -> Vec<Bitrate> {
        let up = self.peers.values().filter(|peer| peer.is_connected());
        let takes = |peer: &&Peer| match peer.selections.is_empty() {
            true => is_such(Share::Full) && self.publications.keys().any(|track| peer.wants(*track)),
            false => peer.selections.values().any(|selection| is_such(selection.share())),
        };
        up.filter(takes).map(|peer| peer.room_for_pictures(&self.publications)).collect()
    }

    fn has_smaller(&self) -> bool {
        self.publications.values().any(Publication::has_smaller)
    }
}

impl Peer {
    /// Puts a frame of ours in line for the peer, if it wants the track and its way carries that.
    fn send(&mut self, publication: &Publication, packets: &Packets, size: Size, now: Time) {
        let track = publication.track.id;
        if !self.wants(track) {
            return;
        }
        let deadline = publication.deadline(now);
        if publication.class() == Class::Sound {
            self.sender.push(packets.clone(), Class::Sound, deadline);
        } else if let Some(packets) = self.selection(track, now).pick(packets, size) {
            self.sender.push(packets, Class::Picture, deadline);
        }
    }

    fn selection(&mut self, track: TrackId, now: Time) -> &mut Selection {
        self.selections.entry(track).or_insert_with(|| Selection::new(now))
    }

    /// Chooses anew how much of each track the peer gets: each track has the part of the way that it has of all of them.
    fn review(&mut self, publications: &BTreeMap<TrackId, Publication>, told: Bitrate, now: Time) {
        let room = self.room_for_pictures(publications);
        let full =
            |track: &TrackId| publications.get(track).map_or(0, |publication| publication.offer(told).full.as_bits());
        let all: u64 = self.selections.keys().map(full).sum();
        let mut wish = 0;
        for (track, selection) in &mut self.selections {
            let Some(publication) = publications.get(track) else { continue };
            let offer = publication.offer(told);
            let part = offer.full.as_bits() as f64 / all.max(1) as f64;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a rate")]
            let available = Bitrate::from_bits((room.as_bits() as f64 * part) as u64);
            selection.review(&offer, available, now);
            wish += if selection.share() < Share::Full { offer.full.as_bits() * 5 / 4 } else { 0 };
        }
        let besides = self.sender.rate().as_bits().saturating_sub(room.as_bits());
        let roomy = self.sender.review_room(Bitrate::from_bits(all)).unwrap_or_default();
        self.sender.set_wish(if wish > 0 { Bitrate::from_bits(wish + besides) } else { roomy });
    }

    /// What the way carries besides sound and repair.
    fn room_for_pictures(&self, publications: &BTreeMap<TrackId, Publication>) -> Bitrate {
        let is_sound = |publication: &&Publication| publication.class() == Class::Sound;
        let sounds = publications.values().filter(is_sound).filter(|sound| self.wants(sound.track.id));
        self.sender.picture_rate(sounds.count())
    }
}

/// The rate for all who get the larger size: the least of them, but for those who are far below the others. They get fewer
/// pictures, nobody else does. Where these could get a smaller size, a single better way is reason enough.
fn common_rate(mut rates: Vec<Bitrate>, has_smaller: bool) -> Option<Bitrate> {
    rates.sort();
    let measure = if has_smaller { rates.last() } else { rates.get(rates.len() / 2) }?.as_bits();
    rates.into_iter().find(|rate| rate.as_bits() * 2 >= measure)
}
