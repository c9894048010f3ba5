//! Several people in one call, or several calls over one link, whose ways differ: each gets what its own way carries.

use std::time::Duration;

use meipo::trust::RoomSecret;
use meipo::units::{Bitrate, Time};

use crate::call::{Call, millis, secs};
use crate::world::files::FILE;
use crate::world::link::Link;
use crate::world::nat::NatKind;
use crate::world::peer::Seen;
use crate::world::studio::Studio;
use crate::world::{Family, HostId, INTERNET, seeds};

#[test]
fn who_has_a_narrow_way_gets_small_pictures_and_the_others_their_full_ones() {
    for seed in seeds(2) {
        let mut call = Call::new(seed);
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| member(&mut call, name));
        call.world.downlink(carol, narrow(300));
        call.enter_with(alice, Studio::new(Time::ZERO).kilobits(1500));
        for listener in [bob, carol] {
            call.enter_with(listener, Studio::new(Time::ZERO).kilobits(50));
        }
        call.world.run(secs(8));
        let id = call.id(alice);
        let before = call.with_peer(carol, |peer, now| peer.stats(now)[&id].concealed);
        call.world.run(secs(20));
        let (bob_saw, carol_saw) = (seen(&mut call, bob, alice, secs(10)), seen(&mut call, carol, alice, secs(10)));
        assert!(bob_saw.rate >= 0.9 * 1_500_000.0 && bob_saw.pictures >= 29.0, "seed {seed}: {bob_saw:?}");
        assert!(carol_saw.pictures >= 5.0 && carol_saw.rate <= 300_000.0, "seed {seed}: {carol_saw:?}");
        assert!(carol_saw.longest <= millis(500), "seed {seed}: {carol_saw:?}");
        let stats = call.with_peer(carol, |peer, now| peer.stats(now));
        assert!(stats[&id].concealed - before <= secs(20).mul_f64(0.01), "seed {seed}: {stats:#?}");

        call.world.downlink(carol, narrow(20_000));
        call.world.run(secs(30));
        let carol_saw = seen(&mut call, carol, alice, secs(5));
        assert!(carol_saw.rate >= 0.9 * 1_500_000.0 && carol_saw.pictures >= 29.0, "seed {seed}: {carol_saw:?}");
    }
}

#[test]
fn pictures_pause_where_only_sound_fits_and_return_by_themselves() {
    for seed in seeds(2) {
        let (mut call, [alice, _, carol]) = three(seed);
        call.world.run(secs(10));
        call.world.downlink(carol, narrow(200));
        call.world.run(secs(20));
        let since = call.world.now();
        call.world.run(secs(10));
        let sounds = call.sounds(carol, alice).iter().filter(|seen| seen.at > since).count();
        assert!(sounds >= 490, "seed {seed}: {sounds} sounds in ten seconds");
        call.world.downlink(carol, Link::with_delay(millis(10)));
        call.world.run(secs(30));
        let carol_saw = seen(&mut call, carol, alice, secs(5));
        assert!(carol_saw.pictures >= 29.0, "seed {seed}: {carol_saw:?}");
    }
}

#[test]
fn who_is_cut_off_costs_the_others_nothing() {
    for seed in seeds(2) {
        let (mut call, [alice, bob, carol]) = three(seed);
        call.world.run(secs(5));
        call.world.downlink(carol, Link::with_delay(millis(10)).loss(1.0));
        let since = call.world.now();
        call.world.run(secs(20));
        let sounds = call.sounds(bob, alice).iter().filter(|seen| seen.at > since).count();
        let bob_saw = seen(&mut call, bob, alice, secs(20));
        assert!(sounds >= 990, "seed {seed}: {sounds} sounds in twenty seconds");
        assert!(bob_saw.pictures >= 29.0 && bob_saw.longest <= millis(200), "seed {seed}: {bob_saw:?}");
    }
}

#[test]
fn a_slow_member_of_six_costs_the_others_nothing() {
    for seed in seeds(1) {
        let without = five_of(seed, 5);
        let with = five_of(seed, 6);
        for (without, with) in without.iter().zip(&with) {
            assert!(with.pictures >= without.pictures * 0.98, "seed {seed}: {without:?} {with:?}");
            assert!(with.rate >= without.rate * 0.98, "seed {seed}: {without:?} {with:?}");
        }
    }
}

#[test]
fn ten_calls_over_one_link_share_it() {
    for seed in seeds(4) {
        let mut office = Office::open(seed);
        office.call.world.run(secs(10));
        let early = office.concealed();
        office.call.world.run(secs(15));
        let saw = office.seen(secs(15));
        let sum: f64 = saw.iter().map(|view| view.rate).sum();
        // Nobody starves: who has least still sees somebody move.
        assert!(saw.iter().all(|view| view.pictures >= 10.0 && view.rate >= 80_000.0), "seed {seed}: {saw:#?}");
        assert!(fairness(&saw) >= 0.65, "seed {seed}: {}, {saw:#?}", fairness(&saw));
        // Headers, sound, repair and reports take the rest.
        assert!(sum >= 0.65 * 5_000_000.0, "seed {seed}: {sum} bit/s of five millions");
        for (early, late) in early.into_iter().zip(office.concealed()) {
            let late = late - early;
            assert!(early <= secs(17).mul_f64(0.02), "seed {seed}: {early:?} of sound concealed while calls come in");
            assert!(late <= secs(30).mul_f64(0.001), "seed {seed}: {late:?} of sound concealed");
        }
    }
}

#[test]
fn a_file_beside_ten_calls_takes_only_what_is_left() {
    let seed = 1;
    let mut office = Office::open(seed);
    let (giver, taker) = office.pairs[0];
    office.call.world.run(secs(10));
    let early = office.concealed();
    office.give(giver, taker, 50_000_000);
    office.call.world.run(secs(15));
    let saw = office.seen(secs(15));
    let rate = 8 * office.call.with_peer(taker, |peer, _| peer.got()) / 30;
    assert!(saw.iter().all(|view| view.pictures >= 7.0 && view.rate >= 60_000.0), "seed {seed}: {saw:#?}");
    // The calls would take more than there is, so the file gets the least.
    assert!((4_000..=100_000).contains(&rate), "seed {seed}: {rate} bit/s of the file");
    for (early, late) in early.into_iter().zip(office.concealed()) {
        assert!(late - early <= secs(30).mul_f64(0.01), "seed {seed}: {:?} of sound concealed", late - early);
    }
}

/// Three who show each other pictures of 800 kbit/s.
fn three(seed: u64) -> (Call, [HostId; 3]) {
    let mut call = Call::new(seed);
    let hosts = ["alice", "bob", "carol"].map(|name| member(&mut call, name));
    for host in hosts {
        call.enter_with(host, Studio::new(Time::ZERO).kilobits(800));
    }
    (call, hosts)
}

/// Ten callers behind one link of 5 Mbit/s, each in a call with somebody elsewhere.
struct Office {
    call: Call,
    /// Who is inside, and whom they talk to.
    pairs: Vec<(HostId, HostId)>,
}

impl Office {
    /// The calls begin one after the other.
    fn open(seed: u64) -> Self {
        let mut call = Call::new(seed);
        let office = call.world.nat(INTERNET, NatKind::full_cone());
        let mut pairs = Vec::new();
        for number in 0..10_u8 {
            let [inside, outside] = [office, call.world.nat(INTERNET, NatKind::full_cone())].map(|network| {
                let mut config = call.config(&format!("caller {number}"));
                config.secret = RoomSecret::from_bytes([number + 1; 16]);
                call.add(config, network, Family::V4)
            });
            call.world.downlink(outside, Link::with_delay(millis(15)));
            pairs.push((inside, outside));
        }
        let first = pairs[0].0;
        call.world.uplink(first, Link::with_delay(millis(10)).bottleneck(Bitrate::from_kilobits(5000), millis(250)));
        for (inside, outside) in &pairs {
            call.world.share_uplink(*inside, first);
            call.enter_with(*inside, Studio::new(Time::ZERO).kilobits(1500));
            call.enter_with(*outside, Studio::new(Time::ZERO).kilobits(300));
            call.world.run(millis(700));
        }
        Office { call, pairs }
    }

    fn seen(&mut self, span: Duration) -> Vec<View> {
        self.pairs.iter().map(|(inside, outside)| seen(&mut self.call, *outside, *inside, span)).collect()
    }

    /// How much of each caller's sound was concealed at the other end so far.
    fn concealed(&mut self) -> Vec<Duration> {
        let concealed = |(inside, outside): &(HostId, HostId)| {
            let id = self.call.id(*inside);
            self.call.with_peer(*outside, |peer, now| peer.stats(now)[&id].concealed)
        };
        self.pairs.iter().map(concealed).collect()
    }

    fn give(&mut self, from: HostId, to: HostId, len: u64) {
        let [giver, taker] = [from, to].map(|host| self.call.id(host));
        self.call.with_peer(to, |peer, now| {
            peer.act(now, |machine| machine.node().accept_bulk(giver, FILE, len)).expect("room for a file");
        });
        self.call.with_peer(from, |peer, now| peer.give(taker, len, now));
    }
}

/// Jain's index: 1 where all get the same, 0.1 where one of ten gets all.
pub(crate) fn fairness(saw: &[View]) -> f64 {
    let sum: f64 = saw.iter().map(|view| view.rate).sum();
    let squares: f64 = saw.iter().map(|view| view.rate * view.rate).sum();
    sum * sum / squares / saw.len() as f64
}

/// What five of so many members, of whom the sixth has a narrow way, see of each other.
fn five_of(seed: u64, members: usize) -> Vec<View> {
    let mut call = Call::new(seed);
    let hosts: Vec<HostId> = (0..members).map(|number| member(&mut call, &format!("member {number}"))).collect();
    for (number, host) in hosts.iter().enumerate() {
        let kilobits = if number == 5 { 300 } else { 20_000 };
        call.world.uplink(*host, narrow(kilobits));
        call.world.downlink(*host, narrow(kilobits));
        call.enter_with(*host, Studio::new(Time::ZERO).kilobits(800));
    }
    call.world.run(secs(20));
    let five = hosts.iter().take(5);
    let pairs = five.clone().flat_map(|viewer| five.clone().map(move |of| (*viewer, *of))).filter(|(a, b)| a != b);
    pairs.map(|(viewer, of)| seen(&mut call, viewer, of, secs(15))).collect()
}

/// What one saw of another lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// Pictures a second.
    pub(crate) pictures: f64,
    /// Bits of them a second.
    pub(crate) rate: f64,
    /// The longest time without one.
    pub(crate) longest: Duration,
}

/// What `viewer` saw of `of` in the last while.
pub(crate) fn seen(call: &mut Call, viewer: HostId, of: HostId, span: Duration) -> View {
    let now = call.world.now_at(viewer);
    let pictures = call.pictures(viewer, of);
    let lately: Vec<Seen> = pictures.into_iter().filter(|seen| now.since(seen.at) < span).collect();
    let bytes: usize = lately.iter().map(|seen| seen.len).sum();
    let longest = lately.windows(2).map(|two| two[1].at.since(two[0].at)).max().unwrap_or(span);
    let seconds = span.as_secs_f64();
    View { pictures: lately.len() as f64 / seconds, rate: bytes as f64 * 8.0 / seconds, longest }
}

/// Somebody behind a NAT of the usual kind.
pub(crate) fn member(call: &mut Call, name: &str) -> HostId {
    let config = call.config(name);
    let network = call.world.nat(INTERNET, NatKind::port_restricted());
    call.add(config, network, Family::V4)
}

/// Ten milliseconds, and a queue of a quarter of a second before so many kilobits a second.
fn narrow(kilobits: u64) -> Link {
    Link::with_delay(millis(10)).bottleneck(Bitrate::from_kilobits(kilobits), millis(250))
}
