//! One peer as the node knows it: its place in the roster, the way to it, and what flows both ways.

use std::collections::{BTreeMap, BTreeSet};

use super::attempt::Attempt;
use super::event::PeerStats;
use super::sender::Sender;
use super::stats::{Meter, Rates};
use super::watch::Watch;
use crate::media::playout::Playout;
use crate::path::{Agent, AgentConfig, Keys, PathKind, Route};
use crate::rate::layers::Selection;
use crate::units::{Time, TrackId};
use crate::wire::control::{Mapping, Member, Reachability, RelayOffer, Role};

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) member: Member,
    pub(super) role: Role,
    pub(super) agent: Agent,
    /// The way media took last.
    pub(super) route: Option<Route>,
    pub(super) link: Link,
    pub(super) sender: Sender,
    /// How much it gets of our tracks of pictures.
    pub(super) selections: BTreeMap<TrackId, Selection>,
    pub(super) meter: Meter,
    pub(super) watch: Watch,
    /// Whether it holds the key of the room's host.
    pub(super) is_host: bool,
    /// Whether the room's roster still has it.
    pub(super) is_in_room: bool,
    /// Tracks of ours it said it does not want, or wants though it takes none unasked.
    pub(super) unlike_default: BTreeSet<TrackId>,
    pub(super) is_same_clock: bool,
    /// How its NAT maps.
    pub(super) mapping: Mapping,
    pub(super) reachability: Reachability,
    pub(super) offers: Vec<RelayOffer>,
    pub(super) was_announced: bool,
}

/// How far the QUIC connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Link {
    /// To be opened at this time, if it is ours to open.
    Down { retry: Time },
    /// On its way.
    Opening(Attempt),
    /// The other side has proven who it is, and media flows; that it has accepted us too will be told by its first message. Who
    /// opened it gives it up without one.
    Greeting(Option<Attempt>),
    /// That message has come.
    Up,
    /// The host does not let it be in the room: it may learn so until then, and nothing else.
    PutOut { until: Time },
}

impl Peer {
    pub(super) fn new(
        member: Member,
        role: Role,
        config: AgentConfig,
        keys: Keys,
        playout: Playout,
        now: Time,
    ) -> Self {
        Peer {
            member,
            role,
            agent: Agent::new(config, keys),
            route: None,
            link: Link::Down { retry: now },
            sender: Sender::new(now),
            selections: BTreeMap::new(),
            meter: Meter::new(now),
            watch: Watch::new(playout),
            is_host: false,
            is_in_room: true,
            unlike_default: BTreeSet::new(),
            is_same_clock: false,
            mapping: Mapping::Unknown,
            reachability: Reachability::default(),
            offers: Vec::new(),
            was_announced: false,
        }
    }

    /// Whether something can be sent to it.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.link, Link::Greeting(_) | Link::Up)
    }

    /// Whether it does not belong to the room any more.
    pub(super) fn is_put_out(&self) -> bool {
        matches!(self.link, Link::PutOut { .. })
    }

    /// Whether it gets the frames of a track of ours.
    pub(super) fn wants(&self, track: TrackId) -> bool {
        self.member.receives != self.unlike_default.contains(&track)
    }

    /// It says whether it wants a track of ours.
    pub(super) fn handle_want(&mut self, track: TrackId, wanted: bool) {
        if wanted == self.member.receives {
            self.unlike_default.remove(&track);
        } else if self.unlike_default.len() < crate::params::MAX_TRACKS {
            self.unlike_default.insert(track);
        }
    }

    /// The connection is new: what was learned over the old one is gone.
    pub(super) fn reset_flow(&mut self, playout: Playout, now: Time) {
        self.sender.restart(now);
        self.selections.clear();
        self.meter = Meter::new(now);
        self.watch.restart(playout);
        self.unlike_default.clear();
    }

    pub(super) fn stats(&mut self, path: Option<PathKind>, now: Time) -> PeerStats {
        let Rates { sent: sent_bits, received: received_bits, loss } = self.meter.rates(now);
        let (freezes, freeze_time) = self.watch.freezes();
        PeerStats {
            name: self.member.name.to_string(),
            path,
            is_ipv6: self.agent.selected().and_then(|route| match route {
                Route::Direct { remote, .. } => Some(remote.is_ipv6()),
                Route::Relay { .. } => None,
            }),
            rtt: self.agent.rtt(),
            sent_bits,
            received_bits,
            loss,
            frames: self.watch.frames,
            frames_lost: self.watch.frames_lost,
            frames_dropped: self.sender.dropped_frames(),
            estimate_bits: self.sender.rate().as_bits(),
            queue_delay: self.sender.queue_delay(),
            repair_share: self.sender.sent().repair_share(),
            freezes,
            freeze_time,
            longest_gap: self.meter.longest_gap,
            jitter_delay: self.watch.jitter_delay(),
            concealed: self.watch.concealed,
        }
    }
}
