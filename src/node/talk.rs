//! What peers say to each other, and the media that flows between them.

use bytes::Bytes;

use super::event::{Action, Event, Party};
use super::peer::{Link, Peer};
use super::publish::Publication;
use super::{Node, Time};
use crate::media::packetize::FrameTooLarge;
use crate::media::{Frame, Track, TrackError};
use crate::params::{PEER_RETRY, SOUND_RATE};
use crate::rate::queue::Class;
use crate::units::{Bitrate, PeerId, TrackId};
use crate::wire::codec::{self, CodecError};
use crate::wire::control::{Close, LeftReason, ToPeer, ToRendezvous};
use crate::wire::feedback::{Feedback, KIND_FEEDBACK};

/// Why something of ours cannot be published.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The track cannot be.
    #[error(transparent)]
    Track(#[from] TrackError),
    /// The frame is too large.
    #[error(transparent)]
    Frame(#[from] FrameTooLarge),
    /// No such track was announced.
    #[error("track {} was not announced", .0.0)]
    NoTrack(TrackId),
}

impl Node {
    /// The peer's QUIC connection is up, and TLS has proven its identity.
    pub fn handle_peer_connected(&mut self, id: PeerId, now: Time) {
        let playout = self.config.playout;
        let clock = self.config.clock;
        let Some(peer) = self.peers.get_mut(&id) else {
            self.actions.push_back(Action::Disconnect(Party::Peer(id), Close::NotAMember));
            return;
        };
        peer.link = Link::Up;
        peer.reset_flow(playout, now);
        self.actions.push_back(tell_peer(id, &ToPeer::Hello { clock }));
        for publication in self.publications.values() {
            self.actions.push_back(tell_peer(id, &ToPeer::Track(publication.track.clone())));
            if peer.wants(publication.track.id) {
                send_backlog(peer, publication, now);
            }
        }
    }

    /// The peer's first message: it has accepted us, as our own handshake alone could not tell.
    fn handle_hello(&mut self, id: PeerId, clock: u64) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.is_same_clock = clock != 0 && clock == self.config.clock;
        if std::mem::replace(&mut peer.has_spoken, true) {
            return;
        }
        if !std::mem::replace(&mut peer.was_announced, true) {
            self.events.push_back(Event::PeerJoined { peer: id, name: peer.member.name.clone() });
        }
        self.announce_path(id);
    }

    /// The peer's QUIC connection is gone.
    pub fn handle_peer_closed(&mut self, id: PeerId, code: Option<Close>, now: Time) {
        let Some(peer) = self.peers.get(&id) else { return };
        if code == Some(Close::Leaving) {
            self.handle_gone(id, LeftReason::Left);
        } else if peer.is_in_room {
            self.set_down(id, now);
        } else {
            self.handle_gone(id, LeftReason::Lost);
        }
    }

    /// The connection is to be opened again, by whoever opens it.
    pub(super) fn set_down(&mut self, id: PeerId, now: Time) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.link = Link::Down { retry: now + PEER_RETRY };
        }
    }

    /// A message on the peer's control stream.
    ///
    /// # Errors
    /// When it does not decode; the connection is of no more use then.
    pub fn handle_peer_message(&mut self, id: PeerId, body: &[u8], now: Time) -> Result<(), CodecError> {
        let message: ToPeer = codec::decode(body)?;
        if let Err(error) = message.check() {
            let message = format!("announces what cannot be: {error}");
            self.events.push_back(Event::Trouble { peer: Some(id), message });
            return Ok(());
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return Ok(());
        };
        match message {
            ToPeer::Hello { clock } => self.handle_hello(id, clock),
            ToPeer::Track(track) => {
                if peer.watch.handle_track(track.clone()) {
                    let is_same_clock = peer.is_same_clock;
                    self.events.push_back(Event::Track { peer: id, track, is_same_clock });
                }
            }
            ToPeer::TrackEnded { track, end } => peer.watch.handle_track_ended(track, end, now),
            ToPeer::KeyFrameRequest { track } => self.handle_key_frame_request(track, now),
            ToPeer::Want { track, wanted } => {
                peer.handle_want(track, wanted);
                if wanted && let Some(publication) = self.publications.get(&track) {
                    send_backlog(peer, publication, now);
                }
            }
        }
        self.drain_watch(id, now);
        Ok(())
    }

    /// A media datagram of the peer's.
    pub fn handle_peer_datagram(&mut self, id: PeerId, datagram: &Bytes, now: Time) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match datagram.first() {
            Some(&KIND_FEEDBACK) => self.handle_feedback(id, datagram, now),
            _ => {
                peer.watch.handle_datagram(datagram, &mut peer.meter, now);
                self.drain_watch(id, now);
            }
        }
    }

    /// A report about what we sent: how fast we may send, and what to send again.
    fn handle_feedback(&mut self, id: PeerId, datagram: &Bytes, now: Time) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match Feedback::decode(datagram) {
            Ok(feedback) => {
                let rtt = peer.agent.rtt().unwrap_or_default();
                peer.sender.handle_feedback(&feedback, rtt, now);
                self.actions.push_back(Action::Window(id, peer.sender.window(rtt)));
                self.announce_bitrate();
            }
            Err(error) => tracing::trace!(peer = ?id, %error, "report dropped"),
        }
    }

    /// Tells the person how fast pictures may be encoded, when that has changed by more than a little.
    pub(super) fn announce_bitrate(&mut self) {
        let takes = |peer: &&Peer| peer.link == Link::Up && self.publications.keys().any(|track| peer.wants(*track));
        let rates = self.peers.values().filter(takes).map(|peer| peer.sender.media_rate());
        let Some(rate) = common_rate(rates.collect()) else { return };
        let sound = self.publications.values().filter(|publication| publication.class() == Class::Sound).count();
        let rate = Bitrate::from_bits(rate.as_bits().saturating_sub(SOUND_RATE.as_bits() * sound as u64));
        let (told, now) = (self.told_bitrate.as_bits(), rate.as_bits());
        if now.abs_diff(told) * 20 > told {
            self.told_bitrate = rate;
            self.events.push_back(Event::Bitrate(rate));
        }
    }

    /// Announces a track to everybody, now and later; or changes it.
    ///
    /// # Errors
    /// When its shape cannot be.
    pub fn publish(&mut self, track: Track) -> Result<(), PublishError> {
        track.check()?;
        self.tell_all(&ToPeer::Track(track.clone()));
        match self.publications.get_mut(&track.id) {
            Some(publication) => publication.track = track,
            None => {
                self.publications.insert(track.id, Publication::new(track));
            }
        }
        Ok(())
    }

    /// Sends a frame to everybody who wants its track.
    ///
    /// # Errors
    /// When the frame is too large or its track was not announced.
    pub fn send_frame(&mut self, frame: &Frame, now: Time) -> Result<(), PublishError> {
        let publication = self.publications.get_mut(&frame.track).ok_or(PublishError::NoTrack(frame.track))?;
        let packets = publication.publish(frame, now)?;
        let (class, deadline) = (publication.class(), publication.deadline(now));
        for peer in self.peers.values_mut().filter(|peer| peer.link == Link::Up && peer.wants(frame.track)) {
            peer.sender.push(packets.clone(), class, deadline);
        }
        Ok(())
    }

    /// Ends a track: everybody learns how many frames it had.
    pub fn end_track(&mut self, track: TrackId) {
        if let Some(publication) = self.publications.remove(&track) {
            self.tell_all(&ToPeer::TrackEnded { track, end: publication.end });
        }
    }

    /// Asks a peer to send, or no longer to send, one of its tracks.
    pub fn want(&mut self, peer: PeerId, track: TrackId, wanted: bool) {
        self.actions.push_back(tell_peer(peer, &ToPeer::Want { track, wanted }));
    }

    /// Asks a peer for a key frame, because its frames do not decode.
    pub fn request_key_frame(&mut self, peer: PeerId, track: TrackId) {
        self.actions.push_back(tell_peer(peer, &ToPeer::KeyFrameRequest { track }));
    }

    /// Somebody is about to come: a fresh key frame makes their first picture soon and small.
    pub(super) fn want_key_frames(&mut self, now: Time) {
        let tracks: Vec<TrackId> = self.publications.keys().copied().collect();
        for track in tracks {
            self.handle_key_frame_request(track, now);
        }
    }

    pub(super) fn handle_key_frame_request(&mut self, track: TrackId, now: Time) {
        let Some(publication) = self.publications.get_mut(&track) else {
            return;
        };
        if publication.handle_key_frame_request(now) {
            self.events.push_back(Event::KeyFrameWanted { track });
        }
    }

    fn tell_all(&mut self, message: &ToPeer) {
        let up = self.peers.iter().filter(|(_, peer)| peer.link == Link::Up);
        self.actions.extend(up.map(|(id, _)| tell_peer(*id, message)));
    }
}

/// The rate for all receivers: the least, but for those who are far below the middle. They lose layers, nobody else does.
fn common_rate(mut rates: Vec<Bitrate>) -> Option<Bitrate> {
    rates.sort();
    let middle = rates.get(rates.len() / 2)?.as_bits();
    rates.into_iter().find(|rate| rate.as_bits() * 2 >= middle)
}

fn send_backlog(peer: &mut Peer, publication: &Publication, now: Time) {
    for packets in publication.backlog() {
        peer.sender.push(packets.clone(), publication.class(), publication.deadline(now));
    }
}

pub(super) fn tell_peer(peer: PeerId, message: &ToPeer) -> Action {
    Action::Tell(Party::Peer(peer), codec::encode(message))
}

pub(super) fn tell_rendezvous(message: &ToRendezvous) -> Action {
    Action::Tell(Party::Rendezvous, codec::encode(message))
}
