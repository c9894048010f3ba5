//! What comes from one peer: packets in, frames and their absence out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::stats::{Meter, SoundMeter};
use crate::media::assemble::{Assembler, Unusable};
use crate::media::freeze::FreezeMeter;
use crate::media::jitter::{Jitter, Released};
use crate::media::playout::{Playout, PlayoutClock, Sense};
use crate::media::{Frame, Track};
use crate::params::{KEY_FRAME_REQUEST_INTERVAL, MAX_TRACKS, MAX_TRANSFERS};
use crate::rate::reporter::Reporter;
use crate::units::{FrameNumber, Time, TrackId, TransferId};
use crate::wire::chunk::{Chunk, KIND_CHUNK};
use crate::wire::packet::{Packet, PacketError};
use crate::wire::repair::{Bundle, KIND_BUNDLE, KIND_PARITY, Parity};

/// All tracks that come from one peer.
#[derive(Debug)]
pub(super) struct Watch {
    playout: Playout,
    tracks: BTreeMap<TrackId, Receiver>,
    /// When frames are due, by their tracks' epoch; tracks that are not announced yet have none.
    clocks: BTreeMap<Option<u64>, PlayoutClock>,
    reporter: Reporter,
    /// Until where the program takes each transfer of the peer's.
    accepted: BTreeMap<TransferId, u64>,
    chunks: VecDeque<Chunk>,
    pub(super) frames: u64,
    pub(super) frames_lost: u64,
    /// Datagrams that were of no use.
    pub(super) rejected: u64,
    /// Freezes of tracks that have ended.
    ended_freezes: (u64, Duration),
    /// Sound that did not come in time.
    pub(super) concealed: Duration,
}

/// One track on its way in.
#[derive(Debug)]
struct Receiver {
    track: Option<Track>,
    assembler: Assembler,
    jitter: Jitter,
    freezes: FreezeMeter,
    sound: SoundMeter,
    key_asked: Option<Time>,
    wants_key: bool,
}

/// What a watched peer's media amounts to.
#[derive(Debug, PartialEq)]
pub(super) enum Watched {
    Frame(Frame),
    Lost(TrackId, u32),
    Ended(TrackId),
    Chunk(Chunk),
    /// The sender must be asked for a key frame.
    NeedsKey(TrackId),
}

/// A datagram of media, of whichever kind.
enum Arrived {
    Packet(Packet),
    Bundle(Bundle),
    Parity(Parity),
    Chunk(Chunk),
}

impl Arrived {
    fn decode(datagram: &Bytes) -> Result<Arrived, PacketError> {
        match datagram.first() {
            Some(&KIND_BUNDLE) => Bundle::decode(datagram).map(Arrived::Bundle),
            Some(&KIND_PARITY) => Parity::decode(datagram).map(Arrived::Parity),
            Some(&KIND_CHUNK) => Chunk::decode(datagram).map(Arrived::Chunk),
            _ => Packet::decode(datagram).map(Arrived::Packet),
        }
    }

    fn hop_sequence(&self) -> u32 {
        match self {
            Arrived::Packet(packet) => packet.header.hop_sequence,
            Arrived::Bundle(bundle) => bundle.hop_sequence,
            Arrived::Parity(parity) => parity.header.hop_sequence,
            Arrived::Chunk(chunk) => chunk.hop_sequence,
        }
    }
}

impl Watch {
    pub(super) fn new(playout: Playout) -> Self {
        Watch {
            playout,
            tracks: BTreeMap::new(),
            clocks: BTreeMap::new(),
            reporter: Reporter::new(),
            accepted: BTreeMap::new(),
            chunks: VecDeque::new(),
            frames: 0,
            frames_lost: 0,
            rejected: 0,
            ended_freezes: (0, Duration::ZERO),
            concealed: Duration::ZERO,
        }
    }

    /// The connection is new: what was learned over the old one is gone, but not what the program takes.
    pub(super) fn restart(&mut self, playout: Playout) {
        let accepted = std::mem::take(&mut self.accepted);
        *self = Watch { accepted, ..Watch::new(playout) };
    }

    /// The program takes a transfer up to this byte, or no longer if that is 0. Whether it may take so many at a time.
    pub(super) fn accept(&mut self, transfer: TransferId, until: u64) -> bool {
        if until == 0 {
            self.accepted.remove(&transfer);
            return true;
        }
        let has_room = self.accepted.contains_key(&transfer) || self.accepted.len() < MAX_TRANSFERS;
        if has_room {
            self.accepted.insert(transfer, until);
        }
        has_room
    }

    /// A track is announced; its packets may have come before.
    pub(super) fn handle_track(&mut self, track: Track) -> bool {
        let Some(receiver) = self.receiver(track.id) else {
            return false;
        };
        let epoch = Some(track.epoch_unix_us);
        receiver.track = Some(track);
        // What came before the announcement was timed too.
        let clock = self.clocks.get(&None).cloned().unwrap_or_else(|| PlayoutClock::new(self.playout));
        self.clocks.entry(epoch).or_insert(clock);
        let epochs: BTreeSet<Option<u64>> = self.tracks.values().map(Receiver::epoch).collect();
        self.clocks.retain(|epoch, _| epochs.contains(epoch));
        true
    }

    pub(super) fn handle_track_ended(&mut self, track: TrackId, end: FrameNumber, now: Time) {
        if let Some(receiver) = self.tracks.get_mut(&track) {
            receiver.jitter.handle_end(end, now);
        }
    }

    pub(super) fn handle_datagram(&mut self, datagram: &Bytes, meter: &mut Meter, now: Time) {
        let Ok(arrived) = Arrived::decode(datagram) else {
            self.rejected += 1;
            return;
        };
        let hop_sequence = arrived.hop_sequence();
        meter.handle_received(datagram.len(), hop_sequence, now);
        self.reporter.handle_packet(hop_sequence, datagram.len(), now);
        match arrived {
            Arrived::Packet(packet) => self.handle_packet(packet, now),
            // The newest comes first; the others are copies, of which most have come before.
            Arrived::Bundle(bundle) => bundle.packets.into_iter().for_each(|packet| self.handle_packet(packet, now)),
            Arrived::Parity(parity) => {
                let id = parity.header.track;
                self.assemble(id, now, |assembler| assembler.push_parity(parity, now));
            }
            Arrived::Chunk(chunk) => self.handle_chunk(chunk),
        }
    }

    /// A report about what has come, if one is due, for a way back that may be narrow.
    pub(super) fn poll_feedback(&mut self, is_narrow: bool, now: Time) -> Option<Bytes> {
        self.reporter.poll(is_narrow, now).map(|feedback| feedback.encode())
    }

    /// When a report is due.
    pub(super) fn feedback_due(&self) -> Option<Time> {
        self.reporter.poll_timeout()
    }

    /// Only what the program asked for is worth its memory.
    fn handle_chunk(&mut self, chunk: Chunk) {
        let end = chunk.offset + chunk.data.len() as u64;
        if self.accepted.get(&chunk.transfer).is_some_and(|until| end <= *until) {
            self.chunks.push_back(chunk);
        } else {
            self.rejected += 1;
        }
    }

    fn handle_packet(&mut self, packet: Packet, now: Time) {
        let id = packet.header.track;
        self.assemble(id, now, |assembler| assembler.push(packet, now));
    }

    fn assemble(
        &mut self,
        track: TrackId,
        now: Time,
        push: impl FnOnce(&mut Assembler) -> Result<Option<Frame>, Unusable>,
    ) {
        let Some(receiver) = self.receiver(track) else {
            self.rejected += 1;
            return;
        };
        match push(&mut receiver.assembler) {
            Ok(Some(frame)) => {
                let (epoch, sense) = (receiver.epoch(), receiver.sense());
                let clock = self.clocks.entry(epoch).or_insert_with(|| PlayoutClock::new(self.playout));
                clock.handle_frame(frame.captured, sense, now);
                // Borrowed anew: the clock is another part of us.
                if let Some(receiver) = self.tracks.get_mut(&track) {
                    receiver.jitter.push(frame, now);
                }
            }
            Ok(None) => {}
            Err(_) => self.rejected += 1,
        }
    }

    /// Everything that is due.
    pub(super) fn drain(&mut self, now: Time) -> VecDeque<Watched> {
        let mut watched: VecDeque<Watched> = self.chunks.drain(..).map(Watched::Chunk).collect();
        let mut ended = Vec::new();
        for (id, receiver) in &mut self.tracks {
            receiver.assembler.handle_timeout(now);
            let Some(clock) = self.clocks.get(&receiver.epoch()).filter(|_| receiver.track.is_some()) else { continue };
            let pace = clock.pace(receiver.sense());
            while let Some(released) = receiver.jitter.poll(pace, now) {
                match released {
                    Released::Frame(frame) => {
                        self.frames += 1;
                        receiver.note_frame(&frame, now);
                        watched.push_back(Watched::Frame(frame));
                    }
                    Released::Lost(count) => {
                        self.frames_lost += u64::from(count);
                        self.concealed += receiver.sound.lasted(count);
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
                self.ended_freezes.0 += freezes.freezes();
                self.ended_freezes.1 += freezes.total();
            }
            watched.push_back(Watched::Ended(id));
        }
        watched
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let known = self.tracks.values().filter(|receiver| receiver.track.is_some());
        let timeout = |receiver: &Receiver| {
            let pace = self.clocks.get(&receiver.epoch())?.pace(receiver.sense());
            receiver.jitter.poll_timeout(pace)
        };
        known.filter_map(timeout).min()
    }

    /// Whether a track was announced as sound.
    pub(super) fn is_sound(&self, track: TrackId) -> bool {
        self.tracks.get(&track).is_some_and(|receiver| receiver.sense() == Sense::Sound)
    }

    /// Freezes of all its pictures: how many, and how long in all.
    pub(super) fn freezes(&self) -> (u64, Duration) {
        let meters = self.tracks.values().map(|receiver| &receiver.freezes);
        meters.fold(self.ended_freezes, |(count, time), meter| (count + meter.freezes(), time + meter.total()))
    }

    /// How long its frames are held so that they leave evenly.
    pub(super) fn jitter_delay(&self) -> Duration {
        self.clocks.values().map(PlayoutClock::delay).max().unwrap_or_default()
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
            sound: SoundMeter::default(),
            key_asked: None,
            wants_key: false,
        }
    }

    fn epoch(&self) -> Option<u64> {
        self.track.as_ref().map(|track| track.epoch_unix_us)
    }

    fn sense(&self) -> Sense {
        let is_sound = self.track.as_ref().is_some_and(|track| track.kind.is_audio());
        if is_sound { Sense::Sound } else { Sense::Picture }
    }

    fn note_frame(&mut self, frame: &Frame, now: Time) {
        match self.sense() {
            Sense::Sound => self.sound.handle_sound(frame.number, frame.captured),
            Sense::Picture => self.freezes.handle_picture(now),
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
