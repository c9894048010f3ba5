//! One person, several listeners, and one uplink through which all of it goes: it is shared equally, sound first, files last.

use std::time::Duration;

use meipo::units::{Bitrate, Time};

use crate::call::{Call, millis, secs};
use crate::group::{View, fairness, member, seen};
use crate::world::files::FILE;
use crate::world::link::Link;
use crate::world::studio::Studio;
use crate::world::{HostId, seeds};

#[test]
fn five_listeners_behind_a_narrow_uplink_get_the_same() {
    for seed in seeds(3) {
        for (kilobits, pictures) in [(2000, 20.0), (1200, 12.0)] {
            let mut speech = Speech::begin(seed, kilobits, 1500, 5);
            let (saw, concealed) = speech.watch(secs(20));
            assert!(fairness(&saw) >= 0.95, "seed {seed}, {kilobits} kbit/s: {saw:#?}");
            assert!(saw.iter().all(|view| view.pictures >= pictures), "seed {seed}, {kilobits} kbit/s: {saw:#?}");
            // Five times sound takes 280 kbit/s, headers and reports a tenth.
            let sum: f64 = saw.iter().map(|view| view.rate).sum();
            assert!(sum >= 0.48 * 1000.0 * kilobits as f64, "seed {seed}, {kilobits} kbit/s: {sum} bit/s");
            for concealed in concealed {
                assert!(concealed <= secs(20).mul_f64(0.001), "seed {seed}, {kilobits} kbit/s: {concealed:?}");
            }
        }
    }
}

#[test]
fn three_listeners_fill_what_carries_them_nearly() {
    for seed in seeds(3) {
        let mut speech = Speech::begin(seed, 3000, 1500, 3);
        let (saw, concealed) = speech.watch(secs(20));
        assert!(fairness(&saw) >= 0.98, "seed {seed}: {saw:#?}");
        assert!(saw.iter().all(|view| view.pictures >= 28.0 && view.rate >= 600_000.0), "seed {seed}: {saw:#?}");
        assert_eq!(concealed, [Duration::ZERO; 3], "seed {seed}");
    }
}

#[test]
fn a_file_to_one_takes_what_pictures_to_all_leave() {
    for seed in seeds(2) {
        let mut speech = Speech::begin(seed, 3000, 600, 3);
        speech.give(50_000_000);
        speech.call.world.run(secs(10));
        let got = speech.got();
        let (saw, concealed) = speech.watch(secs(20));
        assert!(saw.iter().all(|view| view.pictures >= 29.0 && view.rate >= 570_000.0), "seed {seed}: {saw:#?}");
        let rate = 8 * (speech.got() - got) / 20;
        // Pictures and sound take 2.1 of three megabits.
        assert!(rate >= 200_000, "seed {seed}: {rate} bit/s of the file");
        for concealed in concealed {
            assert!(concealed <= secs(20).mul_f64(0.001), "seed {seed}: {concealed:?}");
        }
    }
}

#[test]
fn a_file_to_one_gets_the_least_where_pictures_to_all_would_take_more() {
    for seed in seeds(2) {
        let mut speech = Speech::begin(seed, 1200, 800, 5);
        speech.give(50_000_000);
        speech.call.world.run(secs(10));
        let got = speech.got();
        let (saw, concealed) = speech.watch(secs(20));
        assert!(saw.iter().all(|view| view.pictures >= 8.0), "seed {seed}: {saw:#?}");
        let rate = 8 * (speech.got() - got) / 20;
        assert!((4_000..=100_000).contains(&rate), "seed {seed}: {rate} bit/s of the file");
        for concealed in concealed {
            assert!(concealed <= secs(20).mul_f64(0.01), "seed {seed}: {concealed:?}");
        }
    }
}

#[test]
fn who_comes_late_to_a_long_call_holds_up_nobody_s_pictures() {
    for seed in seeds(2) {
        let mut speech = Speech::begin(seed, 20_000, 800, 1);
        speech.call.world.run(secs(60));
        let late = member(&mut speech.call, "late");
        speech.call.enter_with(late, Studio::new(Time::ZERO).kilobits(50));
        speech.listeners.push(late);
        speech.call.world.run(secs(10));
        for view in speech.seen(secs(8)) {
            assert!(view.pictures >= 29.0 && view.longest <= millis(100), "seed {seed}: {view:?}");
        }
    }
}

/// Somebody who shows pictures of so many kilobits a second to all others.
struct Speech {
    call: Call,
    speaker: HostId,
    listeners: Vec<HostId>,
}

impl Speech {
    /// The listeners come one after the other; ten seconds later it is calm.
    fn begin(seed: u64, uplink: u64, pictures: usize, listeners: u8) -> Self {
        let mut call = Call::new(seed);
        let speaker = member(&mut call, "speaker");
        let narrow = Link::with_delay(millis(10)).bottleneck(Bitrate::from_kilobits(uplink), millis(250));
        call.world.uplink(speaker, narrow);
        call.enter_with(speaker, Studio::new(Time::ZERO).kilobits(pictures));
        let listeners: Vec<HostId> = (0..listeners).map(|nth| member(&mut call, &format!("listener {nth}"))).collect();
        for listener in &listeners {
            call.enter_with(*listener, Studio::new(Time::ZERO).kilobits(50));
            call.world.run(millis(500));
        }
        call.world.run(secs(10));
        Speech { call, speaker, listeners }
    }

    fn seen(&mut self, span: Duration) -> Vec<View> {
        self.listeners.iter().map(|listener| seen(&mut self.call, *listener, self.speaker, span)).collect()
    }

    /// How much of the speaker's sound was concealed at each listener's so far.
    fn concealed(&mut self) -> Vec<Duration> {
        let speaker = self.call.id(self.speaker);
        let concealed =
            |listener: &HostId| self.call.with_peer(*listener, |peer, now| peer.stats(now)[&speaker].concealed);
        self.listeners.iter().map(concealed).collect()
    }

    /// What each listener sees in the next while, and how much of the sound is concealed.
    fn watch(&mut self, span: Duration) -> (Vec<View>, Vec<Duration>) {
        let before = self.concealed();
        self.call.world.run(span);
        let concealed = self.concealed().into_iter().zip(before).map(|(now, before)| now - before);
        (self.seen(span), concealed.collect())
    }

    /// Sends a file to the first listener.
    fn give(&mut self, len: u64) {
        let taker = self.listeners[0];
        let (from, to) = (self.call.id(self.speaker), self.call.id(taker));
        self.call.with_peer(taker, |peer, now| {
            peer.act(now, |machine| machine.node().accept_bulk(from, FILE, len)).expect("room for a file");
        });
        self.call.with_peer(self.speaker, |peer, now| peer.give(to, len, now));
    }

    fn got(&mut self) -> u64 {
        self.call.with_peer(self.listeners[0], |peer, _| peer.got())
    }
}
