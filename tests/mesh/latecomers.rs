//! Who comes when a call has lasted sees it at once, and nothing that was before counts as missing.

use std::time::Duration;

use meipo::node::PeerStats;
use meipo::units::Time;

use crate::call::{Call, millis, secs};
use crate::world::link::Link;
use crate::world::peer::Seen;
use crate::world::studio::Studio;
use crate::world::{Family, HostId, INTERNET, seeds};

#[test]
fn who_comes_late_sees_the_next_picture_and_misses_none() {
    for seed in seeds(2) {
        for (delay, kilobits, wait) in [(0, 300, 100), (0, 1000, 100), (0, 2000, 100), (5, 1000, 300), (15, 1000, 500)]
        {
            let mut late = Late::new(seed, delay, Studio::new(Time::ZERO).kilobits(kilobits));
            late.enter_after(secs(8));
            let (first, stats) = late.look(secs(4));
            let told =
                format!("seed {seed}, {delay} ms, {kilobits} kbit/s: {:?} {stats:?}", first.at.since(late.entered));
            assert!(first.at.since(late.entered) <= millis(wait), "{told}");
            assert_eq!((stats.frames_lost, stats.freezes, stats.concealed), (0, 0, Duration::ZERO), "{told}");
        }
    }
}

#[test]
fn who_comes_late_to_a_file_catches_up_with_it() {
    for seed in seeds(2) {
        for (delay, after) in [(0, 6), (0, 9), (15, 8)] {
            let mut late = Late::new(seed, delay, Studio::new(Time::ZERO).kilobits(1000).recorded(KEY_EVERY));
            late.enter_after(secs(after));
            let (first, stats) = late.look(secs(2));
            let told = format!("seed {seed}, {delay} ms, {after} s: {first:?} {stats:?}");
            let last_key = Time::ZERO + secs(5);
            assert!(first.captured.as_micros().abs_diff(last_key.as_micros()) < 1000, "{told}");
            assert!(first.at.since(late.entered) <= millis(500), "{told}");
            assert_eq!((stats.frames_lost, stats.freezes, stats.concealed), (0, 0, Duration::ZERO), "{told}");
            let last = late.pictures().last().copied().expect("pictures go on");
            let captured = Time::from_micros(last.captured.as_micros());
            assert!(late.call.world.now().since(captured) <= millis(200), "{told}: {last:?}");
        }
    }
}

/// How many pictures apart the key frames of the file are: five seconds.
const KEY_EVERY: u32 = 150;

/// Alice, who is there from the beginning, and bob, who comes late.
struct Late {
    call: Call,
    alice: HostId,
    bob: HostId,
    entered: Time,
}

impl Late {
    /// Everybody's access, the rendezvous' too, takes `delay` milliseconds.
    fn new(seed: u64, delay: u64, studio: Studio) -> Self {
        let mut call = Call::new(seed);
        let [alice, bob] = ["alice", "bob"].map(|name| {
            let config = call.config(name);
            call.add(config, INTERNET, Family::V4)
        });
        for host in [alice, bob, call.rendezvous] {
            call.world.uplink(host, Link::with_delay(millis(delay)));
            call.world.downlink(host, Link::with_delay(millis(delay)));
        }
        call.enter_with(alice, studio);
        Late { call, alice, bob, entered: Time::ZERO }
    }

    fn enter_after(&mut self, span: Duration) {
        self.call.world.run(span);
        self.entered = self.call.world.now();
        self.call.enter(self.bob);
    }

    /// The first picture bob saw, and his figures of alice, after this long.
    fn look(&mut self, span: Duration) -> (Seen, PeerStats) {
        self.call.world.run(span);
        let first = self.pictures().first().copied().expect("bob sees alice");
        let alice = self.call.id(self.alice);
        (first, self.call.with_peer(self.bob, |peer, now| peer.stats(now)[&alice].clone()))
    }

    fn pictures(&mut self) -> Vec<Seen> {
        self.call.pictures(self.bob, self.alice)
    }
}
