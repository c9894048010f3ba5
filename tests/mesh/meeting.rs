//! Whoever joins a room meets everybody in it, by the best way their networks allow.

use std::collections::BTreeMap;

use meipo::path::{PathKind, Policy};

use crate::call::{Call, ORDERED, millis, secs};
use crate::world::link::Link;
use crate::world::nat::NatKind;
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
        println!("seed {seed}: first picture after {first:?}, {:.2} round trips", first.as_secs_f64() / 0.05);
        assert!(first <= round_trip * 5 + millis(40), "seed {seed}: {first:?}");
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

#[expect(dead_code, reason = "used by the tests to come")]
fn unused() -> (Policy, std::net::SocketAddr) {
    (Policy::Any, Rendezvous::address_v6())
}
