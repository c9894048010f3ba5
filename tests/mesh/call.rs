//! A call: a rendezvous, peers who meet there, and questions about what they see.

use std::net::SocketAddr;
use std::time::Duration;

use meipo::media::playout::Playout;
use meipo::node::Event;
use meipo::path::PathKind;
use meipo::units::{PeerId, Time};

use crate::world::peer::{Peer, PeerConfig, Seen};
use crate::world::rendezvous::{Rendezvous, RendezvousConfig};
use crate::world::studio::Studio;
use crate::world::{Family, HostId, NetworkId, World};

/// One room, and the world it is in.
pub(crate) struct Call {
    pub(crate) world: World,
    pub(crate) rendezvous: HostId,
    config: RendezvousConfig,
    seed: u64,
    /// Makes the next peer different from all before.
    next: u64,
}

impl Call {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, RendezvousConfig::default())
    }

    pub(crate) fn with(seed: u64, config: RendezvousConfig) -> Self {
        let mut world = World::new(seed);
        let rendezvous = Rendezvous::open(&mut world, config.clone());
        Call { world, rendezvous, config, seed, next: 0 }
    }

    /// A call whose rendezvous is one of the test's own.
    pub(crate) fn at(seed: u64, open: impl FnOnce(&mut World) -> HostId) -> Self {
        let mut world = World::new(seed);
        let rendezvous = open(&mut world);
        Call { world, rendezvous, config: RendezvousConfig::default(), seed, next: 0 }
    }

    /// Who the next peer is, for changes before it is added.
    pub(crate) fn config(&mut self, name: &str) -> PeerConfig {
        self.next += 1;
        PeerConfig::new(name, self.seed * 1000 + self.next, Rendezvous::address(), Rendezvous::id())
    }

    /// A peer that is there but has not joined.
    pub(crate) fn add(&mut self, config: PeerConfig, network: NetworkId, family: Family) -> HostId {
        let now = self.world.now();
        let name = config.name.clone();
        self.world.add(&name, network, family, |addresses| Peer::new(config, addresses, now))
    }

    /// A peer that joins now, with camera and microphone.
    pub(crate) fn join(&mut self, name: &str, network: NetworkId) -> HostId {
        let config = self.config(name);
        self.join_as(config, network, Family::V4)
    }

    pub(crate) fn join_as(&mut self, config: PeerConfig, network: NetworkId, family: Family) -> HostId {
        let peer = self.add(config, network, family);
        self.enter(peer);
        peer
    }

    /// A peer that was added joins now, with camera and microphone.
    pub(crate) fn enter(&mut self, peer: HostId) {
        let studio = Studio::new(self.world.now_at(peer));
        self.enter_with(peer, studio);
    }

    /// A peer that was added joins now, and publishes what `studio` brings.
    pub(crate) fn enter_with(&mut self, peer: HostId, studio: Studio) {
        self.with_peer(peer, |peer, now| {
            peer.publish(studio, now);
            peer.join(now);
        });
    }

    pub(crate) fn with_peer<R>(&mut self, host: HostId, act: impl FnOnce(&mut Peer, Time) -> R) -> R {
        let now = self.world.now_at(host);
        self.world.with_host(host, |peer: &mut Peer| act(peer, now))
    }

    pub(crate) fn id(&mut self, host: HostId) -> PeerId {
        self.with_peer(host, |peer, _| peer.id())
    }

    /// The way of media from `host` to `other`.
    pub(crate) fn path(&mut self, host: HostId, other: HostId) -> Option<PathKind> {
        let other = self.id(other);
        self.with_peer(host, |peer, now| peer.path(&other, now))
    }

    pub(crate) fn paths(&mut self, a: HostId, b: HostId) -> [Option<PathKind>; 2] {
        [self.path(a, b), self.path(b, a)]
    }

    /// Waits until both send to each other this way.
    pub(crate) fn settles(&mut self, a: HostId, b: HostId, kind: PathKind, limit: Duration) -> bool {
        self.poll(limit, |call| call.paths(a, b) == [Some(kind); 2])
    }

    /// Runs until `holds`, looking every 10 ms.
    pub(crate) fn poll(&mut self, limit: Duration, mut holds: impl FnMut(&mut Call) -> bool) -> bool {
        let end = self.world.now() + limit;
        while !holds(self) {
            if self.world.now() >= end {
                return false;
            }
            self.world.run(Duration::from_millis(10));
        }
        true
    }

    /// Waits until each sees a picture and hears a sound of the other that was not there before.
    pub(crate) fn meet(&mut self, a: HostId, b: HostId, limit: Duration) -> bool {
        let since = self.world.now();
        self.poll(limit, |call| call.sees_since(a, b, since) && call.sees_since(b, a, since))
    }

    /// Whether `host` has seen and heard `other` since then.
    pub(crate) fn sees_since(&mut self, host: HostId, other: HostId, since: Time) -> bool {
        let other = self.id(other);
        self.with_peer(host, |peer, _| {
            let is_new = |seen: &[Seen]| seen.last().is_some_and(|seen| seen.at > since);
            is_new(peer.pictures(&other)) && is_new(peer.sounds(&other))
        })
    }

    pub(crate) fn pictures(&mut self, host: HostId, of: HostId) -> Vec<Seen> {
        let of = self.id(of);
        self.with_peer(host, |peer, _| peer.pictures(&of).to_vec())
    }

    pub(crate) fn sounds(&mut self, host: HostId, of: HostId) -> Vec<Seen> {
        let of = self.id(of);
        self.with_peer(host, |peer, _| peer.sounds(&of).to_vec())
    }

    /// The longest silence of `of` that `host` heard since then, the present one included.
    pub(crate) fn gap(&mut self, host: HostId, of: HostId, since: Time) -> Duration {
        let now = self.world.now_at(host);
        let sounds = self.sounds(host, of);
        let times = sounds.iter().map(|seen| seen.at).filter(|at| *at > since).chain([now]);
        let mut last = sounds.iter().map(|seen| seen.at).rfind(|at| *at <= since).unwrap_or(since);
        let mut longest = Duration::ZERO;
        for at in times {
            longest = longest.max(at.since(last));
            last = at;
        }
        longest
    }

    /// The longer of both directions' silences.
    pub(crate) fn gaps(&mut self, a: HostId, b: HostId, since: Time) -> Duration {
        self.gap(a, b, since).max(self.gap(b, a, since))
    }

    pub(crate) fn events(&mut self, host: HostId) -> Vec<(Time, Event)> {
        self.with_peer(host, |peer, _| peer.events.clone())
    }

    /// How often something happened to `host`.
    pub(crate) fn count(&mut self, host: HostId, is_it: impl Fn(&Event) -> bool) -> usize {
        self.events(host).iter().filter(|(_, event)| is_it(event)).count()
    }

    /// Moves a host; its program notices as late as it can.
    pub(crate) fn roam(&mut self, host: HostId, network: NetworkId, family: Family) {
        let addresses: Vec<SocketAddr> = self.world.roam(host, network, family);
        self.world.run(crate::world::peer::NOTICES_ADDRESSES_AFTER);
        self.with_peer(host, |peer, now| peer.has_addresses(&addresses, now));
    }

    /// Ends the process of the rendezvous without a word.
    pub(crate) fn kill_rendezvous(&mut self) {
        self.world.crash(self.rendezvous);
    }

    /// Starts a new process of the same rendezvous.
    pub(crate) fn restart_rendezvous(&mut self) {
        self.config.process += 1;
        self.world.restart(self.rendezvous, Rendezvous::new(self.config.clone()));
    }
}

/// Frames leave as soon as they come, and each is awaited.
pub(crate) const ORDERED: Playout = Playout::Ordered { patience: Duration::from_millis(600) };

pub(crate) fn is_joined(event: &Event) -> bool {
    matches!(event, Event::Joined { .. })
}

pub(crate) fn is_peer_joined(event: &Event) -> bool {
    matches!(event, Event::PeerJoined { .. })
}

pub(crate) fn is_peer_left(event: &Event) -> bool {
    matches!(event, Event::PeerLeft { .. })
}

pub(crate) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}
