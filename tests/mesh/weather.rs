//! Networks lose, delay, reorder, repeat and squeeze what is sent; the call bears it.

use std::collections::BTreeSet;
use std::time::Duration;

use meipo::node::Event;
use meipo::path::PathKind;
use meipo::units::{Bitrate, FrameNumber};

use crate::call::{Call, millis, secs};
use crate::world::link::Link;
use crate::world::nat::NatKind;
use crate::world::peer::Seen;
use crate::world::studio::Studio;
use crate::world::{Family, HostId, INTERNET, seeds};

#[test]
fn loss_takes_its_share_of_the_sound_and_no_more() {
    for seed in seeds(2) {
        for percent in [0, 5, 20, 40] {
            let loss = f64::from(percent) / 100.0;
            let (mut call, alice, bob) = pair(seed, &Link::with_delay(millis(10)).loss(loss));
            call.world.run(secs(30));
            let sounds = call.sounds(bob, alice);
            assert_in_order(&sounds);
            assert_in_order(&call.pictures(bob, alice));
            let share = heard(&sounds, 20..28);
            assert!(share > 1.0 - loss - 0.06, "seed {seed}: {percent} % loss, {share} heard");
        }
    }
}

#[test]
fn who_loses_two_packets_in_five_meets_the_others_within_fifteen_seconds() {
    // With seed 11 UDP seems blocked while the handshake with the rendezvous is under way, and goes on by the tunnel. With
    // seed 16 it takes longest, of forty.
    for seed in seeds(16) {
        let (mut call, alice, bob) = pair(seed, &Link::with_delay(millis(15)).loss(0.4));
        call.world.downlink(alice, Link::with_delay(millis(15)).loss(0.4));
        let is_meeting = |event: &Event| matches!(event, Event::PeerJoined { .. });
        let met = |call: &mut Call| [alice, bob].iter().all(|host| call.count(*host, is_meeting) > 0);
        assert!(call.poll(secs(15), met), "seed {seed}");
    }
}

#[test]
fn nothing_is_seen_twice_or_out_of_order_however_the_network_mixes_it() {
    for seed in seeds(5) {
        let mixed = Link::with_delay(millis(10)).jitter(millis(60)).reordering().duplication(0.2).loss(0.02);
        let (mut call, alice, bob) = pair(seed, &mixed);
        call.world.run(secs(20));
        for (host, of) in [(alice, bob), (bob, alice)] {
            let (pictures, sounds) = (call.pictures(host, of), call.sounds(host, of));
            assert_in_order(&pictures);
            assert_in_order(&sounds);
            let share = heard(&sounds, 10..18);
            assert!(share > 0.93, "seed {seed}: {share} of the sound");
        }
    }
}

#[test]
fn bursts_of_loss_are_borne() {
    for seed in seeds(3) {
        let (mut call, alice, bob) = pair(seed, &Link::with_delay(millis(10)).burst_loss(0.1, 8.0));
        call.world.run(secs(30));
        assert_in_order(&call.sounds(bob, alice));
        assert!(heard(&call.sounds(bob, alice), 10..28) > 0.8, "seed {seed}");
    }
}

#[test]
fn when_the_uplink_shrinks_pictures_give_way_and_sound_flows_without_a_long_queue() {
    for seed in seeds(3) {
        let wide = Link::with_delay(millis(10)).bottleneck(Bitrate::from_kilobits(4000), secs(2));
        let (mut call, alice, bob) = pair_with(seed, &Studio::new(meipo::units::Time::ZERO).kilobits(1200));
        call.world.uplink(alice, wide);
        call.world.run(secs(10));
        let narrow = Link::with_delay(millis(10)).bottleneck(Bitrate::from_kilobits(300), secs(2));
        call.world.uplink(alice, narrow);
        let squeezed = call.world.now();
        call.world.run(secs(20));
        let later: Vec<Seen> =
            call.sounds(bob, alice).into_iter().filter(|seen| seen.at > squeezed + secs(4)).collect();
        let longest = later.iter().map(age).max().unwrap();
        let share = later.len() as f64 / (16.0 * 50.0);
        assert!(longest < secs(1), "seed {seed}: {longest:?}");
        assert!(share > 0.9, "seed {seed}: {share} of the sound");
        call.world.uplink(alice, Link::with_delay(millis(10)));
        let freed = call.world.now();
        call.world.run(secs(15));
        let pictures = call.pictures(bob, alice);
        let last = pictures.iter().filter(|seen| seen.at > freed + secs(13)).count();
        assert!(last > 55, "seed {seed}: {last} pictures in the last two seconds");
    }
}

#[test]
fn a_relay_path_that_swallows_long_packets_is_survived() {
    for seed in seeds(3) {
        let (mut call, alice, bob) = pair(seed, &Link::with_delay(millis(10)));
        assert!(call.settles(alice, bob, PathKind::Direct, secs(3)), "seed {seed}");
        call.world.run(secs(20));
        for host in [alice, bob] {
            call.world.between(host, call.rendezvous, &Link::default().mtu(1280));
        }
        call.world.between(alice, bob, &Link::default().loss(1.0));
        let died = call.world.now();
        call.world.run(secs(10));
        let gap = call.gaps(alice, bob, died);
        assert!(gap <= secs(1), "seed {seed}: {gap:?}");
        let pictures = call.pictures(bob, alice);
        let later = pictures.iter().filter(|seen| seen.at > died + secs(2)).count();
        assert!(later > 8 * 30 - 15, "seed {seed}: {later} pictures in eight seconds");
    }
}

/// How long ago the frame was captured when it was seen; both clocks began with the world.
fn age(seen: &Seen) -> Duration {
    seen.at.since(meipo::units::Time::from_micros(seen.captured.as_micros()))
}

fn assert_in_order(seen: &[Seen]) {
    assert!(seen.windows(2).all(|two| two[0].number < two[1].number), "not in order");
}

/// The share of the sounds of these seconds that was seen.
fn heard(sounds: &[Seen], seconds: std::ops::Range<u32>) -> f64 {
    let numbers: BTreeSet<FrameNumber> = sounds.iter().map(|seen| seen.number).collect();
    let sent = FrameNumber(seconds.start * 50)..FrameNumber(seconds.end * 50);
    numbers.range(sent).count() as f64 / f64::from((seconds.end - seconds.start) * 50)
}

fn pair(seed: u64, link: &Link) -> (Call, HostId, HostId) {
    let (mut call, alice, bob) = pair_with(seed, &Studio::new(meipo::units::Time::ZERO));
    call.world.uplink(alice, link.clone());
    (call, alice, bob)
}

fn pair_with(seed: u64, studio: &Studio) -> (Call, HostId, HostId) {
    let mut call = Call::new(seed);
    let peers = ["alice", "bob"].map(|name| {
        let config = call.config(name);
        let network = call.world.nat(INTERNET, NatKind::port_restricted());
        let peer = call.add(config, network, Family::V4);
        call.enter_with(peer, studio.clone());
        peer
    });
    (call, peers[0], peers[1])
}
