//! A peer as a host of the world: its machine, what it publishes, and what it has seen of the others.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use meipo::media::playout::Playout;
use meipo::net::clock::Clock;
use meipo::net::identity::Identity;
use meipo::net::peer_machine::{PeerMachine, Place, Request};
use meipo::net::quic_config::{QuicConfig, QuicRole};
use meipo::node::{Event, NodeConfig, PeerStats};
use meipo::params::{PLAYOUT_LEAST, PLAYOUT_MOST, QUIC_IDLE};
use meipo::path::{PathKind, Policy, SocketIndex};
use meipo::trust::RoomSecret;
use meipo::trust::host::{HostId, HostKey};
use meipo::units::{CaptureTime, FrameNumber, PeerId, Time, TrackId};
use meipo::wire::control::{Candidate, CandidateKind};

use super::files::{Incoming, Outgoing};
use super::studio::{CAMERA, CAMERA_SMALLER, MICROPHONE, Studio, is_intact};
use super::{Host, TUNNEL, Transmit};

/// What a peer is made of.
#[derive(Clone, Debug)]
pub(crate) struct PeerConfig {
    pub(crate) name: String,
    pub(crate) identity: Arc<Identity>,
    pub(crate) secret: RoomSecret,
    pub(crate) host: Option<HostId>,
    pub(crate) host_key: Option<HostKey>,
    pub(crate) rendezvous: SocketAddr,
    pub(crate) rendezvous_id: PeerId,
    pub(crate) policy: Policy,
    pub(crate) may_tunnel: bool,
    pub(crate) may_gamble: bool,
    pub(crate) playout: Playout,
    pub(crate) seed: u64,
}

impl PeerConfig {
    pub(crate) fn new(name: &str, seed: u64, rendezvous: SocketAddr, rendezvous_id: PeerId) -> Self {
        PeerConfig {
            name: name.to_owned(),
            identity: identity(seed),
            secret: RoomSecret::from_bytes([3; 16]),
            host: None,
            host_key: None,
            rendezvous,
            rendezvous_id,
            policy: Policy::Any,
            may_tunnel: true,
            may_gamble: true,
            playout: Playout::Adaptive { least: PLAYOUT_LEAST, most: PLAYOUT_MOST },
            seed,
        }
    }
}

/// One peer of a call.
pub(crate) struct Peer {
    machine: PeerMachine,
    id: PeerId,
    studio: Option<Studio>,
    rendezvous: SocketAddr,
    outbox: VecDeque<Transmit>,
    buffer: Vec<u8>,
    has_tunnel: bool,
    /// What happened, but for frames.
    pub(crate) events: Vec<(Time, Event)>,
    frames: BTreeMap<(PeerId, TrackId), Vec<Seen>>,
    gives: Option<Outgoing>,
    gets: Incoming,
}

/// A frame that was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) at: Time,
    pub(crate) number: FrameNumber,
    pub(crate) captured: CaptureTime,
    pub(crate) len: usize,
}

impl Peer {
    pub(crate) fn new(config: PeerConfig, addresses: &[SocketAddr], now: Time) -> Self {
        let id = config.identity.id();
        let name = config.name.parse().expect("a name");
        let mut node = NodeConfig::new(id, config.secret, name, config.seed);
        (node.host, node.host_key) = (config.host, config.host_key);
        node.policy = config.policy;
        node.playout = config.playout;
        node.may_gamble = config.may_gamble;
        let seed = [config.seed.to_le_bytes(); 4].concat().try_into().expect("32 bytes");
        let quic = QuicConfig::new(config.identity, QuicRole::Peer, QUIC_IDLE).with_seed(seed);
        let rendezvous = config.rendezvous;
        let machine =
            PeerMachine::with_quic(node, rendezvous, config.rendezvous_id, config.may_tunnel, quic, Clock::start());
        let mut peer = Peer {
            machine,
            id,
            studio: None,
            rendezvous,
            outbox: VecDeque::new(),
            buffer: Vec::new(),
            has_tunnel: false,
            events: Vec::new(),
            frames: BTreeMap::new(),
            gives: None,
            gets: Incoming::default(),
        };
        peer.has_addresses(addresses, now);
        peer
    }

    pub(crate) fn id(&self) -> PeerId {
        self.id
    }

    /// Tells the machine which addresses the host has now.
    pub(crate) fn has_addresses(&mut self, addresses: &[SocketAddr], now: Time) {
        let host = |address: &SocketAddr| Candidate { kind: CandidateKind::Host, address: *address };
        let candidates = addresses.iter().map(host).collect();
        self.act(now, |machine| machine.node().handle_addresses(candidates, now));
    }

    pub(crate) fn join(&mut self, now: Time) {
        self.act(now, |machine| machine.join(now));
    }

    pub(crate) fn leave(&mut self, now: Time) {
        self.studio = None;
        self.act(now, |machine| machine.node().leave(now));
    }

    /// Publishes a camera and a microphone from now on.
    pub(crate) fn publish(&mut self, studio: Studio, now: Time) {
        let tracks = studio.tracks();
        self.studio = Some(studio);
        self.act(now, |machine| {
            for track in tracks {
                machine.node().publish(track).expect("a track that can be");
            }
            machine.node().publish_smaller(CAMERA, CAMERA_SMALLER).expect("a camera");
        });
    }

    /// Sends a file of so many bytes to another.
    pub(crate) fn give(&mut self, to: PeerId, len: u64, now: Time) {
        self.gives = Some(Outgoing::new(to, len));
        self.give_more(now);
    }

    /// Bytes of the file that others are known to have.
    pub(crate) fn given(&self) -> u64 {
        self.gives.as_ref().map_or(0, |file| file.arrived)
    }

    /// Bytes of another's file that have come.
    pub(crate) fn got(&self) -> u64 {
        self.gets.got
    }

    fn give_more(&mut self, now: Time) {
        if let Some(mut file) = self.gives.take() {
            file.give(self.machine.node());
            self.machine.settle(now);
            self.gives = Some(file);
        }
    }

    /// The program's own word to its machine.
    pub(crate) fn act<R>(&mut self, now: Time, act: impl FnOnce(&mut PeerMachine) -> R) -> R {
        let result = act(&mut self.machine);
        self.machine.settle(now);
        self.drain(now);
        result
    }

    pub(crate) fn stats(&mut self, now: Time) -> BTreeMap<PeerId, PeerStats> {
        self.machine.node().stats(now)
    }

    /// The way media takes to `peer`.
    pub(crate) fn path(&mut self, peer: &PeerId, now: Time) -> Option<PathKind> {
        self.stats(now).get(peer).and_then(|stats| stats.path)
    }

    /// Frames of a track that were seen, in the order in which they left the machine.
    pub(crate) fn seen(&self, peer: &PeerId, track: TrackId) -> &[Seen] {
        self.frames.get(&(*peer, track)).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn pictures(&self, peer: &PeerId) -> &[Seen] {
        self.seen(peer, CAMERA)
    }

    pub(crate) fn sounds(&self, peer: &PeerId) -> &[Seen] {
        self.seen(peer, MICROPHONE)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.machine.dropped()
    }

    fn drain(&mut self, now: Time) {
        while let Some(request) = self.machine.poll_request() {
            self.fulfil(request, now);
        }
        while let Some(event) = self.machine.poll_event() {
            let is_room = matches!(event, Event::BulkArrived { .. });
            self.note(event, now);
            if is_room {
                self.give_more(now);
            }
        }
    }

    fn fulfil(&mut self, request: Request, now: Time) {
        match request {
            // A socket of the world opens when it first sends.
            Request::OpenSockets(peer, _) => self.machine.handle_sockets_open(&peer, now),
            Request::OpenTunnel => self.through_tunnel(Vec::new()),
            Request::CloseTunnel => {
                self.has_tunnel = false;
                self.through_tunnel(vec![TUNNEL_END]);
            }
        }
    }

    fn note(&mut self, event: Event, now: Time) {
        if let Event::Frame { peer, frame } = event {
            assert!(is_intact(&frame), "frame {:?} of {peer:?} is not what was sent", frame.number);
            let seen = Seen { at: now, number: frame.number, captured: frame.captured, len: frame.data.len() };
            self.frames.entry((peer, frame.track)).or_default().push(seen);
            return;
        }
        self.gets.handle_event(&event);
        if let Some(file) = &mut self.gives {
            file.handle_event(&event);
        }
        match (&event, &mut self.studio) {
            (Event::KeyFrameWanted { track }, Some(studio)) => studio.want_key(*track),
            (Event::Bitrate(rate), Some(studio)) => studio.follow(*rate),
            (Event::SmallerBitrate { rate, .. }, Some(studio)) => studio.follow_smaller(*rate, now),
            _ => {}
        }
        if !matches!(event, Event::Bitrate(_) | Event::Bulk { .. } | Event::BulkArrived { .. }) {
            self.events.push((now, event));
        }
    }

    fn through_tunnel(&mut self, bytes: Vec<u8>) {
        self.outbox.push_back(Transmit { socket: TUNNEL, to: self.rendezvous, bytes });
    }

    /// Whether these bytes opened or ended the tunnel.
    fn handle_tunnel(&mut self, bytes: &[u8], now: Time) -> bool {
        let is_up = match bytes {
            [] => true,
            [TUNNEL_END] => false,
            _ => return false,
        };
        self.has_tunnel = is_up;
        self.machine.handle_tunnel(is_up, now);
        true
    }
}

impl Host for Peer {
    fn handle_datagram(&mut self, now: Time, socket: u16, from: SocketAddr, bytes: &[u8]) {
        if socket != TUNNEL {
            // A further socket that is of no more use is closed.
            if socket > 0 && !self.machine.node().uses_socket(SocketIndex(socket)) {
                return;
            }
            let place = Place::Udp(SocketIndex(socket), from);
            self.machine.handle_datagram(place, None, BytesMut::from(bytes), now);
        } else if !self.handle_tunnel(bytes, now) && self.has_tunnel {
            self.machine.handle_datagram(Place::Tunnel, None, BytesMut::from(bytes), now);
        }
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Some(studio) = &mut self.studio {
            for frame in studio.frames(now) {
                self.machine.node().send_frame(&frame, now).expect("a frame that can be");
            }
        }
        self.machine.handle_timeout(now);
        self.drain(now);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Transmit> {
        if self.outbox.is_empty()
            && let Some(outgoing) = self.machine.poll_transmit(&mut self.buffer, SEGMENTS, now)
        {
            let (socket, to) = match outgoing.to {
                Place::Udp(SocketIndex(socket), to) => (socket, to),
                Place::Tunnel => (TUNNEL, self.rendezvous),
            };
            let size = outgoing.segment.unwrap_or(self.buffer.len()).max(1);
            let datagrams = self.buffer.chunks(size).map(|bytes| Transmit { socket, to, bytes: bytes.to_vec() });
            self.outbox.extend(datagrams);
        }
        self.drain(now);
        self.outbox.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        let studio = self.studio.as_ref().map(Studio::next);
        [self.machine.poll_timeout(), studio].into_iter().flatten().min()
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// The identity with this seed, the same in every run.
pub(crate) fn identity(seed: u64) -> Arc<Identity> {
    let seed = [seed.to_le_bytes(); 4].concat().try_into().expect("32 bytes");
    Arc::new(Identity::from_seed(seed).expect("any 32 bytes are a key"))
}

/// The last byte of a tunnel; the first datagram, which asks for it, is empty, and so is the answer.
pub(crate) const TUNNEL_END: u8 = b'.';

/// As many datagrams as a kernel with GSO takes in one call.
pub(crate) const SEGMENTS: usize = 10;

/// How long after a change of its addresses a program notices, at most.
pub(crate) const NOTICES_ADDRESSES_AFTER: Duration = meipo::params::ADDRESS_INTERVAL;
