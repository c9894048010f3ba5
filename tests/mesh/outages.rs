//! Machines fail: the rendezvous, a relay, a peer.

use meipo::node::Event;
use meipo::path::PathKind;
use meipo::wire::control::LeftReason;

use crate::call::{Call, ORDERED, is_joined, is_peer_joined, is_peer_left, millis, secs};
use crate::switching::missing;
use crate::world::link::Link;
use crate::world::nat::NatKind;
use crate::world::peer::{Peer, PeerConfig};
use crate::world::rendezvous::{LoneRelay, RendezvousConfig};
use crate::world::{Family, HostId, INTERNET, seeds};

#[test]
fn calls_do_not_notice_that_the_rendezvous_is_killed_and_restarted() {
    for seed in seeds(2) {
        for away in [1, 8, 90] {
            let (mut call, peers) = room(seed, 3, &NatKind::port_restricted());
            call.kill_rendezvous();
            call.world.run(secs(away));
            call.restart_rendezvous();
            call.world.run(secs(5));
            for peer in peers.clone() {
                assert_eq!(call.count(peer, is_joined), 2, "seed {seed}: away {away} s {:?}", call.events(peer));
            }
            call.world.run(secs(5));
            for (host, of) in pairs(&peers) {
                assert_eq!(call.count(host, is_peer_left), 0, "seed {seed}");
                let (pictures, sounds) = (call.pictures(host, of), call.sounds(host, of));
                assert_eq!((missing(&pictures), missing(&sounds)), (0, 0), "seed {seed}: away {away} s");
            }
        }
    }
}

#[test]
fn a_relayed_call_goes_on_as_soon_as_the_rendezvous_is_back() {
    for seed in seeds(5) {
        let (mut call, peers) = room(seed, 2, &NatKind::symmetric_random());
        call.kill_rendezvous();
        call.world.run(secs(4));
        call.restart_rendezvous();
        let back = call.world.now();
        assert!(call.poll(secs(5), |call| call.sees_since(peers[0], peers[1], back)), "seed {seed}");
        assert!(call.poll(secs(1), |call| call.sees_since(peers[1], peers[0], back)), "seed {seed}");
    }
}

#[test]
fn after_a_restart_newcomers_meet_everybody() {
    for seed in seeds(3) {
        let (mut call, peers) = room(seed, 3, &NatKind::port_restricted());
        call.kill_rendezvous();
        call.world.run(secs(3));
        call.restart_rendezvous();
        call.world.run(secs(5));
        let late = call.join("late", INTERNET);
        for peer in peers {
            assert!(call.meet(peer, late, secs(3)), "seed {seed}");
        }
    }
}

#[test]
fn a_relay_that_dies_is_replaced_within_three_seconds() {
    for seed in seeds(5) {
        let mut config = RendezvousConfig { is_relay: true, ..RendezvousConfig::default() };
        config.relays = vec![(LoneRelay::address(), LoneRelay::key())];
        let mut call = Call::with(seed, config);
        let relay = LoneRelay::open(&mut call.world);
        // The lone relay is the nearer one.
        call.world.downlink(call.rendezvous, Link::with_delay(millis(60)));
        let [home, office] = [0; 2].map(|_| call.world.nat(INTERNET, NatKind::symmetric_random()));
        let [alice, bob] = [("alice", home), ("bob", office)].map(|(name, network)| call.join(name, network));
        call.world.run(secs(10));
        let before = call.world.delivered(alice, relay);
        call.world.run(secs(1));
        assert!(call.world.delivered(alice, relay).packets > before.packets + 40, "seed {seed}: by the lone relay");
        let died = call.world.now();
        call.world.crash(relay);
        call.world.run(secs(6));
        let gap = call.gaps(alice, bob, died);
        assert!(gap <= secs(3), "seed {seed}: {gap:?}");
    }
}

#[test]
fn whoever_leaves_politely_is_seen_to_leave_within_a_second() {
    for seed in seeds(5) {
        let (mut call, peers) = room(seed, 3, &NatKind::port_restricted());
        let leaver = call.id(peers[1]);
        call.with_peer(peers[1], |peer, now| peer.leave(now));
        call.world.run(secs(1));
        for peer in [peers[0], peers[2]] {
            let left = |event: &Event| *event == Event::PeerLeft { peer: leaver, reason: LeftReason::Left };
            assert_eq!(call.count(peer, left), 1, "seed {seed}: {:?}", call.events(peer));
        }
    }
}

#[test]
fn a_crash_is_seen_after_half_a_minute_of_silence() {
    for seed in seeds(5) {
        let (mut call, peers) = room(seed, 3, &NatKind::port_restricted());
        let crashed = call.id(peers[1]);
        call.world.crash(peers[1]);
        call.world.run(secs(25));
        assert_eq!(call.count(peers[0], is_peer_left), 0, "seed {seed}");
        call.world.run(secs(10));
        for peer in [peers[0], peers[2]] {
            let lost = |event: &Event| *event == Event::PeerLeft { peer: crashed, reason: LeftReason::Lost };
            assert_eq!(call.count(peer, lost), 1, "seed {seed}: {:?}", call.events(peer));
        }
    }
}

#[test]
fn whoever_comes_back_after_a_crash_is_met_again_at_once() {
    for seed in seeds(5) {
        for who in [0, 1] {
            let mut call = Call::new(seed);
            let configs = ["alice", "bob"].map(|name| call.config(name));
            let peers = configs.clone().map(|config| {
                let network = call.world.nat(INTERNET, NatKind::port_restricted());
                call.join_as(config, network, Family::V4)
            });
            assert!(call.meet(peers[0], peers[1], secs(3)), "seed {seed}");
            call.world.run(secs(3));
            call.world.crash(peers[who]);
            call.world.run(secs(2));
            restart(&mut call, peers[who], &configs[who]);
            assert!(call.meet(peers[0], peers[1], secs(3)), "seed {seed}: {:?}", call.events(peers[1 - who]));
            assert_eq!(call.count(peers[1 - who], is_peer_joined), 2, "seed {seed}");
        }
    }
}

#[test]
fn a_peer_behind_a_tunnel_survives_a_restart_of_the_rendezvous() {
    for seed in seeds(3) {
        let mut call = Call::new(seed);
        let office = call.world.nat(INTERNET, NatKind::udp_blocked());
        let home = call.world.nat(INTERNET, NatKind::port_restricted());
        let [alice, bob] = [("alice", home), ("bob", office)].map(|(name, network)| call.join(name, network));
        assert!(call.meet(alice, bob, secs(8)), "seed {seed}");
        call.kill_rendezvous();
        call.world.run(secs(3));
        call.restart_rendezvous();
        assert!(call.meet(alice, bob, secs(12)), "seed {seed}: {:?}", call.events(bob));
        assert_eq!(call.path(bob, alice), Some(PathKind::Tunnelled), "seed {seed}");
    }
}

/// Starts another process of a peer: same key, nothing else remembered.
pub(crate) fn restart(call: &mut Call, host: HostId, config: &PeerConfig) {
    let mut config = config.clone();
    config.seed += 500;
    let addresses = call.world.addresses(host);
    let now = call.world.now_at(host);
    call.world.restart(host, Peer::new(config, &addresses, now));
    call.enter(host);
}

/// Peers behind NATs of one kind who have talked for ten seconds.
fn room(seed: u64, size: usize, kind: &NatKind) -> (Call, Vec<HostId>) {
    let mut call = Call::new(seed);
    let mut peers = Vec::new();
    for nth in 0..size {
        let mut config = call.config(&format!("peer {nth}"));
        config.playout = ORDERED;
        let network = call.world.nat(INTERNET, kind.clone());
        peers.push(call.join_as(config, network, Family::V4));
    }
    for (host, of) in pairs(&peers) {
        assert!(call.meet(host, of, secs(3)), "seed {seed}");
    }
    call.world.run(secs(10));
    (call, peers)
}

fn pairs(peers: &[HostId]) -> Vec<(HostId, HostId)> {
    let all = peers.iter().flat_map(|a| peers.iter().map(move |b| (*a, *b)));
    all.filter(|(a, b)| a != b).collect()
}
