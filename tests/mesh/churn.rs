//! A room in which people come, go and fall out all the time.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::call::{Call, secs};
use crate::world::nat::NatKind;
use crate::world::peer::{Peer, PeerConfig};
use crate::world::rendezvous::Rendezvous;
use crate::world::studio::Studio;
use crate::world::{Family, HostId, INTERNET, seeds};

#[test]
fn after_two_minutes_of_churn_everyone_in_the_room_sees_everyone() {
    for seed in seeds(1) {
        let mut room = Room::new(seed);
        for _ in 0..60 {
            room.stir();
            room.call.world.run(secs(2));
        }
        // Whoever crashed last is forgotten after half a minute.
        room.call.world.run(secs(34));
        let since = room.call.world.now();
        room.call.world.run(secs(4));
        let here: Vec<HostId> = room.here().collect();
        assert!(here.len() >= 5, "seed {seed}: only {} peers are left", here.len());
        for host in &here {
            for of in here.iter().filter(|of| *of != host) {
                let (path, events) = (room.call.path(*host, *of), room.call.events(*host));
                let last: Vec<_> = events.iter().rev().take(12).collect();
                assert!(room.call.sees_since(*host, *of, since), "seed {seed}: {host:?} {of:?} {path:?} {last:#?}");
            }
            let count = room.call.with_peer(*host, |peer, now| peer.stats(now).len());
            assert_eq!(count, here.len() - 1, "seed {seed}: nobody else is remembered");
        }
        let stats = room.call.world.with_host(room.call.rendezvous, |rendezvous: &mut Rendezvous| rendezvous.stats());
        assert_eq!(stats.peers, here.len(), "seed {seed}");
        assert_eq!(stats.relay_sessions, here.len() * (here.len() - 1) / 2, "seed {seed}");
    }
}

/// Twenty peers, each in the room or not.
struct Room {
    call: Call,
    rng: ChaCha8Rng,
    peers: BTreeMap<HostId, (PeerConfig, Place)>,
    processes: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Here,
    Gone,
    Crashed,
}

impl Room {
    fn new(seed: u64) -> Self {
        let mut call = Call::new(seed);
        let kinds = [NatKind::port_restricted(), NatKind::full_cone(), NatKind::symmetric_random()];
        let mut peers = BTreeMap::new();
        for (nth, kind) in (0..PEERS).zip(kinds.iter().cycle()) {
            let mut config = call.config(&format!("peer {nth}"));
            // Lotteries are proved elsewhere; here they would be most of the work.
            config.may_gamble = false;
            let network = call.world.nat(INTERNET, kind.clone());
            let peer = call.add(config.clone(), network, Family::V4);
            peers.insert(peer, (config, Place::Gone));
        }
        let mut room = Room { call, rng: ChaCha8Rng::seed_from_u64(seed), peers, processes: 0 };
        let all: Vec<HostId> = room.peers.keys().copied().collect();
        for peer in all.into_iter().take(PEERS / 2) {
            room.enter(peer);
        }
        room
    }

    fn here(&self) -> impl Iterator<Item = HostId> {
        self.peers.iter().filter(|(_, (_, place))| *place == Place::Here).map(|(host, _)| *host)
    }

    /// Two peers, drawn by lot, come if they are away, and go or crash if they are here.
    fn stir(&mut self) {
        for _ in 0..2 {
            let nth = self.rng.next_u32() as usize % PEERS;
            let (host, place) = self.peers.iter().nth(nth).map(|(host, (_, place))| (*host, *place)).unwrap();
            match (place, self.rng.next_u32() % 2) {
                (Place::Gone | Place::Crashed, _) => self.enter(host),
                (Place::Here, 0) => {
                    self.call.with_peer(host, |peer, now| peer.leave(now));
                    self.put(host, Place::Gone);
                }
                (Place::Here, _) => {
                    self.call.world.crash(host);
                    self.put(host, Place::Crashed);
                }
            }
        }
    }

    /// Another process of the same peer joins.
    fn enter(&mut self, host: HostId) {
        self.processes += 1;
        let mut config = self.peers[&host].0.clone();
        config.seed += 100 * self.processes;
        let addresses = self.call.world.addresses(host);
        let now = self.call.world.now_at(host);
        self.call.world.restart(host, Peer::new(config, &addresses, now));
        self.call.enter_with(host, Studio::new(now).kilobits(30).slower(15));
        self.put(host, Place::Here);
    }

    fn put(&mut self, host: HostId, place: Place) {
        self.peers.get_mut(&host).unwrap().1 = place;
    }
}

const PEERS: usize = 20;
