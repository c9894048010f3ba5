//! The links and the hosts of the world behave as they are told, the same each time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use meipo::units::{Bitrate, Time};

use crate::ping::Pinger;
use crate::world::link::{Carrier, Link};
use crate::world::nat::NatKind;
use crate::world::{Clock, Family, HostId, INTERNET, World, seeds};

#[test]
fn random_loss_loses_its_share() {
    for seed in seeds(5) {
        let lost = losses(Link::default().loss(0.1), seed);
        let share = share_of(&lost);
        assert!((0.09..0.11).contains(&share), "seed {seed}: {share}");
        assert!(mean_burst(&lost) < 1.3, "seed {seed}");
    }
}

#[test]
fn burst_loss_loses_its_share_in_bursts_of_its_length() {
    for seed in seeds(5) {
        let lost = losses(Link::default().burst_loss(0.1, 5.0), seed);
        let (share, burst) = (share_of(&lost), mean_burst(&lost));
        assert!((0.08..0.12).contains(&share), "seed {seed}: {share}");
        assert!((4.5..5.5).contains(&burst), "seed {seed}: {burst}");
    }
}

#[test]
fn jitter_spreads_arrivals_and_reorders_only_where_it_may() {
    for seed in seeds(5) {
        let jittery = Link::with_delay(millis(20)).jitter(millis(30));
        let kept = arrivals(jittery.clone(), seed);
        let mixed = arrivals(jittery.reordering(), seed);
        assert!(kept.is_sorted(), "seed {seed}");
        assert!(!mixed.is_sorted(), "seed {seed}");
        let delays = mixed.iter().zip(0..).map(|(at, nth)| at.since(millisecond(nth)));
        let (least, most) =
            delays.fold((Duration::MAX, Duration::ZERO), |(least, most), delay| (least.min(delay), most.max(delay)));
        assert!((millis(20)..millis(21)).contains(&least), "seed {seed}: {least:?}");
        assert!((millis(49)..=millis(50)).contains(&most), "seed {seed}: {most:?}");
    }
}

#[test]
fn duplication_delivers_its_share_twice() {
    for seed in seeds(5) {
        let count = arrivals(Link::default().duplication(0.2), seed).len();
        assert!((11_800..12_200).contains(&count), "seed {seed}: {count} of 10,000");
    }
}

#[test]
fn a_bottleneck_keeps_its_rate_and_bounds_its_queue() {
    let link = Link::default().bottleneck(Bitrate::from_kilobits(80), millis(100));
    let mut carrier = Carrier::new(link, 1);
    // 100 bytes a millisecond are ten times what passes.
    let passed: Vec<_> = (0..10_000)
        .flat_map(|nth| {
            let now = millisecond(nth);
            carrier.carry(now, 100).map(move |at| (now, at))
        })
        .collect();
    assert!((1000..=1011).contains(&passed.len()), "{}", passed.len());
    let longest = passed.iter().map(|(now, at)| at.since(*now)).max();
    assert!((millis(100)..=millis(111)).contains(&longest.unwrap()), "{longest:?}");
}

#[test]
fn a_policer_keeps_its_rate_and_lets_nothing_wait() {
    let link = Link::with_delay(millis(5)).policer(Bitrate::from_kilobits(80), millis(100));
    let mut carrier = Carrier::new(link, 1);
    // 100 bytes a millisecond are ten times what passes.
    let mut arrivals: Vec<_> =
        (0..10_000).map(|nth| (millisecond(nth), carrier.carry(millisecond(nth), 100))).collect();
    let passed = arrivals.iter().filter(|(_, arrivals)| !arrivals.is_lost()).count();
    assert!((1000..=1011).contains(&passed), "{passed}");
    assert!(arrivals.iter_mut().all(|(now, arrivals)| arrivals.all(|at| at == *now + millis(5))));
}

#[test]
fn a_black_hole_swallows_long_packets_only() {
    let mut carrier = Carrier::new(Link::default().mtu(1300), 1);
    assert!(!carrier.carry(Time::ZERO, 1300).is_lost());
    assert!(carrier.carry(Time::ZERO, 1301).is_lost());
}

#[test]
fn a_stream_brings_everything_in_order_and_late_instead_of_never() {
    for seed in seeds(5) {
        let link = Link::with_delay(millis(10)).jitter(millis(20)).reordering().loss(0.3).mtu(1300);
        let mut carrier = Carrier::new(link, seed);
        let arrivals: Vec<_> = (0..1000).flat_map(|nth| carrier.carry_in_stream(millisecond(nth), 1400)).collect();
        assert_eq!(arrivals.len(), 1000, "seed {seed}");
        assert!(arrivals.is_sorted(), "seed {seed}");
        assert!(arrivals[999] > millisecond(1200), "seed {seed}: {}", arrivals[999]);
    }
}

#[test]
fn what_a_stream_sends_again_holds_up_nothing_else() {
    for seed in seeds(5) {
        let mut carrier = Carrier::new(Link::with_delay(millis(10)).loss(0.4), seed);
        for at in (0..1000).map(millisecond) {
            carrier.carry_in_stream(at, 100);
            assert!(carrier.carry(at, 100).all(|arrival| arrival == at + millis(10)), "seed {seed}");
        }
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in seeds(3) {
        let traces = [seed, seed, seed + 1].map(|seed| noisy_world(seed).trace());
        assert_eq!(traces[0], traces[1], "seed {seed}");
        assert_ne!(traces[0], traces[2], "seed {seed}");
    }
}

#[test]
fn a_trace_tells_datagrams_of_other_content_apart() {
    let traces = [1, 1, 2].map(|last_byte| {
        let (mut world, left, right) = two_hosts(1);
        let to = world.address(right);
        world.with_host(left, |left: &mut Pinger| left.say(Time::ZERO, to, vec![0, 0, last_byte]));
        world.run(secs(1));
        world.trace()
    });
    assert_eq!(traces[0], traces[1]);
    assert_ne!(traces[0], traces[2]);
}

#[test]
fn a_datagram_takes_both_links_and_the_way_between() {
    let (mut world, left, right) = two_hosts(1);
    world.uplink(left, Link::with_delay(millis(5)));
    world.downlink(right, Link::with_delay(millis(7)));
    world.between(left, right, &Link::with_delay(millis(30)));
    send(&mut world, left, right, 1);
    world.run(secs(1));
    let arrived = world.with_host(right, |right: &mut Pinger| right.pings[0].0);
    assert_eq!(arrived, Time::from_millis(42));
}

#[test]
fn a_narrow_way_passes_what_its_headers_leave_room_for() {
    let (mut world, left, right) = two_hosts(1);
    world.uplink(left, Link::default().mtu(1300));
    send(&mut world, left, right, 1272);
    send(&mut world, left, right, 1273);
    world.run(secs(1));
    assert_eq!(world.delivered(left, right).bytes, 1272);
}

#[test]
fn what_is_sent_to_a_stranger_is_counted() {
    let (mut world, left, _) = two_hosts(1);
    let victim: SocketAddr = "192.0.2.7:53".parse().unwrap();
    assert_eq!(world.sent_to(victim.ip()).packets, 0);
    world.with_host(left, |left: &mut Pinger| {
        left.stream(Time::ZERO, victim, 100, millis(1), 3);
    });
    world.run(secs(1));
    let traffic = world.sent_to(victim.ip());
    assert_eq!((traffic.packets, traffic.bytes), (3, 300));
}

#[test]
fn a_crashed_host_hears_nothing_until_it_is_started_again() {
    let (mut world, left, right) = two_hosts(1);
    world.crash(right);
    send(&mut world, left, right, 1);
    world.run(secs(1));
    world.restart(right, Pinger::default());
    send(&mut world, left, right, 1);
    world.run(secs(1));
    assert_eq!(world.with_host(right, |right: &mut Pinger| right.pings.len()), 1);
}

#[test]
fn a_host_that_moves_is_found_only_at_its_new_address() {
    let (mut world, left, right) = two_hosts(1);
    let before = world.address(right);
    let home = world.nat(INTERNET, NatKind::full_cone());
    let after = world.roam(right, home, Family::Both);
    let now = world.now();
    world.with_host(left, |left: &mut Pinger| left.ping(now, 0, before));
    let outwards = world.address(left);
    world.with_host(right, |right: &mut Pinger| right.ping(now, 0, outwards));
    world.run(secs(1));
    assert_eq!(world.with_host(right, |right: &mut Pinger| right.pings.len()), 0);
    let seen = world.with_host(left, |left: &mut Pinger| left.pings[0].1.ip());
    assert_eq!(seen, world.outer_address(home));
    assert!(after.iter().any(|address| matches!(address.ip(), IpAddr::V6(_))));
}

#[test]
fn a_suspended_host_wakes_late_and_has_missed_everything() {
    let (mut world, left, right) = two_hosts(1);
    let to = world.address(left);
    world.with_host(right, |right: &mut Pinger| right.ping(Time::from_millis(1000), 0, to));
    world.suspend(right, secs(5));
    send(&mut world, left, right, 1);
    world.run(secs(10));
    let (pings, woken) = world.with_host(right, |right: &mut Pinger| (right.pings.len(), right.woken.clone()));
    assert_eq!(pings, 0);
    assert_eq!(woken, [Time::from_millis(5000)]);
}

#[test]
fn a_fast_clock_shows_more_and_wakes_earlier() {
    let (mut world, left, right) = two_hosts(1);
    let clock = Clock { start: Time::ZERO, drift_ppm: 200 };
    world.set_clock(left, clock);
    let to = world.address(right);
    let at = Time::from_millis(100_020);
    world.with_host(left, |left: &mut Pinger| left.ping(at, 0, to));
    let came = world.wait_for(secs(200), |world| world.delivered(left, right).packets == 1);
    assert!(came);
    assert_eq!(world.now(), Time::from_millis(100_020));
    assert_eq!(world.now_at(left), Time::from_micros(100_040_004));
    assert_eq!(world.with_host(left, |left: &mut Pinger| left.woken[0]), at);
}

fn two_hosts(seed: u64) -> (World, HostId, HostId) {
    let mut world = World::new(seed);
    let [left, right] = ["left", "right"].map(|name| world.add(name, INTERNET, Family::Both, |_| Pinger::default()));
    (world, left, right)
}

fn send(world: &mut World, from: HostId, to: HostId, len: usize) {
    let to = world.address(to);
    let now = world.now();
    world.with_host(from, |from: &mut Pinger| from.stream(now, to, len, millis(1), 1));
}

/// Two hosts exchange a thousand datagrams over a link with every fault.
fn noisy_world(seed: u64) -> World {
    let (mut world, left, right) = two_hosts(seed);
    let link = Link::with_delay(millis(10)).jitter(millis(20)).reordering();
    world.uplink(left, link.loss(0.05).duplication(0.05));
    let slow = Link::default().bottleneck(Bitrate::from_kilobits(500), millis(50));
    world.downlink(right, slow.burst_loss(0.02, 3.0));
    let to = world.address(right);
    world.with_host(left, |left: &mut Pinger| left.stream(Time::ZERO, to, 200, millis(2), 1000));
    world.run(secs(5));
    world
}

/// For each of 100,000 datagrams, one a millisecond: is it lost?
fn losses(link: Link, seed: u64) -> Vec<bool> {
    let mut carrier = Carrier::new(link, seed);
    (0..100_000).map(|nth| carrier.carry(millisecond(nth), 100).is_lost()).collect()
}

/// When 10,000 datagrams arrive that are sent one a millisecond.
fn arrivals(link: Link, seed: u64) -> Vec<Time> {
    let mut carrier = Carrier::new(link, seed);
    (0..10_000).flat_map(|nth| carrier.carry(millisecond(nth), 100)).collect()
}

fn share_of(lost: &[bool]) -> f64 {
    count(lost, |lost| *lost) / count(lost, |_| true)
}

/// How many datagrams a burst takes on average.
fn mean_burst(lost: &[bool]) -> f64 {
    let bursts = lost.chunk_by(|a, b| a == b).filter(|run| run.first() == Some(&true));
    count(lost, |lost| *lost) / bursts.map(|_| 1.0).sum::<f64>()
}

fn count(lost: &[bool], is_counted: impl Fn(&bool) -> bool) -> f64 {
    lost.iter().filter(|lost| is_counted(lost)).map(|_| 1.0).sum()
}

fn millisecond(nth: u64) -> Time {
    Time::from_millis(nth)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}
