//! How well a call holds on bad networks: one rung of the ladder a test, measured as the person at the other end would.

use std::time::Duration;

use meipo::node::PeerStats;
use meipo::units::{Bitrate, Time};

use crate::call::{Call, millis, secs};
use crate::world::link::Link;
use crate::world::nat::NatKind;
use crate::world::peer::Seen;
use crate::world::studio::Studio;
use crate::world::{Family, HostId, INTERNET, seeds};

#[test]
fn a_clean_way_costs_nothing() {
    let heard = rung(&way(), secs(20));
    assert_eq!((heard.concealed, heard.frozen), (0.0, 0.0), "{heard:?}");
    assert!(heard.delay <= millis(40), "{heard:?}");
}

#[test]
fn two_percent_of_loss_are_hardly_noticed() {
    let heard = rung(&way().loss(0.02), secs(30));
    assert!(heard.concealed <= 0.001 && heard.frozen <= 0.0, "{heard:?}");
}

#[test]
fn ten_percent_of_loss_are_hardly_noticed() {
    let heard = rung(&way().loss(0.1), secs(30));
    assert!(heard.concealed <= 0.005 && heard.frozen <= 0.005, "{heard:?}");
    assert!(heard.delay <= millis(40), "{heard:?}");
}

#[test]
fn twenty_percent_of_loss_are_borne() {
    let heard = rung(&way().loss(0.2), secs(30));
    assert!(heard.concealed <= 0.02 && heard.frozen <= 0.03, "{heard:?}");
    // Nearly all is made good by what follows within 20 ms.
    assert!(heard.delay <= millis(80), "{heard:?}");
}

#[test]
fn bursts_of_five_packets_are_borne() {
    let heard = rung(&way().burst_loss(0.1, 5.0), secs(30));
    assert!(heard.concealed <= 0.02 && heard.frozen <= 0.01, "{heard:?}");
    // Nearly all are made good without a repetition, which takes 100 ms and more.
    assert!(heard.delay <= millis(130), "{heard:?}");
}

#[test]
fn a_voice_alone_bears_bursts() {
    for seed in seeds(4) {
        let mut pair = Pair::showing(seed, &way(), Studio::new(Time::ZERO).without_pictures());
        pair.call.world.run(secs(5));
        pair.shape(&way().burst_loss(0.1, 5.0));
        pair.call.world.run(secs(5));
        let before = pair.stats();
        pair.call.world.run(secs(30));
        let heard = pair.heard(&before, secs(30));
        // A burst takes half as many sounds as it has packets, where others take most of it in a call with pictures.
        assert!(heard.concealed <= 0.03, "seed {seed}: {heard:?}");
    }
}

#[test]
fn forty_percent_of_loss_leave_the_sound_intelligible() {
    let heard = rung(&way().loss(0.4), secs(20));
    assert!(heard.concealed <= 0.02, "{heard:?}");
}

#[test]
fn a_satellite_s_round_trip_with_loss_is_borne() {
    let far = Link::with_delay(millis(140)).loss(0.05);
    let heard = rung(&far, secs(30));
    assert!(heard.concealed <= 0.005, "{heard:?}");
}

#[test]
fn jitter_and_spikes_are_smoothed_and_forgotten() {
    let jumpy = way().jitter(millis(80)).reordering();
    for seed in seeds(2) {
        let mut pair = Pair::new(seed, &jumpy);
        pair.call.world.run(secs(5));
        let before = pair.stats();
        for _ in 0..5 {
            pair.call.world.run(secs(3));
            pair.shape(&Link::with_delay(millis(315)).jitter(millis(80)).reordering());
            pair.call.world.run(millis(60));
            pair.shape(&jumpy);
        }
        let heard = pair.heard(&before, secs(15));
        assert!(heard.concealed <= 0.01, "seed {seed}: {heard:?}");
        for seen in [pair.call.sounds(pair.bob, pair.alice), pair.call.pictures(pair.bob, pair.alice)] {
            assert!(seen.windows(2).all(|two| two[0].number < two[1].number), "seed {seed}: not in order");
        }
        // What was only overtaken is not sent again: 1.1 Mbit/s would come without any repair.
        let rate = pair.received_bits(secs(5));
        assert!(rate <= 2_200_000.0, "seed {seed}: {rate} bit/s");
        pair.shape(&way());
        pair.call.world.run(secs(10));
        assert!(pair.stats().jitter_delay <= millis(60), "seed {seed}: {:?}", pair.stats().jitter_delay);
    }
}

#[test]
fn a_way_that_stands_still_for_a_moment_is_not_taken_for_a_full_one() {
    for seed in seeds(2) {
        let mut pair = Pair::new(seed, &way());
        pair.call.world.run(secs(5));
        let before = pair.stats();
        for _ in 0..5 {
            pair.call.world.run(secs(3));
            pair.shape(&Link::with_delay(millis(325)));
            pair.call.world.run(millis(60));
            pair.shape(&way());
        }
        let heard = pair.heard(&before, millis(15_300));
        assert!(heard.concealed <= 0.01 && heard.pictures_per_second >= 28.0, "seed {seed}: {heard:?}");
        let estimate = pair.estimate();
        assert!(estimate >= Bitrate::from_kilobits(1200), "seed {seed}: {estimate:?}");
    }
}

#[test]
fn a_way_that_narrows_and_widens_again_is_followed() {
    for seed in seeds(2) {
        let wide = way().bottleneck(Bitrate::from_kilobits(4000), millis(250));
        let mut pair = Pair::with(seed, &wide, 6000);
        pair.call.world.run(secs(20));
        pair.shape(&way().bottleneck(Bitrate::from_kilobits(300), millis(250)));
        // The queue is full, and drops, until the first report about it has come back through it. Nothing is lost after that.
        let before = pair.stats();
        pair.call.world.run(secs(2));
        let settled = pair.call.world.now();
        let lost_at_first = pair.stats().concealed - before.concealed;
        assert!(lost_at_first <= millis(500), "seed {seed}: {lost_at_first:?}");
        let before = pair.stats();
        pair.call.world.run(secs(18));
        let squeezed = pair.heard(&before, secs(18));
        let sounds = pair.call.sounds(pair.bob, pair.alice);
        let slowest = sounds.iter().filter(|seen| seen.at > settled).map(age).max().unwrap();
        assert!(slowest < millis(25 + 300), "seed {seed}: {slowest:?} {squeezed:?}");
        assert!(squeezed.concealed <= 0.001, "seed {seed}: {squeezed:?}");
        pair.shape(&wide);
        pair.call.world.run(secs(8));
        let sent = pair.received_bits(secs(5));
        assert!(sent >= 0.85 * 4_000_000.0, "seed {seed}: {sent} bit/s");
    }
}

#[test]
fn a_way_that_becomes_longer_is_not_taken_for_a_full_one_for_long() {
    for seed in seeds(2) {
        let mut pair = Pair::new(seed, &way());
        pair.call.world.run(secs(10));
        pair.shape(&Link::with_delay(millis(140)).loss(0.05));
        pair.call.world.run(secs(4));
        let before = pair.stats();
        pair.call.world.run(secs(10));
        let heard = pair.heard(&before, secs(10));
        assert!(heard.pictures_per_second >= 28.0 && heard.concealed <= 0.01, "seed {seed}: {heard:?}");
    }
}

#[test]
fn a_very_narrow_way_carries_sound_and_some_pictures() {
    let heard = rung(&way().bottleneck(Bitrate::from_kilobits(150), millis(250)), secs(30));
    assert!(heard.concealed <= 0.001 && heard.pictures_per_second >= 5.0, "{heard:?}");
}

#[test]
fn a_way_that_drops_what_is_too_much_without_a_queue_is_found_out_by_its_losses() {
    let heard = rung(&way().policer(Bitrate::from_kilobits(1000), millis(50)), secs(30));
    assert!(heard.concealed <= 0.01 && heard.frozen <= 0.04, "{heard:?}");
    assert!(heard.pictures_per_second >= 18.0, "{heard:?}");
}

/// What came of alice's media at bob's.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    /// Share of the time in which sound was concealed.
    concealed: f64,
    /// Share of the time in which pictures stood still.
    frozen: f64,
    /// How long sounds were held back, on average.
    delay: Duration,
    pictures_per_second: f64,
}

/// The worst of two runs over one way.
fn rung(link: &Link, span: Duration) -> Heard {
    let mut worst = Heard { pictures_per_second: 100.0, ..Heard::default() };
    for seed in seeds(2) {
        let mut pair = Pair::new(seed, link);
        pair.call.world.run(secs(8));
        let before = pair.stats();
        let mut delays = Duration::ZERO;
        for _ in 0..LOOKS {
            pair.call.world.run(span / LOOKS);
            delays += pair.stats().jitter_delay;
        }
        let heard = Heard { delay: delays / LOOKS, ..pair.heard(&before, span) };
        let bob = pair.call.id(pair.bob);
        let sent = pair.call.with_peer(pair.alice, |peer, now| peer.stats(now)[&bob].clone());
        println!("seed {seed}: {heard:?} est {:?} parity {:?}", sent.estimate_bits / 1000, sent.repair_share);
        worst.concealed = worst.concealed.max(heard.concealed);
        worst.frozen = worst.frozen.max(heard.frozen);
        worst.delay = worst.delay.max(heard.delay);
        worst.pictures_per_second = worst.pictures_per_second.min(heard.pictures_per_second);
    }
    worst
}

/// How often a rung is looked at.
const LOOKS: u32 = 60;

/// Alice, behind the link in question, and bob.
struct Pair {
    call: Call,
    alice: HostId,
    bob: HostId,
}

impl Pair {
    fn new(seed: u64, link: &Link) -> Self {
        Pair::with(seed, link, 1000)
    }

    fn with(seed: u64, link: &Link, kilobits: usize) -> Self {
        Pair::showing(seed, link, Studio::new(Time::ZERO).kilobits(kilobits))
    }

    fn showing(seed: u64, link: &Link, studio: Studio) -> Self {
        let mut call = Call::new(seed);
        let [alice, bob] = ["alice", "bob"].map(|name| {
            let config = call.config(name);
            let network = call.world.nat(INTERNET, NatKind::port_restricted());
            call.add(config, network, Family::V4)
        });
        let mut pair = Pair { call, alice, bob };
        pair.shape(link);
        pair.call.enter_with(alice, studio);
        pair.call.enter_with(bob, Studio::new(Time::ZERO).kilobits(300));
        pair
    }

    /// Both directions of alice's access are like this.
    fn shape(&mut self, link: &Link) {
        self.call.world.uplink(self.alice, link.clone());
        self.call.world.downlink(self.alice, link.clone());
    }

    /// Bob's figures of alice.
    fn stats(&mut self) -> PeerStats {
        let alice = self.call.id(self.alice);
        self.call.with_peer(self.bob, |peer, now| peer.stats(now)[&alice].clone())
    }

    /// What alice thinks her way to bob carries.
    fn estimate(&mut self) -> Bitrate {
        let bob = self.call.id(self.bob);
        Bitrate::from_bits(self.call.with_peer(self.alice, |peer, now| peer.stats(now)[&bob].estimate_bits))
    }

    fn heard(&mut self, before: &PeerStats, span: Duration) -> Heard {
        let stats = self.stats();
        let since =
            Time::from_micros(u64::try_from(self.call.world.now().since(Time::ZERO + span).as_micros()).unwrap());
        let pictures = self.call.pictures(self.bob, self.alice).iter().filter(|seen| seen.at > since).count();
        Heard {
            concealed: (stats.concealed - before.concealed).as_secs_f64() / span.as_secs_f64(),
            frozen: (stats.freeze_time - before.freeze_time).as_secs_f64() / span.as_secs_f64(),
            delay: stats.jitter_delay,
            pictures_per_second: pictures as f64 / span.as_secs_f64(),
        }
    }

    /// Media that bob receives from alice, bits a second, over the next while.
    fn received_bits(&mut self, span: Duration) -> f64 {
        let before = self.call.world.delivered(self.alice, self.bob).bytes;
        self.call.world.run(span);
        let bytes = self.call.world.delivered(self.alice, self.bob).bytes - before;
        bytes as f64 * 8.0 / span.as_secs_f64()
    }
}

/// How long ago the frame was captured when it was seen; both clocks began with the world.
fn age(seen: &Seen) -> Duration {
    seen.at.since(Time::from_micros(seen.captured.as_micros()))
}

/// 25 ms one way: these, and bob's ten.
fn way() -> Link {
    Link::with_delay(millis(15))
}
