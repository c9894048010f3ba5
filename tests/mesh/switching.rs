//! Media changes its way between two peers, and nobody notices.

use meipo::path::PathKind;
use meipo::units::{FrameNumber, Time};

use crate::call::{Call, ORDERED, millis, secs};
use crate::world::link::Link;
use crate::world::nat::NatKind;
use crate::world::peer::Seen;
use crate::world::studio::Studio;
use crate::world::{Family, HostId, INTERNET, seeds};

#[test]
fn a_switch_from_the_relay_to_a_direct_path_loses_no_frame() {
    for seed in seeds(5) {
        let (mut call, alice, bob) = recording_pair(seed);
        let wall = Link::default().loss(1.0);
        call.world.between(alice, bob, &wall);
        assert!(call.settles(alice, bob, PathKind::Relayed, secs(3)), "seed {seed}");
        call.world.run(secs(3));
        call.world.between(alice, bob, &Link::default());
        assert!(call.settles(alice, bob, PathKind::Direct, secs(20)), "seed {seed}");
        call.world.run(secs(3));
        for (host, of) in [(alice, bob), (bob, alice)] {
            let (pictures, sounds) = (call.pictures(host, of), call.sounds(host, of));
            assert_eq!(missing(&pictures) + missing(&sounds), 0, "seed {seed}");
        }
    }
}

#[test]
fn heavy_media_keeps_its_pace_through_a_switch() {
    for seed in seeds(3) {
        let (mut call, alice, bob) = pair_with(seed, |now| Studio::new(now).kilobits(1500));
        call.world.between(alice, bob, &Link::default().loss(1.0));
        call.world.run(secs(5));
        call.world.between(alice, bob, &Link::default());
        let since = call.world.now();
        assert!(call.settles(alice, bob, PathKind::Direct, secs(20)), "seed {seed}");
        call.world.run(secs(3));
        let longest = longest_distance(&call.pictures(bob, alice), since);
        assert!(longest <= millis(70), "seed {seed}: {longest:?} between two pictures");
        let alice_id = call.id(alice);
        let bob_stats = call.with_peer(bob, |peer, now| peer.stats(now)[&alice_id].clone());
        assert_eq!(bob_stats.frames_lost, 0, "seed {seed}");
    }
}

#[test]
fn a_direct_path_that_dies_is_replaced_by_the_relay_within_a_second_and_taken_back_later() {
    for seed in seeds(5) {
        let (mut call, alice, bob) = pair(seed);
        assert!(call.settles(alice, bob, PathKind::Direct, secs(3)), "seed {seed}");
        call.world.run(secs(30));
        let died = call.world.now();
        call.world.between(alice, bob, &Link::default().loss(1.0));
        call.world.run(secs(5));
        assert_eq!(call.paths(alice, bob), [Some(PathKind::Relayed); 2], "seed {seed}");
        let gap = call.gaps(alice, bob, died);
        assert!(gap <= secs(1), "seed {seed}: {gap:?}");
        call.world.between(alice, bob, &Link::default());
        let healed = call.world.now();
        assert!(call.settles(alice, bob, PathKind::Direct, secs(40)), "seed {seed}");
        call.world.run(secs(2));
        assert!(call.gaps(alice, bob, healed) < millis(100), "seed {seed}: {:?}", call.gaps(alice, bob, healed));
    }
}

#[test]
fn a_path_that_dies_in_one_direction_only_is_left_within_a_second() {
    for seed in seeds(5) {
        let (mut call, alice, bob) = pair(seed);
        assert!(call.settles(alice, bob, PathKind::Direct, secs(3)), "seed {seed}");
        call.world.run(secs(5));
        let died = call.world.now();
        call.world.one_way(alice, bob, &Link::default().loss(1.0));
        call.world.run(secs(5));
        let gap = call.gaps(alice, bob, died);
        assert!(gap <= secs(1), "seed {seed}: {gap:?}");
    }
}

#[test]
fn a_viewer_who_sends_nothing_loses_no_more_than_a_second_either() {
    for seed in seeds(5) {
        let mut call = Call::new(seed);
        let [home, office] = [0; 2].map(|_| call.world.nat(INTERNET, NatKind::port_restricted()));
        let alice = call.join("alice", home);
        let config = call.config("bob");
        let bob = call.add(config, office, Family::V4);
        call.with_peer(bob, |peer, now| peer.join(now));
        assert!(call.settles(alice, bob, PathKind::Direct, secs(3)), "seed {seed}");
        call.world.run(secs(60));
        assert_eq!(call.paths(alice, bob), [Some(PathKind::Direct); 2], "seed {seed}");
        for (from, to) in [(alice, bob), (bob, alice)] {
            let died = call.world.now();
            call.world.one_way(from, to, &Link::default().loss(1.0));
            call.world.run(secs(5));
            let gap = call.gap(bob, alice, died);
            assert!(gap <= secs(1), "seed {seed}: {gap:?}");
            call.world.one_way(from, to, &Link::default());
            assert!(call.settles(alice, bob, PathKind::Direct, secs(25)), "seed {seed}: {:?}", call.paths(alice, bob));
            call.world.run(secs(5));
        }
    }
}

#[test]
fn a_relay_path_waits_warm_behind_a_direct_one_for_ten_minutes() {
    for seed in seeds(1) {
        let (mut call, alice, bob) = pair_with(seed, |now| Studio::new(now).slower(10));
        assert!(call.settles(alice, bob, PathKind::Direct, secs(3)), "seed {seed}");
        call.world.run(secs(600));
        let died = call.world.now();
        call.world.between(alice, bob, &Link::default().loss(1.0));
        call.world.run(secs(5));
        let gap = call.gaps(alice, bob, died);
        assert!(gap <= millis(1200), "seed {seed}: {gap:?}");
    }
}

fn pair_with(seed: u64, studio: impl Fn(Time) -> Studio) -> (Call, HostId, HostId) {
    let mut call = Call::new(seed);
    let peers = ["alice", "bob"].map(|name| {
        let config = call.config(name);
        let network = call.world.nat(INTERNET, NatKind::port_restricted());
        let peer = call.add(config, network, Family::V4);
        let studio = studio(call.world.now());
        call.enter_with(peer, studio);
        peer
    });
    (call, peers[0], peers[1])
}

fn pair(seed: u64) -> (Call, HostId, HostId) {
    let mut call = Call::new(seed);
    let [home, office] = [0; 2].map(|_| call.world.nat(INTERNET, NatKind::port_restricted()));
    let alice = call.join("alice", home);
    let bob = call.join("bob", office);
    (call, alice, bob)
}

/// A pair that plays nothing but waits for every frame.
fn recording_pair(seed: u64) -> (Call, HostId, HostId) {
    let mut call = Call::new(seed);
    let [alice, bob] = ["alice", "bob"].map(|name| {
        let mut config = call.config(name);
        config.playout = ORDERED;
        let network = call.world.nat(INTERNET, NatKind::port_restricted());
        call.join_as(config, network, Family::V4)
    });
    (call, alice, bob)
}

/// How many frames are missing between the first and the last seen.
pub(crate) fn missing(seen: &[Seen]) -> usize {
    let number = |seen: &Seen| seen.number;
    let [Some(FrameNumber(first)), Some(FrameNumber(last))] = [seen.first().map(number), seen.last().map(number)]
    else {
        return 0;
    };
    (last - first + 1) as usize - seen.len()
}

/// The longest time between two frames since then.
fn longest_distance(seen: &[Seen], since: Time) -> std::time::Duration {
    let later: Vec<_> = seen.iter().filter(|seen| seen.at > since).collect();
    later.windows(2).map(|two| two[1].at.since(two[0].at)).max().unwrap_or_default()
}
