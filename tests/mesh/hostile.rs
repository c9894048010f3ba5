//! Strangers, and members, who mean harm.

use std::net::SocketAddr;

use meipo::params::{PROBE_BURST, PROBES_UNPROVEN, PROBES_UNPROVEN_PER_SECOND, STUN_REQUEST_LEN};
use meipo::path::PathKind;
use meipo::units::Time;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::call::{Call, is_peer_joined, is_peer_left, millis, secs};
use crate::world::nat::NatKind;
use crate::world::peer::Peer;
use crate::world::rendezvous::{Rendezvous, RendezvousConfig};
use crate::world::{Heard, Host, HostId, INTERNET, seeds};

#[test]
fn arbitrary_datagrams_from_arbitrary_addresses_change_nothing() {
    for seed in seeds(4) {
        let (mut call, alice, bob) = tapped(seed);
        let mut forger = Forger::new(seed);
        let [to_alice, to_rendezvous] = [alice, call.rendezvous].map(|host| call.world.heard(host));
        let since = call.world.now();
        for _ in 0..100 {
            for _ in 0..20 {
                let (socket, from, bytes) = forger.forge(&to_alice);
                let now = call.world.now_at(alice);
                call.world.with_host(alice, |peer: &mut Peer| peer.handle_datagram(now, socket, from, &bytes));
                let (socket, from, bytes) = forger.forge(&to_rendezvous);
                let rendezvous = call.rendezvous;
                call.world.with_host(rendezvous, |it: &mut Rendezvous| it.handle_datagram(now, socket, from, &bytes));
            }
            call.world.run(millis(50));
        }
        assert!(call.gaps(alice, bob, since) < millis(200), "seed {seed}: {:?}", call.gaps(alice, bob, since));
        assert_unmoved(&mut call, [alice, bob], seed);
        assert!(call.with_peer(alice, |peer, _| peer.dropped()) > 100, "seed {seed}: what is of no use is counted");
    }
}

#[test]
fn what_is_replayed_changes_nothing() {
    for seed in seeds(4) {
        let (mut call, alice, bob) = tapped(seed);
        let [to_alice, to_rendezvous] = [alice, call.rendezvous].map(|host| call.world.heard(host));
        let since = call.world.now();
        let now = call.world.now_at(alice);
        for (socket, from, bytes) in to_alice {
            call.world.with_host(alice, |peer: &mut Peer| peer.handle_datagram(now, socket, from, &bytes));
        }
        for (socket, from, bytes) in to_rendezvous {
            let rendezvous = call.rendezvous;
            call.world.with_host(rendezvous, |it: &mut Rendezvous| it.handle_datagram(now, socket, from, &bytes));
        }
        call.world.run(secs(10));
        assert!(call.gaps(alice, bob, since) < millis(200), "seed {seed}: {:?}", call.gaps(alice, bob, since));
        assert_unmoved(&mut call, [alice, bob], seed);
    }
}

#[test]
fn a_rendezvous_answers_strangers_with_no_more_than_they_sent() {
    for seed in seeds(4) {
        let (mut call, ..) = tapped(seed);
        let samples = call.world.heard(call.rendezvous);
        let mut rendezvous = Rendezvous::new(RendezvousConfig::default());
        let mut forger = Forger::new(seed);
        for nth in 0..5000 {
            let now = Time::from_millis(nth);
            let (socket, from, bytes) = forger.forge(&samples);
            rendezvous.handle_datagram(now, socket, from, &bytes);
            let sent: usize = std::iter::from_fn(|| rendezvous.poll_transmit(now)).map(|sent| sent.bytes.len()).sum();
            // A QUIC Initial of full length may be answered with three times its bytes (RFC 9000 §8.1).
            let is_initial = bytes.len() >= 1200 && bytes.first().is_some_and(|first| first & 0xc0 == 0xc0);
            let allowed = bytes.len() * if is_initial { 3 } else { 1 };
            assert!(sent <= allowed, "seed {seed}: {sent} bytes for {}: {:02x?}", bytes.len(), bytes.first());
        }
    }
}

#[test]
fn peers_are_no_gun_a_named_victim_gets_five_small_probes() {
    for seed in seeds(5) {
        let mut call = Call::new(seed);
        let home = call.world.nat(INTERNET, NatKind::port_restricted());
        let alice = call.join("alice", home);
        call.world.run(secs(1));
        let config = call.config("mallory");
        let mallory = call.add(config, INTERNET, crate::world::Family::V4);
        let victims: Vec<SocketAddr> = (1..=8).map(victim).collect();
        call.with_peer(mallory, |peer, now| peer.has_addresses(&victims, now));
        call.enter(mallory);
        call.world.run(secs(60));
        assert!(call.sees_since(alice, mallory, Time::ZERO), "seed {seed}");
        for victim in victims {
            let traffic = call.world.sent_to(victim.ip());
            assert!(traffic.packets <= PROBE_BURST.len() as u64, "seed {seed}: {traffic:?} to {victim}");
            assert!(traffic.bytes <= traffic.packets * STUN_REQUEST_LEN as u64, "seed {seed}: {traffic:?}");
        }
    }
}

#[test]
fn whoever_keeps_naming_victims_moves_a_trickle() {
    for seed in seeds(3) {
        let mut call = Call::new(seed);
        let home = call.world.nat(INTERNET, NatKind::symmetric_random());
        let office = call.world.nat(INTERNET, NatKind::symmetric_random());
        call.join("alice", home);
        let mallory = call.join("mallory", office);
        call.world.run(secs(1));
        for second in 0..60 {
            let victims: Vec<SocketAddr> = (0..8).map(|nth| victim(second % 25 * 8 + nth)).collect();
            call.with_peer(mallory, |peer, now| peer.has_addresses(&victims, now));
            call.world.run(secs(1));
        }
        let sent: u64 = (0..=255).map(|nth| call.world.sent_to(victim(nth).ip()).packets).sum();
        let allowed = PROBES_UNPROVEN + 61 * PROBES_UNPROVEN_PER_SECOND;
        assert!(sent <= allowed, "seed {seed}: {sent} packets to victims, {allowed} allowed");
    }
}

/// Makes datagrams that nobody should believe.
struct Forger(ChaCha8Rng);

impl Forger {
    fn new(seed: u64) -> Self {
        Forger(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Noise, or a real datagram with a few bytes changed, cut or from elsewhere.
    fn forge(&mut self, samples: &[Heard]) -> Heard {
        let sample = &samples[self.below(samples.len())];
        let mut bytes = match self.below(4) {
            0 => self.noise(),
            _ => sample.2.clone(),
        };
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len().max(1));
            let change = self.byte() | 1;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= change;
            }
        }
        if self.below(3) == 0 {
            bytes.truncate(self.below(bytes.len().max(1)));
        }
        let from = match self.below(3) {
            0 => sample.1,
            1 => Rendezvous::address(),
            _ => SocketAddr::new([self.byte(), self.byte(), 7, 9].into(), 4000),
        };
        (0, from, bytes)
    }

    fn noise(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; self.below(1400)];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    fn byte(&mut self) -> u8 {
        self.0.next_u32().to_le_bytes()[0]
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0.next_u32() as usize % limit
    }
}

/// Two peers in a call whose every datagram since the join was recorded.
fn tapped(seed: u64) -> (Call, HostId, HostId) {
    let mut call = Call::new(seed);
    let rendezvous = call.rendezvous;
    call.world.tap(rendezvous);
    let alice = call.join("alice", INTERNET);
    call.world.tap(alice);
    let bob = call.join("bob", INTERNET);
    assert!(call.settles(alice, bob, PathKind::Direct, secs(3)), "seed {seed}");
    call.world.run(secs(3));
    (call, alice, bob)
}

fn assert_unmoved(call: &mut Call, peers: [HostId; 2], seed: u64) {
    for peer in peers {
        assert_eq!(call.count(peer, is_peer_left), 0, "seed {seed}: {:?}", call.events(peer));
        assert_eq!(call.count(peer, is_peer_joined), 1, "seed {seed}: {:?}", call.events(peer));
    }
    assert_eq!(call.paths(peers[0], peers[1]), [Some(PathKind::Direct); 2], "seed {seed}");
}

fn victim(nth: u8) -> SocketAddr {
    SocketAddr::new([192, 0, 2, nth].into(), 53)
}
