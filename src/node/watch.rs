//! What comes from one peer: packets in, frames and their absence out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::stats::{FreezeMeter, Meter};
use crate::media::assemble::Assembler;
use crate::media::jitter::{Jitter, Playout, Released};
use crate::media::{Frame, Track};
use crate::params::{KEY_FRAME_REQUEST_INTERVAL, MAX_TRACKS};
use crate::units::{FrameNumber, Time, TrackId};
use crate::wire::packet::Packet;

/// All tracks that come from one peer.
#[derive(Debug)]
pub(super) struct Watch {
    playout: Playout,
    tracks: BTreeMap<TrackId, Receiver>,
    pub(super) frames: u64,
    pub(super) frames_lost: u64,
    /// Datagrams that were of no use.
    pub(super) rejected: u64,
    /// Freezes of tracks that have ended.
    ended_freezes: (u64, Duration),
}

/// One track on its way in.
#[derive(Debug)]
struct Receiver {
    track: Option<Track>,
    assembler: Assembler,
    jitter: Jitter,
    freezes: FreezeMeter,
    key_asked: Option<Time>,
    wants_key: bool,
}

/// What a watched peer's media amounts to.
#[derive(Debug, PartialEq)]
pub(super) enum Watched {
    Frame(Frame),
    Lost(TrackId, u32),
    Ended(TrackId),
    /// The sender must be asked for a key frame.
    NeedsKey(TrackId),
}

impl Watch {
    pub(super) fn new(playout: Playout) -> Self {
        Watch {
            playout,
            tracks: BTreeMap::new(),
            frames: 0,
            frames_lost: 0,
            rejected: 0,
            ended_freezes: (0, Duration::ZERO),
        }
    }

    /// A track is announced; its packets may have come before.
    pub(super) fn handle_track(&mut self, track: Track) -> bool {
        let Some(receiver) = self.receiver(track.id) else {
            return false;
        };
        receiver.track = Some(track);
        true
    }

    pub(super) fn handle_track_ended(&mut self, track: TrackId, end: FrameNumber, now: Time) {
        if let Some(receiver) = self.tracks.get_mut(&track) {
            receiver.jitter.handle_end(end, now);
        }
    }

    pub(super) fn handle_datagram(&mut self, datagram: &Bytes, meter: &mut Meter, now: Time) {
        let Ok(packet) = Packet::decode(datagram) else {
            self.rejected += 1;
            return;
        };
        meter.handle_received(datagram.len(), packet.header.hop_sequence, now);
        let Some(receiver) = self.receiver(packet.header.track) else {
            self.rejected += 1;
            return;
        };
        match receiver.assembler.push(packet, now) {
            Ok(Some(frame)) => receiver.jitter.push(frame, now),
            Ok(None) => {}
            Err(_) => self.rejected += 1,
        }
    }

    /// Everything that is due.
    pub(super) fn drain(&mut self, now: Time) -> VecDeque<Watched> {
        let mut watched = VecDeque::new();
        let mut ended = Vec::new();
        for (id, receiver) in &mut self.tracks {
            receiver.assembler.handle_timeout(now);
            if receiver.track.is_none() {
                continue;
            }
            while let Some(released) = receiver.jitter.poll(now) {
                match released {
                    Released::Frame(frame) => {
                        self.frames += 1;
                        receiver.note_picture(now);
                        watched.push_back(Watched::Frame(frame));
                    }
                    Released::Lost(count) => {
                        self.frames_lost += u64::from(count);
                        watched.push_back(Watched::Lost(*id, count));
                    }
                }
            }
            if receiver.asks_for_key(now) {
                watched.push_back(Watched::NeedsKey(*id));
            }
            if receiver.jitter.is_finished() {
                ended.push(*id);
            }
        }
        for id in ended {
            if let Some(Receiver { freezes, .. }) = self.tracks.remove(&id) {
                self.ended_freezes.0 += freezes.freezes;
                self.ended_freezes.1 += freezes.freeze_time;
            }
            watched.push_back(Watched::Ended(id));
        }
        watched
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let known = self.tracks.values().filter(|receiver| receiver.track.is_some());
        known.filter_map(|receiver| receiver.jitter.poll_timeout()).min()
    }

    /// Freezes of all its pictures: how many, and how long in all.
    pub(super) fn freezes(&self) -> (u64, Duration) {
        let meters = self.tracks.values().map(|receiver| &receiver.freezes);
        meters.fold(self.ended_freezes, |(count, time), meter| (count + meter.freezes, time + meter.freeze_time))
    }

    /// The longest delay of its jitter buffers.
    pub(super) fn jitter_delay(&self) -> Duration {
        self.tracks.values().map(|receiver| receiver.jitter.delay()).max().unwrap_or_default()
    }

    /// The receiver of a track; `None` if the peer already has as many as one may have.
    fn receiver(&mut self, id: TrackId) -> Option<&mut Receiver> {
        if !self.tracks.contains_key(&id) && self.tracks.len() >= MAX_TRACKS {
            return None;
        }
        Some(self.tracks.entry(id).or_insert_with(|| Receiver::new(self.playout)))
    }
}

impl Receiver {
    fn new(playout: Playout) -> Self {
        Receiver {
            track: None,
            assembler: Assembler::new(),
            jitter: Jitter::new(playout),
            freezes: FreezeMeter::default(),
            key_asked: None,
            wants_key: false,
        }
    }

    fn note_picture(&mut self, now: Time) {
        if self.track.as_ref().is_some_and(|track| !track.kind.is_audio()) {
            self.freezes.handle_picture(now);
        }
    }

    fn asks_for_key(&mut self, now: Time) -> bool {
        self.wants_key |= self.jitter.take_wants_key();
        let is_free = self.key_asked.is_none_or(|asked| now.since(asked) >= KEY_FRAME_REQUEST_INTERVAL);
        let asks = self.wants_key && is_free;
        if asks {
            self.wants_key = false;
            self.key_asked = Some(now);
        }
        asks
    }
}
