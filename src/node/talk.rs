//! What peers say to each other.

use bytes::Bytes;

use super::event::{Action, Event, Party};
use super::peer::{Link, Peer};
use super::publish::Publication;
use super::sender::Shared;
use super::watch::Watched;
use super::{Node, Time};
use crate::media::packetize::FrameTooLarge;
use crate::media::{Frame, Track, TrackError};
use crate::params::PEER_RETRY;
use crate::rate::layers::Size;
use crate::units::{PeerId, TrackId};
use crate::wire::chunk::Chunk;
use crate::wire::codec::{self, CodecError};
use crate::wire::control::{Close, LeftReason, MessageError, ToPeer, ToRendezvous};
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
    /// Too much at once.
    #[error(transparent)]
    Said(#[from] MessageError),
}

impl Node {
    /// The peer takes part in the handshake of its connection.
    pub fn handle_peer_answer(&mut self, id: PeerId, now: Time) {
        if let Some(Peer { link: Link::Opening(attempt), .. }) = self.peers.get_mut(&id) {
            attempt.handle_answer(now);
        }
    }

    /// The peer's QUIC connection is up, and TLS has proven its identity.
    pub fn handle_peer_connected(&mut self, id: PeerId, now: Time) {
        let playout = self.config.playout;
        let clock = self.config.clock;
        let Some(peer) = self.peers.get_mut(&id) else {
            self.actions.push_back(Action::Disconnect(Party::Peer(id), Close::NotAMember));
            return;
        };
        peer.link = Link::Greeting(match peer.link {
            Link::Opening(attempt) => Some(attempt),
            Link::Down { .. } | Link::Greeting(_) | Link::Up | Link::PutOut { .. } => None,
        });
        peer.reset_flow(playout, now);
        self.actions.push_back(tell_peer(id, &ToPeer::Hello { clock }));
        self.tell_rules(id);
        let tracks: Vec<Track> = self.publications.values().map(|publication| publication.track.clone()).collect();
        for track in tracks {
            self.begin_track(&id, track.id, now);
            self.actions.push_back(tell_peer(id, &ToPeer::Track(track)));
        }
    }

    /// The peer's first message: it has accepted us, as our own handshake alone could not tell.
    fn handle_hello(&mut self, id: PeerId, clock: u64) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.is_same_clock = clock != 0 && clock == self.config.clock;
        if !matches!(peer.link, Link::Greeting(_)) {
            return;
        }
        peer.link = Link::Up;
        if !std::mem::replace(&mut peer.was_announced, true) {
            self.events.push_back(Event::PeerJoined {
                peer: id,
                name: peer.member.name.clone(),
                is_host: peer.is_host,
            });
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
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_put_out()) else {
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
            ToPeer::KeyFrameRequest { track } => self.handle_key_frame_request(&id, track, now),
            ToPeer::Rules(rules) => self.handle_rules(rules, Some(Party::Peer(id)), now),
            ToPeer::Said { bytes } => self.events.push_back(Event::Said { peer: id, bytes }),
            ToPeer::Want { track, wanted } => {
                let is_new = wanted && !peer.wants(track);
                peer.handle_want(track, wanted);
                if is_new {
                    self.begin_track(&id, track, now);
                }
            }
        }
        self.drain_watch(id, now);
        Ok(())
    }

    /// A media datagram of the peer's.
    pub fn handle_peer_datagram(&mut self, id: PeerId, datagram: &Bytes, now: Time) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_put_out()) else { return };
        match datagram.first() {
            Some(&KIND_FEEDBACK) => self.handle_feedback(id, datagram, now),
            _ => {
                peer.watch.handle_datagram(datagram, &mut peer.meter, now);
                self.drain_watch(id, now);
            }
        }
    }

    /// Tells the person what has come from a peer and is due.
    pub(super) fn drain_watch(&mut self, id: PeerId, now: Time) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_put_out()) else { return };
        let is_silenced = self.book.is_muted() && !peer.is_host;
        for watched in peer.watch.drain(now) {
            let event = match watched {
                Watched::Frame(Frame { track, .. }) | Watched::Lost(track, _)
                    if is_silenced && peer.watch.is_sound(track) =>
                {
                    continue;
                }
                Watched::Frame(frame) => Event::Frame { peer: id, frame },
                Watched::Lost(track, count) => Event::FramesLost { peer: id, track, count },
                Watched::Ended(track) => {
                    peer.meter.handle_pause();
                    Event::TrackEnded { peer: id, track }
                }
                Watched::Chunk(Chunk { transfer, offset, data, .. }) => {
                    Event::Bulk { peer: id, transfer, offset, data }
                }
                Watched::NeedsKey(track) => {
                    let request = ToPeer::KeyFrameRequest { track };
                    self.actions.push_back(tell_peer(id, &request));
                    continue;
                }
            };
            self.events.push_back(event);
        }
    }

    /// A report about what we sent: how fast we may send, and what to send again.
    fn handle_feedback(&mut self, id: PeerId, datagram: &Bytes, now: Time) {
        let media = self.media(now);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match Feedback::decode(datagram) {
            Ok(feedback) => {
                let rtt = peer.agent.rtt().unwrap_or_default();
                let uplink = Shared { coupling: &mut self.coupling, peer: id, media };
                let arrived = peer.sender.handle_feedback(&feedback, rtt, uplink, now);
                if let Some(sent) = peer.sender.arrived_until() {
                    peer.agent.handle_reported(sent);
                }
                let told =
                    arrived.into_iter().map(|(transfer, bytes)| Event::BulkArrived { peer: id, transfer, bytes });
                self.events.extend(told);
                self.actions.push_back(Action::Window(id, peer.sender.window(rtt)));
                self.share_uplink(now);
                self.review_pictures(id, now);
            }
            Err(error) => tracing::trace!(peer = ?id, %error, "report dropped"),
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

    /// Asks a peer to send, or no longer to send, one of its tracks.
    pub fn want(&mut self, peer: PeerId, track: TrackId, wanted: bool) {
        self.actions.push_back(tell_peer(peer, &ToPeer::Want { track, wanted }));
    }

    /// Says something small to the program of one peer, or of all who are connected now. It arrives whole and in order, or
    /// not at all where the connection breaks.
    ///
    /// # Errors
    /// When it is more than may be said at once.
    pub fn say(&mut self, peer: Option<PeerId>, bytes: Bytes) -> Result<(), PublishError> {
        let message = ToPeer::Said { bytes };
        message.check()?;
        match peer {
            Some(peer) => self.actions.push_back(tell_peer(peer, &message)),
            None => self.tell_all(&message),
        }
        Ok(())
    }

    /// Asks a peer for a key frame, because its frames do not decode.
    pub fn request_key_frame(&mut self, peer: PeerId, track: TrackId) {
        self.actions.push_back(tell_peer(peer, &ToPeer::KeyFrameRequest { track }));
    }

    /// Somebody is about to come: a fresh key frame makes their first picture soon and small.
    pub(super) fn want_key_frames(&mut self, now: Time) {
        let tracks: Vec<TrackId> = self.publications.keys().copied().collect();
        for track in tracks {
            self.ask_for_key_frame(track, Size::Large, now);
        }
    }

    pub(super) fn tell_all(&mut self, message: &ToPeer) {
        let up = self.peers.iter().filter(|(_, peer)| peer.is_connected());
        self.actions.extend(up.map(|(id, _)| tell_peer(*id, message)));
    }
}

pub(super) fn tell_peer(peer: PeerId, message: &ToPeer) -> Action {
    Action::Tell(Party::Peer(peer), codec::encode(message))
}

pub(super) fn tell_rendezvous(message: &ToRendezvous) -> Action {
    Action::Tell(Party::Rendezvous, codec::encode(message))
}
