//! What a node is told to be, what it asks of the network, and what it tells the person.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::media::playout::Playout;
use crate::media::{Frame, Track};
use crate::params::{PLAYOUT_LEAST, PLAYOUT_MOST};
use crate::path::{PathKind, Policy, Route};
use crate::trust::RoomSecret;
use crate::trust::host::{HostId, HostKey};
use crate::trust::rules::{Exclusion, Rules};
use crate::units::{Bitrate, PeerId, TrackId, TransferId};
use crate::wire::control::{Close, LeftReason};
use crate::wire::name::Name;

/// What a node is told to be.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Our identity.
    pub id: PeerId,
    /// The room's secret.
    pub secret: RoomSecret,
    /// The room's host, if it has one.
    pub host: Option<HostId>,
    /// What makes us the host, if we are.
    pub host_key: Option<HostKey>,
    /// What the others read.
    pub name: Name,
    /// Differs each time the program starts.
    pub instance: u64,
    /// Which ways media may take.
    pub policy: Policy,
    /// Whether symmetric NATs are gambled with.
    pub may_gamble: bool,
    /// Further STUN servers that are asked where they see us.
    pub stun_servers: Vec<SocketAddr>,
    /// Whether we take the frames of others without asking for each track.
    pub receives: bool,
    /// When received frames leave.
    pub playout: Playout,
    /// Equal on machines whose clocks agree.
    pub clock: u64,
    /// Makes the node's random numbers.
    pub seed: u64,
}

impl NodeConfig {
    /// A peer that watches and listens, with everything else as most people want it.
    pub fn new(id: PeerId, secret: RoomSecret, name: Name, seed: u64) -> Self {
        NodeConfig {
            id,
            secret,
            host: None,
            host_key: None,
            name,
            instance: seed,
            policy: Policy::Any,
            may_gamble: true,
            stun_servers: Vec::new(),
            receives: true,
            playout: Playout::Adaptive { least: PLAYOUT_LEAST, most: PLAYOUT_MOST },
            clock: 0,
            seed,
        }
    }
}

/// Who a control message goes to or comes from.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Party {
    /// The rendezvous.
    Rendezvous,
    /// A peer.
    Peer(PeerId),
}

/// What a node asks of the network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Open a QUIC connection.
    Connect(Party),
    /// Close the QUIC connection, or give up opening it.
    Disconnect(Party, Close),
    /// Write to the control stream.
    Tell(Party, Bytes),
    /// Send something that the other side must acknowledge, now.
    Ping(Party),
    /// The path to this peer is another: what was learned of the old one does not hold.
    PathChanged(PeerId),
    /// So many bytes may be on their way to this peer: what the pacer lets go must not wait inside QUIC.
    Window(PeerId, u64),
    /// Open this many further UDP sockets, then call `handle_sockets_open`.
    OpenSockets(PeerId, u16),
}

/// What a node tells the person.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// We are in the room.
    Joined {
        /// Where the rendezvous sees us.
        observed: SocketAddr,
    },
    /// The rendezvous cannot be reached; calls go on, and we try again.
    RendezvousLost {
        /// What happened.
        reason: String,
        /// Whether we do not try again: it has refused us.
        is_final: bool,
    },
    /// A peer can be spoken to.
    PeerJoined {
        /// Who.
        peer: PeerId,
        /// What it calls itself.
        name: Name,
        /// Whether it holds the key of the room's host.
        is_host: bool,
    },
    /// A peer is gone.
    PeerLeft {
        /// Who.
        peer: PeerId,
        /// Whether it said so.
        reason: LeftReason,
    },
    /// The host of the room has decided something, or we learn of what it decided before.
    Rules(Rules),
    /// The host does not let us be in the room: we have left it.
    Excluded(Exclusion),
    /// A peer announces a track, or changes it.
    Track {
        /// Whose.
        peer: PeerId,
        /// The track.
        track: Track,
        /// Whether our clock agrees with its epoch.
        is_same_clock: bool,
    },
    /// A track has ended, all its frames have left.
    TrackEnded {
        /// Whose.
        peer: PeerId,
        /// Which track.
        track: TrackId,
    },
    /// A frame is due.
    Frame {
        /// Whose.
        peer: PeerId,
        /// The frame.
        frame: Frame,
    },
    /// Frames that were due will not come.
    FramesLost {
        /// Whose.
        peer: PeerId,
        /// Of which track.
        track: TrackId,
        /// How many in a row.
        count: u32,
    },
    /// Somebody cannot go on without a key frame of ours.
    KeyFrameWanted {
        /// Of which track.
        track: TrackId,
    },
    /// Pictures may be encoded with this rate in all; those who cannot take it get fewer of them.
    Bitrate(Bitrate),
    /// The smaller size of pictures is to be encoded with this rate and handed over as this track, or not at all.
    SmallerBitrate {
        /// The track that was named for it.
        track: TrackId,
        /// How many bits a second.
        rate: Option<Bitrate>,
    },
    /// Media takes another way to a peer.
    Path {
        /// To whom.
        peer: PeerId,
        /// What kind of way.
        kind: PathKind,
        /// The peer's address, on a direct path.
        remote: Option<SocketAddr>,
        /// Round-trip time, once measured.
        rtt: Option<Duration>,
    },
    /// A peer's program says something to ours.
    Said {
        /// Who.
        peer: PeerId,
        /// What; its meaning is the programs' own.
        bytes: Bytes,
    },
    /// A piece of a transfer that our program takes. It may come twice, and in any order.
    Bulk {
        /// Whose.
        peer: PeerId,
        /// Which transfer.
        transfer: TransferId,
        /// Where in it the data begins, in bytes.
        offset: u64,
        /// At least one byte.
        data: Bytes,
    },
    /// So much of what we gave for a transfer has arrived since the last such event.
    BulkArrived {
        /// At whom.
        peer: PeerId,
        /// Which transfer.
        transfer: TransferId,
        /// How many bytes.
        bytes: u64,
    },
    /// Something went wrong that a person should know; the call goes on.
    Trouble {
        /// With whom, if with a peer.
        peer: Option<PeerId>,
        /// What.
        message: String,
    },
}

/// What has passed between us and one peer; counted since the connection began, but for the rates: those are of
/// the time since they were last asked, which is [`STATS_LEAST`](crate::params::STATS_LEAST) at least.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerStats {
    /// What the peer calls itself.
    pub name: String,
    /// The way media takes; `None` before a first one is known.
    pub path: Option<PathKind>,
    /// Whether the way uses IPv6; `None` where a relay hides it.
    pub is_ipv6: Option<bool>,
    /// Round-trip time, once measured.
    pub rtt: Option<Duration>,
    /// Media sent, bits a second.
    pub sent_bits: u64,
    /// Media received, bits a second.
    pub received_bits: u64,
    /// Share of the peer's packets lost on the way since they were last asked, 0 to 1.
    pub loss: f64,
    /// Frames that left the jitter buffer.
    pub frames: u64,
    /// Frames that did not come in time, or could not be decoded for want of others.
    pub frames_lost: u64,
    /// Frames of ours that were dropped before they were sent.
    pub frames_dropped: u64,
    /// Times the pictures stood still.
    pub freezes: u64,
    /// How long in all.
    pub freeze_time: Duration,
    /// Longest time between two media packets of the peer.
    pub longest_gap: Duration,
    /// Delay of the jitter buffer.
    pub jitter_delay: Duration,
    /// Sound of the peer that did not come in time, in all.
    pub concealed: Duration,
    /// How fast may be sent to the peer, bits a second.
    pub estimate_bits: u64,
    /// How long packets to the peer wait on the way.
    pub queue_delay: Duration,
    /// Share of what was sent that is parity, copies and repetitions, 0 to 1.
    pub repair_share: f64,
}

/// Something to put on the wire that is not QUIC.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Transmit {
    /// To a peer, this way.
    Via(Route, Vec<u8>),
    /// To a server, from our main socket.
    To(SocketAddr, Vec<u8>),
    /// To the rendezvous, the way it is reached.
    ToRendezvous(Vec<u8>),
}
