//! Networks change under a call, and it goes on.

use std::time::Duration;

use meipo::path::PathKind;

use crate::call::{Call, is_peer_joined, is_peer_left, millis, secs};
use crate::world::nat::NatKind;
use crate::world::{Family, HostId, INTERNET, NetworkId, seeds};

#[test]
fn a_nat_that_forgets_its_mappings_costs_less_than_a_second() {
    for seed in seeds(3) {
        for who in [[true, false], [false, true], [true, true]] {
            for kind in [NatKind::port_restricted(), NatKind::symmetric_random(), NatKind::full_cone()] {
                let (mut call, peers, networks) = settled(seed, &kind);
                let since = call.world.now();
                for (network, _) in networks.into_iter().zip(who).filter(|(_, is_flushed)| *is_flushed) {
                    call.world.rebind(network);
                }
                call.world.run(secs(5));
                let gap = call.gaps(peers[0], peers[1], since);
                assert!(gap <= secs(1), "seed {seed}: {who:?} {kind:?} {gap:?}");
                assert_no_reconnect(&mut call, peers);
            }
        }
    }
}

#[test]
fn whoever_moves_to_another_network_is_heard_within_three_seconds() {
    for seed in seeds(3) {
        for mover in [0, 1] {
            for family in [Family::V4, Family::Both] {
                let (mut call, peers, _) = settled(seed, &NatKind::port_restricted());
                let cafe = call.world.nat(INTERNET, NatKind::symmetric_random());
                let since = call.world.now();
                call.roam(peers[mover], cafe, family);
                call.world.run(secs(5));
                let gap = call.gaps(peers[0], peers[1], since);
                assert!(gap <= secs(3), "seed {seed}: {gap:?}");
                assert_no_reconnect(&mut call, peers);
            }
        }
    }
}

#[test]
fn a_direct_path_is_found_again_after_a_move() {
    for seed in seeds(3) {
        let (mut call, [alice, bob], _) = settled(seed, &NatKind::port_restricted());
        let cafe = call.world.nat(INTERNET, NatKind::port_changed());
        call.roam(alice, cafe, Family::V4);
        call.world.run(secs(4));
        assert_eq!(call.paths(alice, bob), [Some(PathKind::Direct); 2], "seed {seed}");
    }
}

#[test]
fn whoever_moves_behind_the_other_s_nat_is_met_by_its_private_address() {
    for seed in seeds(3) {
        let (mut call, [alice, bob], [_, office]) = settled(seed, &NatKind::symmetric_random());
        call.roam(alice, office, Family::V4);
        assert!(call.settles(alice, bob, PathKind::Direct, secs(5)), "seed {seed}: {:?}", call.paths(alice, bob));
    }
}

#[test]
fn a_peer_that_slept_five_seconds_goes_on_without_stale_sound() {
    for seed in seeds(3) {
        for sleeper in [0, 1] {
            let (mut call, peers, _) = settled(seed, &NatKind::port_restricted());
            let slept = sleep(&mut call, peers[sleeper], secs(5));
            assert_awake(&mut call, peers, slept, seed);
            assert_no_reconnect(&mut call, peers);
        }
    }
}

#[test]
fn a_peer_that_slept_ten_minutes_is_met_again_within_three_seconds() {
    for seed in seeds(3) {
        for sleeper in [0, 1] {
            let (mut call, peers, _) = settled(seed, &NatKind::port_restricted());
            let slept = sleep(&mut call, peers[sleeper], secs(600));
            assert_awake(&mut call, peers, slept, seed);
        }
    }
}

/// Puts a peer to sleep and gives the moment it wakes.
fn sleep(call: &mut Call, peer: HostId, span: Duration) -> meipo::units::Time {
    call.world.suspend(peer, span);
    call.world.run(span);
    call.world.now()
}

fn assert_awake(call: &mut Call, [alice, bob]: [HostId; 2], woke: meipo::units::Time, seed: u64) {
    call.world.run(secs(3));
    for (host, of) in [(alice, bob), (bob, alice)] {
        let sounds = call.sounds(host, of);
        let first = sounds.iter().find(|seen| seen.at >= woke);
        assert!(first.is_some(), "seed {seed}: nothing heard after waking");
        let burst = sounds.iter().filter(|seen| seen.at >= woke && seen.at < woke + millis(20)).count();
        assert!(burst <= 1, "seed {seed}: {burst} sounds at once");
    }
}

/// Two peers who have talked for a while.
fn settled(seed: u64, kind: &NatKind) -> (Call, [HostId; 2], [NetworkId; 2]) {
    let mut call = Call::new(seed);
    let networks = [0; 2].map(|_| call.world.nat(INTERNET, kind.clone()));
    let peers = [("alice", networks[0]), ("bob", networks[1])].map(|(name, network)| call.join(name, network));
    assert!(call.meet(peers[0], peers[1], secs(3)), "seed {seed}");
    call.world.run(secs(10));
    (call, peers, networks)
}

fn assert_no_reconnect(call: &mut Call, peers: [HostId; 2]) {
    for peer in peers {
        assert_eq!(call.count(peer, is_peer_left), 0);
        assert_eq!(call.count(peer, is_peer_joined), 1);
    }
}
