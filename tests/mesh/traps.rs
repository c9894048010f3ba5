//! What quinn and one shared port do to those who do not watch out.

use meipo::params::MAX_UDP_PAYLOAD;
use meipo::path::PathKind;

use crate::call::{Call, is_joined, secs};
use crate::world::nat::NatKind;
use crate::world::peer::Peer;
use crate::world::studio::Studio;
use crate::world::{Family, Host, HostId, INTERNET, seeds};

#[test]
fn every_datagram_of_a_call_is_told_by_its_first_byte() {
    for seed in seeds(3) {
        let (mut call, alice, _) = call_of_two(seed);
        call.world.tap(alice);
        call.world.run(secs(20));
        let heard = call.world.heard(alice);
        assert!(heard.len() > 2000, "seed {seed}");
        let is_known = |first: u8| matches!(first, 0..=3 | 0x10..=0x13 | 0x40..=0x7f | 0xc0..=0xff);
        assert!(heard.iter().all(|(_, _, bytes)| is_known(bytes[0])), "seed {seed}: a greased bit");
        assert_eq!(call.with_peer(alice, |peer, _| peer.dropped()), 0, "seed {seed}");
    }
}

#[test]
fn no_datagram_is_longer_than_the_relay_s_header_leaves_room_for() {
    for seed in seeds(3) {
        let (mut call, alice, _) = call_of_two(seed);
        call.world.tap(alice);
        call.world.run(secs(60));
        let longest = call.world.heard(alice).iter().map(|(_, _, bytes)| bytes.len()).max().unwrap();
        assert!((1201..=usize::from(MAX_UDP_PAYLOAD)).contains(&longest), "seed {seed}: {longest} bytes");
    }
}

#[test]
fn a_synthetic_address_from_outside_is_nobody_s() {
    for seed in seeds(2) {
        let (mut call, alice, bob) = call_of_two(seed);
        call.world.tap(alice);
        call.world.run(secs(1));
        let heard = call.world.heard(alice);
        let before = call.with_peer(alice, |peer, _| peer.dropped());
        let now = call.world.now_at(alice);
        for (nth, (_, _, bytes)) in (0..).zip(&heard) {
            let who = meipo::path::synthetic::Synthetic::Peer(nth % 4).address();
            call.world.with_host(alice, |peer: &mut Peer| peer.handle_datagram(now, 0, who, bytes));
        }
        let after = call.with_peer(alice, |peer, _| peer.dropped());
        assert!(after > before + 40, "seed {seed}: {} dropped", after - before);
        assert!(call.meet(alice, bob, secs(1)), "seed {seed}");
    }
}

#[test]
fn a_rendezvous_that_restarts_at_once_is_noticed_within_seconds() {
    for seed in seeds(3) {
        let (mut call, alice, bob) = call_of_two(seed);
        call.world.run(secs(10));
        call.kill_rendezvous();
        call.restart_rendezvous();
        let is_back = |call: &mut Call, host: HostId| call.count(host, is_joined) == 2;
        assert!(call.poll(secs(5), |call| is_back(call, alice) && is_back(call, bob)), "seed {seed}");
    }
}

fn call_of_two(seed: u64) -> (Call, HostId, HostId) {
    let mut call = Call::new(seed);
    let peers = ["alice", "bob"].map(|name| {
        let config = call.config(name);
        let network = call.world.nat(INTERNET, NatKind::port_restricted());
        let peer = call.add(config, network, Family::V4);
        let studio = Studio::new(call.world.now()).kilobits(900);
        call.enter_with(peer, studio);
        peer
    });
    assert!(call.settles(peers[0], peers[1], PathKind::Direct, secs(3)), "seed {seed}");
    (call, peers[0], peers[1])
}
