//! Files beside a call: they arrive whole, and nobody hears or sees that they do.

use meipo::node::BulkError;
use meipo::params::{BULK_LEAST, BULK_WINDOW, MAX_TRANSFERS, QUIC_IDLE};
use meipo::path::{PathKind, Policy};
use meipo::units::{Bitrate, Time, TransferId};

use crate::call::{Call, millis, secs};
use crate::world::files::FILE;
use crate::world::link::Link;
use crate::world::nat::NatKind;
use crate::world::peer::PeerConfig;
use crate::world::studio::Studio;
use crate::world::{Family, HostId, INTERNET, seeds};

#[test]
fn a_file_arrives_whole_over_a_way_that_loses() {
    for seed in seeds(2) {
        let mut pair = Pair::new(seed, &way().loss(0.05).jitter(millis(30)).reordering());
        pair.give(3_000_000);
        assert!(pair.call.poll(secs(120), |call| got(call, pair.bob) == 3_000_000), "seed {seed}");
        assert!(pair.call.poll(secs(5), |call| given(call, pair.alice) == 3_000_000), "seed {seed}");
    }
}

#[test]
fn a_file_takes_what_the_call_leaves_and_the_call_does_not_notice() {
    for seed in seeds(2) {
        let narrow = way().bottleneck(Bitrate::from_kilobits(3000), millis(250));
        let mut without = Pair::new(seed, &narrow);
        without.call.world.run(secs(40));
        let mut with = Pair::new(seed, &narrow);
        with.call.world.run(secs(10));
        with.give(50_000_000);
        with.call.world.run(secs(10));
        let before = got(&mut with.call, with.bob);
        with.call.world.run(secs(20));
        let rate = 8 * (got(&mut with.call, with.bob) - before) / 20;
        // A call of 1.1 Mbit/s leaves 1.9.
        assert!(rate >= 1_000_000, "seed {seed}: {rate} bit/s");
        assert!(with.concealed_ms() == 0, "seed {seed}: {} ms of sound concealed", with.concealed_ms());
        let (alone, beside) = (without.pictures_of_last_seconds(20), with.pictures_of_last_seconds(20));
        assert!(
            beside.0 >= alone.0 * 98 / 100,
            "seed {seed}: {beside:?} pictures and bytes, {alone:?} without the file"
        );
        assert!(
            beside.1 >= alone.1 * 95 / 100,
            "seed {seed}: {beside:?} pictures and bytes, {alone:?} without the file"
        );
        let late = with.slowest_sound_of_last_seconds(20);
        assert!(late <= millis(25 + 125), "seed {seed}: sound came after {late:?}");
    }
}

#[test]
fn where_the_call_takes_all_the_file_gets_the_least_and_takes_off_when_the_call_is_over() {
    let seed = 1;
    let narrow = way().bottleneck(Bitrate::from_kilobits(600), millis(250));
    let mut without = Pair::new(seed, &narrow);
    without.call.world.run(secs(35));
    let mut pair = Pair::new(seed, &narrow);
    pair.call.world.run(secs(15));
    pair.give(50_000_000);
    pair.call.world.run(secs(20));
    let rate = 8 * got(&mut pair.call, pair.bob) / 20;
    assert!(rate <= 200_000, "{rate} bit/s");
    assert!(rate >= BULK_LEAST.as_bits() / 2, "{rate} bit/s");
    assert!(pair.concealed_ms() <= without.concealed_ms() + 100, "{} ms of sound concealed", pair.concealed_ms());
}

#[test]
fn a_connection_that_breaks_costs_no_byte() {
    for seed in seeds(2) {
        // Nothing but the direct way may carry, and it is cut for longer than a connection lives.
        let mut pair = Pair::with(seed, &way(), Policy::DirectOnly);
        assert!(pair.call.settles(pair.alice, pair.bob, PathKind::Direct, secs(10)), "seed {seed}");
        pair.give(8_000_000);
        pair.call.world.run(secs(3));
        let before = got(&mut pair.call, pair.bob);
        assert!(before > 0 && before < 8_000_000, "seed {seed}: {before}");
        pair.call.world.between(pair.alice, pair.bob, &Link::with_delay(millis(1)).loss(1.0));
        pair.call.world.run(QUIC_IDLE + secs(10));
        let cut = got(&mut pair.call, pair.bob);
        pair.call.world.run(secs(1));
        assert_eq!(got(&mut pair.call, pair.bob), cut, "seed {seed}: the way is not cut");
        pair.call.world.between(pair.alice, pair.bob, &Link::with_delay(millis(1)));
        assert!(pair.call.poll(secs(90), |call| got(call, pair.bob) == 8_000_000), "seed {seed}");
    }
}

#[test]
fn what_nobody_asked_for_is_dropped() {
    let mut pair = Pair::new(1, &way());
    pair.accept(0);
    pair.call.with_peer(pair.alice, |peer, now| peer.give(pair.bob_id, 100_000, now));
    pair.call.world.run(secs(5));
    assert_eq!(got(&mut pair.call, pair.bob), 0);
    // Whose program takes half of it gets half.
    let mut pair = Pair::new(1, &way());
    pair.accept(50_000);
    pair.call.with_peer(pair.alice, |peer, now| peer.give(pair.bob_id, 100_000, now));
    pair.call.world.run(secs(5));
    let got = got(&mut pair.call, pair.bob);
    assert!((49_000..=50_000).contains(&got), "{got}");
}

#[test]
fn as_much_as_may_be_on_its_way_is_taken_and_not_a_byte_more() {
    let mut pair = Pair::new(1, &way());
    let (bob, stranger) = (pair.bob_id, pair.call.id(pair.alice));
    let all = bytes::Bytes::from(vec![0; BULK_WINDOW]);
    let one = all.slice(..1);
    pair.call.with_peer(pair.alice, |peer, now| {
        peer.act(now, |machine| {
            let node = machine.node();
            assert_eq!(node.send_bulk(bob, FILE, 0, &all), Ok(()));
            assert_eq!(node.send_bulk(bob, FILE, 0, &one), Err(BulkError::Full { len: 1, room: 0 }));
            node.cancel_bulk(bob, FILE);
            assert_eq!(node.send_bulk(bob, FILE, 0, &one), Ok(()));
            assert_eq!(node.send_bulk(stranger, FILE, 0, &one), Err(BulkError::NoPeer(stranger)));
            for transfer in 1..=MAX_TRANSFERS as u64 {
                assert_eq!(node.accept_bulk(bob, TransferId(transfer), 1), Ok(()));
            }
            assert_eq!(node.accept_bulk(bob, TransferId(99), 1), Err(BulkError::Transfers));
            assert_eq!(node.accept_bulk(bob, TransferId(1), 0), Ok(()));
            assert_eq!(node.accept_bulk(bob, TransferId(99), 1), Ok(()));
        });
    });
}

/// Alice, who sends a file behind the link in question, and bob, who takes it.
struct Pair {
    call: Call,
    alice: HostId,
    bob: HostId,
    bob_id: meipo::units::PeerId,
}

impl Pair {
    fn new(seed: u64, link: &Link) -> Self {
        Pair::with(seed, link, Policy::Any)
    }

    fn with(seed: u64, link: &Link, policy: Policy) -> Self {
        let mut call = Call::new(seed);
        let [alice, bob] = ["alice", "bob"].map(|name| {
            let config = PeerConfig { policy, ..call.config(name) };
            let network = call.world.nat(INTERNET, NatKind::port_restricted());
            call.add(config, network, Family::V4)
        });
        let bob_id = call.id(bob);
        let mut pair = Pair { call, alice, bob, bob_id };
        pair.shape(link);
        pair.call.enter_with(alice, Studio::new(Time::ZERO).kilobits(1000));
        pair.call.enter_with(bob, Studio::new(Time::ZERO).kilobits(300));
        assert!(pair.call.meet(alice, bob, secs(10)), "seed {seed}: they do not meet");
        pair
    }

    fn shape(&mut self, link: &Link) {
        self.call.world.uplink(self.alice, link.clone());
        self.call.world.downlink(self.alice, link.clone());
    }

    fn accept(&mut self, until: u64) {
        let alice = self.call.id(self.alice);
        self.call.with_peer(self.bob, |peer, now| {
            peer.act(now, |machine| machine.node().accept_bulk(alice, FILE, until)).unwrap();
        });
    }

    fn give(&mut self, len: u64) {
        self.accept(len);
        let bob = self.bob_id;
        self.call.with_peer(self.alice, |peer, now| peer.give(bob, len, now));
    }

    fn concealed_ms(&mut self) -> u128 {
        let alice = self.call.id(self.alice);
        self.call.with_peer(self.bob, |peer, now| peer.stats(now)[&alice].concealed.as_millis())
    }

    /// How many pictures of alice's bob saw lately, and how many bytes they had.
    fn pictures_of_last_seconds(&mut self, seconds: u64) -> (usize, usize) {
        let now = self.call.world.now();
        let pictures = self.call.pictures(self.bob, self.alice);
        let lately = pictures.iter().filter(|seen| now.since(seen.at) < secs(seconds));
        lately.fold((0, 0), |(count, bytes), seen| (count + 1, bytes + seen.len))
    }

    fn slowest_sound_of_last_seconds(&mut self, seconds: u64) -> std::time::Duration {
        let now = self.call.world.now();
        let sounds = self.call.sounds(self.bob, self.alice);
        let lately = sounds.iter().filter(|seen| now.since(seen.at) < secs(seconds));
        lately.map(|seen| seen.at.since(Time::from_micros(seen.captured.as_micros()))).max().unwrap_or_default()
    }
}

fn got(call: &mut Call, host: HostId) -> u64 {
    call.with_peer(host, |peer, _| peer.got())
}

fn given(call: &mut Call, host: HostId) -> u64 {
    call.with_peer(host, |peer, _| peer.given())
}

/// 25 ms one way: these, and bob's ten.
fn way() -> Link {
    Link::with_delay(millis(15))
}
