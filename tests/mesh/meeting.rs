//! Whoever joins a room meets everybody in it, by the best way their networks allow.

use std::collections::BTreeMap;

use meipo::node::Event;
use meipo::path::{PathKind, Policy};

use crate::call::{Call, ORDERED, millis, secs};
use crate::world::link::Link;
use crate::world::nat::{NatKind, UdpPolicy};
use crate::world::rendezvous::Rendezvous;
use crate::world::{Family, INTERNET, seeds};

#[test]
fn the_same_seed_makes_the_same_call() {
    for seed in seeds(2) {
        let shapes = [seed, seed, seed + 1].map(|seed| {
            let (mut call, _, _) = pair(seed, &NatKind::symmetric_random(), &NatKind::port_restricted());
            call.world.run(secs(5));
            call.world.shape()
        });
        assert_eq!(shapes[0], shapes[1], "seed {seed}");
        assert_ne!(shapes[0], shapes[2], "seed {seed}");
    }
}

#[test]
fn every_pair_of_nats_meets_directly_where_it_can() {
    for seed in seeds(1) {
        for (first_name, first) in kinds() {
            for (second_name, second) in kinds() {
                let (mut call, alice, bob) = pair(seed, &first, &second);
                call.world.note(&format!("{first_name} × {second_name}"));
                assert!(call.meet(alice, bob, secs(3)), "{first_name} × {second_name}");
                let kind = best(first_name, second_name);
                assert!(
                    call.settles(alice, bob, kind, secs(5)),
                    "{first_name} × {second_name}: {:?}",
                    call.paths(alice, bob)
                );
            }
        }
    }
}

#[test]
fn the_first_frame_comes_within_five_round_trips_to_the_rendezvous() {
    for seed in seeds(5) {
        let mut call = Call::new(seed);
        let round_trip = millis(50);
        call.world.downlink(call.rendezvous, Link::with_delay(millis(12)));
        call.world.uplink(call.rendezvous, Link::with_delay(millis(12)));
        let near = Link::with_delay(millis(13));
        let home = call.world.nat(INTERNET, NatKind::port_restricted());
        let alice = call.join("alice", home);
        call.world.uplink(alice, near.clone());
        call.world.downlink(alice, near.clone());
        call.world.run(secs(2));
        let office = call.world.nat(INTERNET, NatKind::symmetric_random());
        let mut config = call.config("bob");
        config.playout = ORDERED;
        let bob = call.add(config, office, Family::V4);
        call.world.uplink(bob, near.clone());
        call.world.downlink(bob, near);
        let joined = call.world.now();
        call.enter(bob);
        call.world.run(secs(2));
        let first = call.pictures(bob, alice).first().unwrap().at.since(joined);
        assert!(first <= round_trip * 5 + millis(40), "seed {seed}: {first:?}");
    }
}

#[test]
fn a_random_symmetric_nat_is_opened_by_lot_within_half_a_minute() {
    for seed in seeds(4) {
        for (first, second) in [
            (NatKind::symmetric_random(), NatKind::port_restricted()),
            (NatKind::port_changed(), NatKind::symmetric_random()),
            (NatKind::symmetric_by_address(), NatKind::port_restricted()),
        ] {
            let (mut call, alice, bob) = pair(seed, &first, &second);
            let direct = call.settles(alice, bob, PathKind::Direct, secs(30));
            let took = call.world.now();
            assert!(direct, "seed {seed}: {first:?} × {second:?}");
            call.world.run(secs(5));
            assert!(call.gaps(alice, bob, took) < millis(250), "seed {seed}");
        }
    }
}

#[test]
fn where_udp_is_blocked_media_goes_through_the_tunnel() {
    for seed in seeds(5) {
        for (first, second) in [
            (NatKind::udp_blocked(), NatKind::port_restricted()),
            (NatKind::full_cone(), NatKind::udp_blocked()),
            (NatKind::udp_blocked(), NatKind::udp_blocked()),
        ] {
            let (mut call, alice, bob) = pair(seed, &first, &second);
            assert!(call.meet(alice, bob, secs(8)), "seed {seed}");
            for (peer, other, nat) in [(alice, bob, first), (bob, alice, second)] {
                let is_blocked = nat.udp == UdpPolicy::Blocked;
                let expected = if is_blocked { PathKind::Tunnelled } else { PathKind::Relayed };
                assert_eq!(call.path(peer, other), Some(expected), "seed {seed}");
            }
            let since = call.world.now();
            call.world.run(secs(30));
            assert!(call.gaps(alice, bob, since) < millis(500), "seed {seed}: {:?}", call.gaps(alice, bob, since));
        }
    }
}

#[test]
fn ipv6_needs_no_translation() {
    for seed in seeds(3) {
        let mut call = Call::new(seed);
        let [home, office] = [0; 2].map(|_| call.world.nat(INTERNET, NatKind::symmetric_random()));
        let [config, other] = ["alice", "bob"].map(|name| call.config(name));
        let alice = call.join_as(config, home, Family::Both);
        let bob = call.join_as(other, office, Family::Both);
        assert!(call.settles(alice, bob, PathKind::Direct, secs(3)), "seed {seed}");
        let (bob_id, now) = (call.id(bob), call.world.now());
        let stats = call.with_peer(alice, |peer, _| peer.stats(now));
        assert_eq!(stats[&bob_id].is_ipv6, Some(true), "seed {seed}");
    }
}

#[test]
fn peers_with_ipv6_only_reach_a_rendezvous_and_each_other() {
    for seed in seeds(3) {
        let mut call = Call::new(seed);
        let [home, office] = [0; 2].map(|_| call.world.nat(INTERNET, NatKind::port_restricted()));
        let configs = ["alice", "bob"].map(|name| {
            let mut config = call.config(name);
            config.rendezvous = Rendezvous::address_v6();
            config
        });
        let [alice, bob] = configs.map(|config| {
            let network = if config.name == "alice" { home } else { office };
            call.join_as(config, network, Family::V6)
        });
        assert!(call.settles(alice, bob, PathKind::Direct, secs(3)), "seed {seed}");
    }
}

#[test]
fn two_behind_one_nat_go_by_their_private_addresses() {
    for seed in seeds(3) {
        let mut call = Call::new(seed);
        let home = call.world.nat(INTERNET, NatKind::symmetric_random());
        let [alice, bob] = ["alice", "bob"].map(|name| call.join(name, home));
        assert!(call.meet(alice, bob, secs(3)), "seed {seed}");
        assert!(call.settles(alice, bob, PathKind::Direct, secs(3)), "seed {seed}");
        let private = call.world.address(bob);
        let direct = |event: &Event| matches!(event, Event::Path { remote: Some(remote), .. } if *remote == private);
        assert!(call.count(alice, direct) > 0, "seed {seed}: {:?}", call.events(alice));
    }
}

#[test]
fn two_behind_two_nats_in_a_row_meet() {
    for seed in seeds(3) {
        let mut call = Call::new(seed);
        let carrier = call.world.carrier(NatKind::port_changed());
        let home = call.world.nat(carrier, NatKind::port_restricted());
        let office = call.world.nat(INTERNET, NatKind::port_restricted());
        let [alice, bob] = [("alice", home), ("bob", office)].map(|(name, network)| call.join(name, network));
        assert!(call.settles(alice, bob, PathKind::Direct, secs(3)), "seed {seed}");
    }
}

#[test]
fn who_wants_relays_only_never_shows_an_address_nor_uses_one() {
    for seed in seeds(5) {
        for who in [[Policy::RelayOnly, Policy::Any], [Policy::Any, Policy::RelayOnly], [Policy::RelayOnly; 2]] {
            let mut call = Call::new(seed);
            let hosts = who.map(|policy| {
                let mut config = call.config("peer");
                config.policy = policy;
                let network = call.world.nat(INTERNET, NatKind::full_cone());
                call.join_as(config, network, Family::Both)
            });
            let [alice, bob] = hosts;
            assert!(call.meet(alice, bob, secs(3)), "seed {seed}");
            call.world.run(secs(20));
            assert_eq!(call.paths(alice, bob), [Some(PathKind::Relayed); 2]);
            // Through a full cone everything sent to the outer address would have been delivered.
            let direct = call.world.delivered(alice, bob).packets + call.world.delivered(bob, alice).packets;
            assert_eq!(direct, 0, "seed {seed}");
            let addresses = [alice, bob].map(|host| call.world.addresses(host)).concat();
            let inner: u64 = addresses.iter().map(|address| call.world.sent_to(address.ip()).packets).sum();
            assert_eq!(inner, 0, "seed {seed}: something was sent to {addresses:?}");
        }
    }
}

#[test]
fn who_wants_direct_paths_only_never_uses_the_relay() {
    for seed in seeds(3) {
        let mut call = Call::new(seed);
        let [home, office] = [0; 2].map(|_| call.world.nat(INTERNET, NatKind::port_restricted()));
        let configs = ["alice", "bob"].map(|name| {
            let mut config = call.config(name);
            config.policy = Policy::DirectOnly;
            config
        });
        let [alice, bob] = configs.map(|config| {
            let network = if config.name == "alice" { home } else { office };
            call.join_as(config, network, Family::V4)
        });
        assert!(call.meet(alice, bob, secs(3)), "seed {seed}");
        call.world.run(secs(5));
        let relayed = call.world.with_host(call.rendezvous, |it: &mut Rendezvous| it.stats().relay.packets);
        assert_eq!(relayed, 0, "seed {seed}");
    }
}

fn pair(seed: u64, first: &NatKind, second: &NatKind) -> (Call, crate::world::HostId, crate::world::HostId) {
    let mut call = Call::new(seed);
    let [home, office] = [first, second].map(|kind| call.world.nat(INTERNET, kind.clone()));
    let alice = call.join("alice", home);
    call.world.run(secs(1));
    let bob = call.join("bob", office);
    (call, alice, bob)
}

fn kinds() -> BTreeMap<&'static str, NatKind> {
    BTreeMap::from([
        ("full cone", NatKind::full_cone()),
        ("address-restricted", NatKind::address_restricted()),
        ("port-restricted", NatKind::port_restricted()),
        ("port changed", NatKind::port_changed()),
        ("symmetric by address", NatKind::symmetric_by_address()),
        ("symmetric random", NatKind::symmetric_random()),
        ("symmetric sequential", NatKind::symmetric_sequential()),
    ])
}

/// The best way between two kinds of NAT without gambling.
fn best(first: &str, second: &str) -> PathKind {
    let is_open = |name: &str| name == "full cone" || name == "address-restricted";
    let is_symmetric = |name: &str| name.starts_with("symmetric");
    let is_predictable = |one: &str, other: &str| one == "symmetric sequential" && !is_symmetric(other);
    if is_open(first) || is_open(second) || !is_symmetric(first) && !is_symmetric(second) {
        return PathKind::Direct;
    }
    if is_predictable(first, second) || is_predictable(second, first) {
        return PathKind::Direct;
    }
    PathKind::Relayed
}
