//! Who can punch whom: the virtual NATs behave as real ones do.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use meipo::units::Time;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::ping::{MIRRORS, Pinger, add_mirror, reflection};
use crate::world::link::Link;
use crate::world::nat::{NatKind, UdpPolicy};
use crate::world::{Family, HostId, INTERNET, NetworkId, TUNNEL, World, seeds};

#[test]
fn every_pair_of_nats_opens_exactly_where_it_can() {
    for seed in seeds(3) {
        for (left, left_class) in sides() {
            for (right, right_class) in sides() {
                for head_start in [Head::Left, Head::Right] {
                    let opened = punches(seed, &left, &right, head_start);
                    let expected = can_punch(left_class, right_class);
                    assert_eq!(opened, expected, "seed {seed}: {left:?} × {right:?}, {head_start:?} first");
                }
            }
        }
    }
}

#[test]
fn port_prediction_opens_a_sequential_nat() {
    for seed in seeds(20) {
        let mut pair = Pair::new(seed, &[NatKind::symmetric_sequential()], &[NatKind::port_restricted()]);
        let (left, right) = pair.reflections();
        let now = pair.world.now();
        pair.with_right(|right| {
            for ahead in 1..=4 {
                right.punch(now, SocketAddr::new(left.ip(), left.port() + ahead));
            }
        });
        pair.with_left(|left| left.punch(now, right));
        pair.world.run(secs(4));
        assert!(pair.is_open());
    }
}

#[test]
fn birthday_probing_opens_a_random_nat_as_often_as_arithmetic_says() {
    let seeds = seeds(20);
    let all = seeds.len();
    let (mut many, mut few) = (0, 0);
    for seed in seeds {
        many += usize::from(birthday(seed, 256, 1024));
        few += usize::from(birthday(seed, 64, 512));
    }
    if all > 1 {
        // 1 − (1 − 256/64512)^1024 = 98 %, and 1 − (1 − 64/64512)^512 = 40 %.
        assert!(many >= 17, "{many} of {all} with 256 sockets and 1024 probes");
        assert!((2..=14).contains(&few), "{few} of {all} with 64 sockets and 512 probes");
    }
}

#[test]
fn a_nat_forgets_an_idle_mapping_after_its_timeout() {
    for (idle, is_kept) in [(25, true), (35, false)] {
        let kind = NatKind::port_changed().timeout(secs(30));
        let mut pair = Pair::new(1, &[kind], &[]);
        let before = pair.reflections().0;
        pair.world.run(secs(idle));
        assert_eq!(pair.reflections().0 == before, is_kept, "after {idle} s");
    }
}

#[test]
fn a_datagram_from_outside_does_not_keep_a_mapping_alive() {
    let kind = NatKind::full_cone().timeout(secs(30));
    let mut pair = Pair::new(1, &[kind], &[]);
    let (left, _) = pair.reflections();
    let start = pair.world.now();
    // Answers would keep it alive as well, so the last ping before the timeout goes unanswered.
    let crashed = pair.left;
    pair.world.crash(crashed);
    pair.with_right(|right| right.stream(start, left, 1, secs(5), 5));
    pair.world.run(secs(32));
    pair.world.restart(crashed, Pinger::default());
    let now = pair.world.now();
    pair.with_right(|right| right.ping(now, 0, left));
    pair.world.run(secs(1));
    assert_eq!(pair.with_left(|left| left.pings.len()), 0);
}

#[test]
fn a_permission_ends_though_its_mapping_lives_on() {
    for (later, is_let_in) in [(5, true), (20, false)] {
        let kind = NatKind::port_restricted().timeout(secs(30));
        let mut pair = Pair::new(1, &[kind], &[]);
        let (left, _) = pair.reflections();
        let (now, right) = (pair.world.now(), pair.world.address(pair.right));
        pair.with_left(|left| left.ping(now, 0, right));
        pair.world.run(secs(15));
        assert_eq!(pair.reflections().0, left);
        pair.world.run(secs(later));
        let now = pair.world.now();
        pair.with_right(|right| right.ping(now, 0, left));
        pair.world.run(secs(1));
        assert_eq!(pair.with_left(|left| left.pings.len() == 1), is_let_in, "{later} s later");
    }
}

#[test]
fn an_early_probe_from_outside_takes_no_port() {
    let mut pair = Pair::new(1, &[NatKind::port_restricted()], &[]);
    let outer = pair.left_outer();
    let right = pair.world.address(pair.right);
    let now = pair.world.now();
    pair.with_right(|right| right.ping(now, 0, SocketAddr::new(outer, 5000)));
    pair.world.run(secs(1));
    let now = pair.world.now();
    pair.with_left(|left| left.ping(now, 0, right));
    pair.world.run(secs(1));
    let seen = pair.with_right(|right| right.pings.clone());
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].1, SocketAddr::new(outer, 5000), "the port is preserved");
}

#[test]
fn hairpinning_is_what_lets_two_clients_meet_at_their_outer_addresses() {
    for (kind, is_open) in [(NatKind::port_restricted(), false), (NatKind::port_restricted().hairpinning(), true)] {
        let mut world = World::new(1);
        add_mirror(&mut world);
        let carrier = world.carrier(kind);
        let homes = [(); 2].map(|()| world.nat(carrier, NatKind::port_restricted()));
        let [left, right] = homes.map(|home| world.add("client", home, Family::V4, |_| Pinger::default()));
        assert_eq!(opens(&mut world, left, right, Head::Left), is_open);
    }
}

#[test]
fn two_clients_of_one_nat_get_two_ports_and_meet_inside() {
    let mut world = World::new(1);
    add_mirror(&mut world);
    let home = world.nat(INTERNET, NatKind::port_restricted());
    let [left, right] = [(); 2].map(|()| world.add("client", home, Family::V4, |_| Pinger::default()));
    let seen = [left, right].map(|host| reflection(&mut world, host, MIRRORS[0]).expect("a reflection"));
    assert_eq!(seen[0].ip(), seen[1].ip());
    assert_ne!(seen[0].port(), seen[1].port());
    let inside = world.address(right);
    let now = world.now();
    world.with_host(left, |left: &mut Pinger| left.ping(now, 0, inside));
    world.run(secs(1));
    assert_eq!(world.with_host(left, |left: &mut Pinger| left.pongs.len()), 1);
}

#[test]
fn a_rebinding_changes_the_outer_port_and_shuts_the_old_one() {
    let mut pair = Pair::new(1, &[NatKind::full_cone()], &[]);
    let (before, _) = pair.reflections();
    pair.world.note("the interesting moment");
    let network = pair.left_network.expect("behind a NAT");
    pair.world.rebind(network);
    let (after, _) = pair.reflections();
    let now = pair.world.now();
    pair.with_right(|right| right.ping(now, 0, before));
    pair.world.run(secs(1));
    assert_ne!(before.port(), after.port());
    assert_eq!(pair.with_left(|left| left.pings.len()), 0);
    assert!(pair.world.story().contains("the interesting moment"));
}

#[test]
fn the_mapping_of_each_nat_shows_itself_to_four_addresses() {
    // RFC 5780 §4.3: the same port to all; another to another address; another to another port.
    for (kind, expected) in [
        (NatKind::port_changed(), [true, true, true]),
        (NatKind::symmetric_by_address(), [true, false, false]),
        (NatKind::symmetric_random(), [false, false, false]),
    ] {
        let mut world = World::new(1);
        add_mirror(&mut world);
        let home = world.nat(INTERNET, kind);
        let host = world.add("client", home, Family::V4, |_| Pinger::default());
        let [first, others @ ..] = MIRRORS.map(|mirror| reflection(&mut world, host, mirror).expect("a reflection"));
        assert_eq!(others.map(|other| other == first), expected);
    }
}

#[test]
fn a_policy_lets_only_some_ports_out() {
    let kind = NatKind::port_restricted().udp(UdpPolicy::OnlyTo(vec![1936]));
    let mut pair = Pair::new(1, &[kind], &[]);
    assert_eq!(reflection(&mut pair.world, pair.left, MIRRORS[0]), None);
    assert!(reflection(&mut pair.world, pair.left, MIRRORS[1]).is_some());
}

#[test]
fn a_tunnel_passes_where_udp_is_blocked_and_loses_nothing() {
    let mut pair = Pair::new(1, &[NatKind::udp_blocked()], &[]);
    let left = pair.left;
    pair.world.uplink(left, Link::with_delay(Duration::from_millis(10)).loss(0.3));
    let right = pair.world.address(pair.right);
    let now = pair.world.now();
    pair.with_left(|left| {
        left.ping(now, 0, right);
        (0..100).for_each(|_| left.ping(now, TUNNEL, right));
    });
    pair.world.run(secs(10));
    assert_eq!(pair.with_right(|right| right.pings.len()), 100);
    let sockets: Vec<u16> = pair.with_left(|left| left.pongs.iter().map(|(_, socket, _)| *socket).collect());
    assert_eq!(sockets, [TUNNEL; 100]);
}

#[test]
fn an_ipv6_firewall_lets_in_only_answers() {
    let mut world = World::new(1);
    let homes = [(); 2].map(|()| world.nat(INTERNET, NatKind::symmetric_random()));
    let [left, right] = homes.map(|home| world.add("client", home, Family::V6, |_| Pinger::default()));
    let [left_at, right_at] = [left, right].map(|host| world.address(host));
    let now = world.now();
    world.with_host(left, |left: &mut Pinger| left.ping(now, 0, right_at));
    world.run(secs(1));
    assert_eq!(world.with_host(right, |right: &mut Pinger| right.pings.len()), 0);

    let now = world.now();
    world.with_host(left, |left: &mut Pinger| left.punch(now, right_at));
    world.with_host(right, |right: &mut Pinger| right.punch(now, left_at));
    world.run(secs(4));
    assert!(world.with_host(left, |left: &mut Pinger| !left.pongs.is_empty()));
    assert_eq!(world.with_host(right, |right: &mut Pinger| right.pings[0].1), left_at);
}

#[test]
fn every_ipv6_firewall_on_the_way_has_its_say() {
    let mut world = World::new(1);
    let outer = world.carrier(NatKind::port_restricted());
    let inner = world.nat(outer, NatKind::port_restricted());
    let left = world.add("left", inner, Family::V6, |_| Pinger::default());
    let right = world.add("right", INTERNET, Family::V6, |_| Pinger::default());
    let [left_at, right_at] = [left, right].map(|host| world.address(host));
    for (forgetful, let_in) in [(None, 1), (Some(outer), 0), (Some(inner), 0)] {
        let now = world.now();
        world.with_host(left, |left: &mut Pinger| left.ping(now, 0, right_at));
        world.run(secs(1));
        if let Some(network) = forgetful {
            world.rebind(network);
        }
        let (now, before) = (world.now(), world.with_host(left, |left: &mut Pinger| left.pings.len()));
        world.with_host(right, |right: &mut Pinger| right.ping(now, 0, left_at));
        world.run(secs(1));
        let after = world.with_host(left, |left: &mut Pinger| left.pings.len());
        assert_eq!(after - before, let_in, "{forgetful:?}");
    }
}

/// How a side answers to being punched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Class {
    /// Takes what comes from an address it sent to, whatever the port, or from anyone.
    Open,
    /// One mapping for all, but only exact answers.
    Restricted,
    Symmetric,
    Blocked,
}

/// Who begins, half a second before the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Head {
    Left,
    Right,
}

fn can_punch(left: Class, right: Class) -> bool {
    use Class::{Blocked, Open, Restricted};
    match (left, right) {
        (Blocked, _) | (_, Blocked) => false,
        (Open, _) | (_, Open) | (Restricted, Restricted) => true,
        _ => false,
    }
}

/// All sides: the NATs a host is behind, the outermost first.
fn sides() -> Vec<(Vec<NatKind>, Class)> {
    vec![
        (vec![], Class::Open),
        (vec![NatKind::full_cone()], Class::Open),
        (vec![NatKind::address_restricted()], Class::Open),
        (vec![NatKind::port_restricted()], Class::Restricted),
        (vec![NatKind::port_changed()], Class::Restricted),
        (vec![NatKind::symmetric_by_address()], Class::Symmetric),
        (vec![NatKind::symmetric_random()], Class::Symmetric),
        (vec![NatKind::symmetric_sequential()], Class::Symmetric),
        (vec![NatKind::port_restricted(), NatKind::port_restricted()], Class::Restricted),
        (vec![NatKind::full_cone(), NatKind::port_changed()], Class::Restricted),
        (vec![NatKind::port_restricted(), NatKind::symmetric_random()], Class::Symmetric),
        (vec![NatKind::udp_blocked()], Class::Blocked),
    ]
}

fn punches(seed: u64, left: &[NatKind], right: &[NatKind], head_start: Head) -> bool {
    let Pair { mut world, left, right, .. } = Pair::new(seed, left, right);
    opens(&mut world, left, right, head_start)
}

/// Both ask the mirror, both punch at what the other saw there; one round trip proves the way.
fn opens(world: &mut World, left: HostId, right: HostId, head_start: Head) -> bool {
    let seen = [left, right].map(|host| reflection(world, host, MIRRORS[0]));
    let [Some(left_seen), Some(right_seen)] = seen else {
        return false;
    };
    let (now, later) = (world.now(), world.now() + Duration::from_millis(500));
    let (left_start, right_start) = match head_start {
        Head::Left => (now, later),
        Head::Right => (later, now),
    };
    world.with_host(left, |pinger: &mut Pinger| pinger.punch(left_start, right_seen));
    world.with_host(right, |pinger: &mut Pinger| pinger.punch(right_start, left_seen));
    world.run(secs(5));
    [left, right].into_iter().any(|host| world.with_host(host, |pinger: &mut Pinger| !pinger.pongs.is_empty()))
}

/// The left opens `sockets` sockets towards the right, the right probes `probes` random ports.
fn birthday(seed: u64, sockets: u16, probes: u32) -> bool {
    let mut pair = Pair::new(seed, &[NatKind::symmetric_random()], &[NatKind::port_restricted()]);
    let (left, right) = pair.reflections();
    let now = pair.world.now();
    pair.with_left(|left| (1..=sockets).for_each(|socket| left.ping(now, socket, right)));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    pair.with_right(|right| {
        for nth in 0..probes {
            let port = 1024 + u16::try_from(rng.next_u32() % 64512).expect("below 64512");
            right.ping(now + Duration::from_millis(5) * nth, 0, SocketAddr::new(left.ip(), port));
        }
    });
    pair.world.run(secs(8));
    let is_left_heard = |from: SocketAddr| from.ip() == left.ip();
    pair.with_right(|right| right.pongs.iter().any(|(_, _, from)| is_left_heard(*from)))
}

/// Two pinging hosts, each behind some NATs, and a mirror on the Internet.
struct Pair {
    world: World,
    left: HostId,
    right: HostId,
    left_network: Option<NetworkId>,
}

impl Pair {
    fn new(seed: u64, left: &[NatKind], right: &[NatKind]) -> Self {
        let mut world = World::new(seed);
        add_mirror(&mut world);
        let [left_network, right_network] = [left, right].map(|kinds| {
            let inwards = |outer, kind: &NatKind| world.nat(outer, kind.clone());
            kinds.iter().fold(INTERNET, inwards)
        });
        let left = world.add("left", left_network, Family::V4, |_| Pinger::default());
        let right = world.add("right", right_network, Family::V4, |_| Pinger::default());
        let left_network = (left_network != INTERNET).then_some(left_network);
        Pair { world, left, right, left_network }
    }

    fn reflections(&mut self) -> (SocketAddr, SocketAddr) {
        let [left, right] =
            [self.left, self.right].map(|host| reflection(&mut self.world, host, MIRRORS[0]).expect("a reflection"));
        (left, right)
    }

    fn left_outer(&mut self) -> IpAddr {
        self.world.outer_address(self.left_network.expect("behind a NAT"))
    }

    fn with_left<R>(&mut self, act: impl FnOnce(&mut Pinger) -> R) -> R {
        self.world.with_host(self.left, act)
    }

    fn with_right<R>(&mut self, act: impl FnOnce(&mut Pinger) -> R) -> R {
        self.world.with_host(self.right, act)
    }

    fn is_open(&mut self) -> bool {
        self.with_left(|left| !left.pongs.is_empty()) && self.with_right(|right| !right.pongs.is_empty())
    }
}

fn secs(count: u64) -> Duration {
    Time::from_millis(count * 1000).since(Time::ZERO)
}
