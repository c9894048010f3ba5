//! What peers say to the rendezvous, what it answers, and what peers say to each other.
//!
//! Every message is one enum value, encoded by [`super::codec`]. A collection that a stranger fills is capped by
//! `check`, which whoever receives the message calls before anything else.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::name::Name;
use super::track::{Track, TrackError};
use crate::params::{MAX_CANDIDATES, MAX_RELAYS, MAX_SAID_LEN};
use crate::trust::host::HostPass;
use crate::trust::rules::{Exclusion, RulesError, SignedRules};
use crate::trust::{MembershipTag, PairSecret, RoomClaim};
use crate::units::{FrameNumber, PeerId, SessionId, TrackId};
use crate::wire::relay::RelayToken;

/// From a peer to the rendezvous.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ToRendezvous {
    /// The first message: lets the peer into a room.
    Hello(Hello),
    /// All addresses the peer may be reached at now, instead of those it named before.
    Candidates(Reachability),
    /// What the host has decided, as far as the peer knows; anybody passes it on.
    Rules(SignedRules),
}

/// What a peer says to be let into a room.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hello {
    /// The room, as derived from its secret, and who its host is.
    pub room: RoomClaim,
    /// Proves to the other members that this peer holds the room secret.
    pub tag: MembershipTag,
    /// What the others read.
    pub name: Name,
    /// Differs each time the program starts: tells a peer that came back from one that never left.
    pub instance: u64,
    /// Whether the peer takes the frames of others without asking for each track.
    pub receives: bool,
    /// Shows that the peer is a host of the room.
    pub host: Option<HostPass>,
    /// Where the peer may be reached.
    pub reachability: Reachability,
}

/// Where a peer may be reached, and what stands before it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reachability {
    /// Addresses, best first; at most [`MAX_CANDIDATES`]. Empty for a peer that wants none of its addresses known.
    pub candidates: Vec<Candidate>,
    /// Whether the rendezvous must not tell others the address it sees this peer at.
    pub relay_only: bool,
    /// How the peer's NAT maps, as far as it knows.
    pub mapping: Mapping,
}

/// An address a peer may be reached at.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Candidate {
    /// How the address came to be known.
    pub kind: CandidateKind,
    /// The address.
    pub address: SocketAddr,
}

/// How a candidate came to be known (RFC 8445 §5.1.1), best first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum CandidateKind {
    /// An address of one of the peer's own interfaces.
    Host,
    /// A port that the peer's router opened on request (UPnP-IGD, NAT-PMP, PCP).
    Mapped,
    /// What the rendezvous saw, and vouches for.
    Reflexive,
    /// What another STUN server saw, by the peer's own word.
    Reported,
}

/// How a NAT maps (RFC 4787 §4.1), as seen from two servers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Mapping {
    /// Not measured.
    #[default]
    Unknown,
    /// One port for all destinations.
    EndpointIndependent,
    /// A port for each destination, chosen without a visible order.
    Dependent,
    /// A port for each destination, each this far above the one before.
    Sequential {
        /// Distance of consecutive ports.
        step: i8,
    },
}

/// From the rendezvous to a peer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum FromRendezvous {
    /// The peer is in the room.
    Welcome {
        /// Where the rendezvous sees the peer.
        observed: SocketAddr,
        /// Second address of the rendezvous that answers STUN, for telling NATs apart (RFC 5780).
        stun_alternate: Option<SocketAddr>,
    },
    /// Two peers meet: both get this at the same moment.
    Introduction(Box<Introduction>),
    /// The candidates of a peer introduced before have changed: probe it again.
    Candidates {
        /// Which peer.
        peer: PeerId,
        /// Where it may be reached now, the address the rendezvous sees included.
        reachability: Reachability,
    },
    /// A peer is no longer in the room.
    Left {
        /// Which peer.
        peer: PeerId,
        /// Whether it said so.
        reason: LeftReason,
    },
    /// The rendezvous goes down for a moment: calls go on, reconnect a little later.
    Draining,
    /// What the host has decided. Where it does not let the peer be in the room, the connection ends soon after.
    Rules(SignedRules),
}

/// What two peers need to meet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Introduction {
    /// The other peer.
    pub peer: Member,
    /// Known to these two peers and the rendezvous; with the room secret it makes the key of their probes.
    pub pair: PairSecret,
    /// The one who was there first opens the QUIC connection.
    pub role: Role,
    /// Where the other may be reached.
    pub reachability: Reachability,
    /// Relays both may use; at most [`MAX_RELAYS`].
    pub relays: Vec<RelayOffer>,
}

/// Which side of a peer connection one is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Role {
    /// Opens the QUIC connection: was in the room first.
    Opens,
    /// Accepts it: is the newcomer.
    Accepts,
}

/// A member of a room as its roster says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Member {
    /// Who it is; TLS proves it.
    pub id: PeerId,
    /// What it calls itself.
    pub name: Name,
    /// Proves that it holds the room secret.
    pub tag: MembershipTag,
    /// Differs each time its program starts.
    pub instance: u64,
    /// Whether it takes the frames of others without asking for each track.
    pub receives: bool,
    /// Shows that it is a host of the room.
    pub host: Option<HostPass>,
}

/// A relay session set up for two peers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RelayOffer {
    /// Which relay.
    pub relay: RelayAddress,
    /// The session there.
    pub session: SessionId,
    /// Lets this side bind its address to the session.
    pub token: RelayToken,
}

/// Where a relay is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum RelayAddress {
    /// The rendezvous itself, by the way the peer reaches it; it has bound the peer's address already.
    Rendezvous,
    /// A relay of its own, at this address.
    Standalone(SocketAddr),
}

/// Why a peer is no longer in the room.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum LeftReason {
    /// It said so.
    Left,
    /// The rendezvous has not heard from it for too long. Its calls may well go on.
    Lost,
    /// The host does not let it be in the room.
    Removed,
}

/// From one peer to another.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ToPeer {
    /// The first message.
    Hello {
        /// Equal for programs on one machine, whose clocks agree; keyed by the room secret, else meaningless.
        clock: u64,
    },
    /// A track begins, or has changed.
    Track(Track),
    /// A track has ended: it had this many frames.
    TrackEnded {
        /// Which track.
        track: TrackId,
        /// The number after that of its last frame.
        end: FrameNumber,
    },
    /// The receiver cannot go on without a key frame.
    KeyFrameRequest {
        /// Of which track.
        track: TrackId,
    },
    /// Whether the receiver wants a track's frames; it gets them until it says no.
    Want {
        /// Which track.
        track: TrackId,
        /// Whether to send it.
        wanted: bool,
    },
    /// Something small that the programs say to each other, such as a line of chat: whole, in order, and none of the
    /// library's business. At most [`MAX_SAID_LEN`] bytes.
    Said {
        /// What is said.
        bytes: Bytes,
    },
    /// What the host has decided, as far as the peer knows; anybody passes it on.
    Rules(SignedRules),
}

/// Why a connection is closed, as QUIC application error codes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Close {
    /// The peer leaves the room.
    Leaving = 0,
    /// The other side broke the protocol.
    Protocol = 1,
    /// The other side is not a member, or not who it should be.
    NotAMember = 2,
    /// A newer connection replaces this one.
    Replaced = 3,
    /// A limit of the rendezvous is reached.
    Limit = 4,
    /// The other side has not spoken in time.
    Timeout = 5,
    /// The program ends for a reason of its own.
    Shutdown = 6,
    /// The host has put the other side out.
    Removed = 7,
    /// The host has locked the room, and the other side was not in it.
    Locked = 8,
}

impl Close {
    /// The reason with this code, if there is one.
    pub fn of_code(code: u64) -> Option<Close> {
        use Close::{Leaving, Limit, Locked, NotAMember, Protocol, Removed, Replaced, Shutdown, Timeout};
        [Leaving, Protocol, NotAMember, Replaced, Limit, Timeout, Shutdown, Removed, Locked]
            .into_iter()
            .find(|close| *close as u64 == code)
    }
}

impl From<Exclusion> for Close {
    fn from(exclusion: Exclusion) -> Self {
        match exclusion {
            Exclusion::Removed => Close::Removed,
            Exclusion::Locked => Close::Locked,
        }
    }
}

/// Why a decoded message is still not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// More candidates than allowed.
    #[error("{0} candidates; at most {MAX_CANDIDATES} are allowed")]
    Candidates(usize),
    /// More relays than allowed.
    #[error("{0} relays; at most {MAX_RELAYS} are allowed")]
    Relays(usize),
    /// A track that cannot be.
    #[error(transparent)]
    Track(#[from] TrackError),
    /// More is said at once than may be.
    #[error("{0} bytes said at once; at most {MAX_SAID_LEN} are allowed")]
    Said(usize),
    /// Rules with more people than allowed.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

impl Reachability {
    /// Checks the number of candidates.
    ///
    /// # Errors
    /// When there are more than [`MAX_CANDIDATES`].
    pub fn check(&self) -> Result<(), MessageError> {
        match self.candidates.len() {
            0..=MAX_CANDIDATES => Ok(()),
            count => Err(MessageError::Candidates(count)),
        }
    }
}

impl ToRendezvous {
    /// Checks every bound a peer could break.
    ///
    /// # Errors
    /// Names the first bound that is broken.
    pub fn check(&self) -> Result<(), MessageError> {
        match self {
            ToRendezvous::Hello(hello) => hello.reachability.check(),
            ToRendezvous::Candidates(reachability) => reachability.check(),
            ToRendezvous::Rules(rules) => Ok(rules.check()?),
        }
    }
}

impl FromRendezvous {
    /// Checks every bound a rendezvous could break.
    ///
    /// # Errors
    /// Names the first bound that is broken.
    pub fn check(&self) -> Result<(), MessageError> {
        match self {
            FromRendezvous::Introduction(introduction) => {
                introduction.reachability.check()?;
                match introduction.relays.len() {
                    0..=MAX_RELAYS => Ok(()),
                    count => Err(MessageError::Relays(count)),
                }
            }
            FromRendezvous::Candidates { reachability, .. } => reachability.check(),
            FromRendezvous::Rules(rules) => Ok(rules.check()?),
            FromRendezvous::Welcome { .. } | FromRendezvous::Left { .. } | FromRendezvous::Draining => Ok(()),
        }
    }
}

impl ToPeer {
    /// Checks every bound a peer could break.
    ///
    /// # Errors
    /// Names the first bound that is broken.
    pub fn check(&self) -> Result<(), MessageError> {
        match self {
            ToPeer::Track(track) => Ok(track.check()?),
            ToPeer::Rules(rules) => Ok(rules.check()?),
            ToPeer::Said { bytes } if bytes.len() > MAX_SAID_LEN => Err(MessageError::Said(bytes.len())),
            ToPeer::Hello { .. }
            | ToPeer::TrackEnded { .. }
            | ToPeer::KeyFrameRequest { .. }
            | ToPeer::Want { .. }
            | ToPeer::Said { .. } => Ok(()),
        }
    }
}
