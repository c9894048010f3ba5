//! Who can punch whom: the boxes behave as the NATs they stand for, before anything is proved in them.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::lab::{Lab, NatBox, Ns};
use crate::rules::{NatKind, Rules};

#[test]
fn every_pair_of_nats_opens_exactly_where_it_can() {
    let Some(lab) = Lab::new() else { return };
    let mirror = Mirror::new(&lab);
    let [lefts, rights] = [(); 2].map(|()| sides(&lab));
    let mut wrong = Vec::new();
    for (left, left_name, left_class) in &lefts {
        for (right, right_name, right_class) in &rights {
            let opened = mirror.opens(left, right);
            if opened != can_punch(*left_class, *right_class) {
                wrong.push(format!("{left_name} first × {right_name}: {opened}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn port_prediction_opens_a_sequential_nat() {
    let Some(lab) = Lab::new() else { return };
    let mirror = Mirror::new(&lab);
    let [left, right] = [NatKind::SymmetricSequential, NatKind::PortRestricted].map(|kind| behind(&lab, kind));
    let (left, right) = (Puncher::new(&left), Puncher::new(&right));
    let left_seen = mirror.reflection(&left).unwrap();
    let right_seen = mirror.reflection(&right).unwrap();
    let ahead = |by: u16| SocketAddr::new(left_seen.ip(), 50_000 + (left_seen.port() - 50_000 + by) % 64);
    (1..=4).for_each(|by| right.send(PING, ahead(by)));
    assert!(punch(&left, right_seen, &right, ahead(1)));
}

#[test]
fn birthday_probing_opens_a_random_nat() {
    let Some(lab) = Lab::new() else { return };
    let mirror = Mirror::new(&lab);
    let [left, right] = [NatKind::SymmetricRandom, NatKind::PortRestricted].map(|kind| behind(&lab, kind));
    // One round opens it with 98 %: 1 − (1 − 256/64512)^1024.
    let rounds = (0..4).filter(|round| birthday(&mirror, &left, &right, 1 + round)).count();
    assert!(rounds > 0);
}

#[test]
fn an_ipv6_firewall_lets_in_only_answers() {
    let Some(lab) = Lab::new() else { return };
    let [left, right] = [NatKind::PortRestricted, NatKind::SymmetricRandom].map(|kind| behind(&lab, kind));
    let (left, right) = (Puncher::new_v6(&left), Puncher::new_v6(&right));
    left.send(PING, right.local());
    assert_eq!(right.receive(WAIT), None);
    assert!(punch(&left, right.local(), &right, left.local()));
}

#[test]
fn clients_of_a_hairpinning_box_meet_at_their_outer_addresses() {
    let Some(lab) = Lab::new() else { return };
    let mirror = Mirror::new(&lab);
    for (kind, is_open) in [(NatKind::Hairpinning, true), (NatKind::PortRestricted, false)] {
        let nat = lab.nat(kind);
        let [left, right] = [(); 2].map(|()| lab.client(&nat));
        assert_eq!(mirror.opens(&left, &right), is_open, "{kind:?}");
    }
}

#[test]
fn a_rebinding_gives_another_port_and_a_flush_the_same() {
    let Some(lab) = Lab::new() else { return };
    let mirror = Mirror::new(&lab);
    let nat = lab.nat(NatKind::PortRestricted);
    let client = Puncher::new(&lab.client(&nat));
    let first = mirror.reflection(&client);
    lab.flush(&nat);
    assert_eq!(mirror.reflection(&client), first);
    lab.rebind(&nat);
    let second = mirror.reflection(&client);
    lab.rebind(&nat);
    let third = mirror.reflection(&client);
    assert_eq!(first.map(|address| address.ip()), Some(nat.wan().into()));
    assert!(first != second && second != third, "{first:?} {second:?} {third:?}");
}

#[test]
fn a_box_lets_udp_out_to_few_ports_only() {
    let Some(lab) = Lab::new() else { return };
    let rendezvous = lab.rendezvous_host();
    let client = Puncher::new(&behind(&lab, NatKind::UdpToFewPorts));
    for (port, is_open) in [(443, true), (1935, false)] {
        let mirror = Mirror::at(&rendezvous, port);
        assert_eq!(mirror.reflection(&client).is_some(), is_open, "port {port}");
    }
}

#[test]
fn a_narrow_box_swallows_long_packets_and_a_lossy_one_its_share() {
    let Some(lab) = Lab::new() else { return };
    let mirror = Mirror::new(&lab);
    let nat = lab.nat(NatKind::PortRestricted);
    let client = Puncher::new(&lab.client(&nat));
    let mut rules = Rules::new(NatKind::PortRestricted);
    rules.mtu = Some(1300);
    lab.apply(&nat, rules);
    client.send(&[0; 1273], mirror.puncher.local());
    client.send(&[0; 1272], mirror.puncher.local());
    assert_eq!(mirror.puncher.receive(WAIT).map(|(bytes, _)| bytes.len()), Some(1272));

    rules.loss_permille = 500;
    lab.apply(&nat, rules);
    assert_eq!(nat.rules().loss_permille, 500);
    (0..200).for_each(|_| client.send(PING, mirror.puncher.local()));
    let arrived = std::iter::from_fn(|| mirror.puncher.receive(WAIT)).count();
    assert!((60..140).contains(&arrived), "{arrived} of 200");
}

#[test]
fn packets_with_an_address_are_counted() {
    let Some(lab) = Lab::new() else { return };
    let mirror = Mirror::new(&lab);
    let host = lab.public_client();
    let client = Puncher::new(&host);
    host.count_udp_with(&[mirror.puncher.local().ip(), Ipv6Addr::LOCALHOST.into()]);
    assert_eq!(host.udp_counted(), 0);
    client.send(PING, mirror.puncher.local());
    client.send(PING, "198.51.100.250:9".parse().unwrap());
    assert!(mirror.puncher.receive(WAIT).is_some());
    assert_eq!(host.udp_counted(), 1);
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Class {
    Open,
    Restricted,
    Symmetric,
    Blocked,
}

fn can_punch(left: Class, right: Class) -> bool {
    match (left, right) {
        (Class::Blocked, _) | (_, Class::Blocked) => false,
        (Class::Open, _) | (_, Class::Open) | (Class::Restricted, Class::Restricted) => true,
        (Class::Restricted | Class::Symmetric, Class::Restricted | Class::Symmetric) => false,
    }
}

/// A client behind each kind of NAT.
fn sides(lab: &Lab) -> Vec<(Ns, String, Class)> {
    let kinds = [
        (NatKind::FullCone, Class::Open),
        (NatKind::AddressRestricted, Class::Open),
        (NatKind::PortRestricted, Class::Restricted),
        (NatKind::PortChanged, Class::Restricted),
        (NatKind::SymmetricByAddress, Class::Symmetric),
        (NatKind::SymmetricRandom, Class::Symmetric),
        (NatKind::SymmetricSequential, Class::Symmetric),
        (NatKind::UdpBlocked, Class::Blocked),
    ];
    let single = |(kind, class)| (behind(lab, kind), format!("{kind:?}"), class);
    let mut sides: Vec<_> = kinds.into_iter().map(single).collect();
    let carrier = lab.carrier(NatKind::PortRestricted);
    let home: NatBox = lab.nat_behind(&carrier, NatKind::PortRestricted);
    sides.push((lab.client(&home), "double NAT".to_owned(), Class::Restricted));
    sides.push((lab.public_client(), "no NAT".to_owned(), Class::Open));
    sides
}

fn behind(lab: &Lab, kind: NatKind) -> Ns {
    lab.client(&lab.nat(kind))
}

/// A socket on the rendezvous host that sees how others look.
struct Mirror {
    puncher: Puncher,
}

impl Mirror {
    fn new(lab: &Lab) -> Self {
        Mirror::at(&lab.rendezvous_host(), 3478)
    }

    fn at(host: &Ns, port: u16) -> Self {
        let puncher = Puncher::bound(host, SocketAddr::new(host.v4.into(), port));
        Mirror { puncher }
    }

    /// How `client` looks from here, or `None` when nothing arrives.
    fn reflection(&self, client: &Puncher) -> Option<SocketAddr> {
        client.send(PING, self.puncher.local());
        self.puncher.receive(WAIT).map(|(_, from)| from)
    }

    /// Whether fresh sockets of two clients come to hear each other, `left` sending first.
    fn opens(&self, left: &Ns, right: &Ns) -> bool {
        let (left, right) = (Puncher::new(left), Puncher::new(right));
        match (self.reflection(&left), self.reflection(&right)) {
            (Some(left_seen), Some(right_seen)) => {
                left.send(PING, right_seen);
                right.answer(SHORT_WAIT);
                punch(&left, right_seen, &right, left_seen)
            }
            _ => false,
        }
    }
}

/// A socket on some host that pings and answers.
struct Puncher(UdpSocket);

impl Puncher {
    fn new(host: &Ns) -> Self {
        Puncher::bound(host, SocketAddr::new(host.v4.into(), 0))
    }

    fn new_v6(host: &Ns) -> Self {
        let address = host.v6.expect("an IPv6 address");
        Puncher::bound(host, SocketAddr::new(address.into(), 0))
    }

    fn bound(host: &Ns, local: SocketAddr) -> Self {
        Puncher(host.enter(|| UdpSocket::bind(local).expect("a free port")))
    }

    fn local(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket")
    }

    fn send(&self, bytes: &[u8], to: SocketAddr) {
        self.0.send_to(bytes, to).expect("a socket that can send");
    }

    /// The next datagram, or `None` when none comes within `limit`.
    fn receive(&self, limit: Duration) -> Option<(Vec<u8>, SocketAddr)> {
        self.0.set_read_timeout(Some(limit)).expect("a limit above zero");
        let mut buffer = [0; 2048];
        match self.0.recv_from(&mut buffer) {
            Ok((len, from)) => Some((buffer.get(..len)?.to_vec(), from)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("receiving: {error}"),
        }
    }

    /// Answers pings until silence; whether one of its own was answered.
    fn answer(&self, limit: Duration) -> bool {
        while let Some((bytes, from)) = self.receive(limit) {
            if bytes == PONG {
                return true;
            }
            self.send(PONG, from);
        }
        false
    }
}

/// Both sides ping where they see each other; one round trip proves the way.
fn punch(left: &Puncher, right_seen: SocketAddr, right: &Puncher, left_seen: SocketAddr) -> bool {
    (0..4).any(|_| {
        left.send(PING, right_seen);
        right.send(PING, left_seen);
        left.answer(SHORT_WAIT) || right.answer(SHORT_WAIT)
    })
}

/// Opens 256 sockets on the left, probes 1024 ports from the right.
fn birthday(mirror: &Mirror, left: &Ns, right: &Ns, seed: u32) -> bool {
    let lefts: Vec<Puncher> = (0..256).map(|_| Puncher::new(left)).collect();
    let right = Puncher::new(right);
    let right_seen = mirror.reflection(&right).expect("UDP passes");
    let outer: IpAddr = lefts.first().and_then(|left| mirror.reflection(left)).expect("UDP passes").ip();
    lefts.iter().for_each(|left| left.send(PING, right_seen));
    let mut state = seed;
    for _ in 0..1024 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let port = 1024 + u16::try_from((state >> 8) % 64_512).expect("below 64512");
        right.send(PING, SocketAddr::new(outer, port));
    }
    // A probe that came through waits in one of the sockets; its answer comes back the same way.
    lefts.iter().for_each(|left| {
        left.0.set_nonblocking(true).expect("a socket");
        while let Some((_, from)) = left.receive(WAIT) {
            left.send(PONG, from);
        }
    });
    right.answer(WAIT)
}

const PING: &[u8] = b"?";
const PONG: &[u8] = b"!";

/// Long enough for a packet between two namespaces on a busy machine.
const WAIT: Duration = Duration::from_millis(300);
const SHORT_WAIT: Duration = Duration::from_millis(40);
