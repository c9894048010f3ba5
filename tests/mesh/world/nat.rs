//! A network address translator in the words of RFC 4787, and the stateful firewall of IPv6.
//!
//! The source and destination of a datagram go in, translated or refused they come out. A datagram
//! from outside never creates, keeps alive or occupies anything.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use meipo::units::Time;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::chance::below;

/// What a mapping or a filter looks at besides the inner endpoint (RFC 4787 §4.1, §5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dependence {
    /// Nothing: one mapping for all destinations; anyone may answer.
    EndpointIndependent,
    /// The outer address.
    Address,
    /// The outer address and port.
    AddressAndPort,
}

/// How the outer port of a new mapping is chosen (RFC 4787 §4.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PortChoice {
    /// The inner port, or the next free one.
    Preserve,
    /// Any free one.
    Random,
    /// One more than the last.
    Sequential,
}

/// Which UDP datagrams may leave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum UdpPolicy {
    /// All.
    Open,
    /// None.
    Blocked,
    /// Those to these ports.
    OnlyTo(Vec<u16>),
}

/// What a packet belongs to; mappings and filters of the two have nothing to do with each other.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Protocol {
    Udp,
    /// A connection that carries datagrams where UDP is blocked.
    Tcp,
}

/// Everything that tells one NAT from another.
#[derive(Clone, Debug)]
pub(crate) struct NatKind {
    pub(crate) mapping: Dependence,
    pub(crate) filtering: Dependence,
    pub(crate) ports: PortChoice,
    pub(crate) timeout: Duration,
    pub(crate) is_hairpinning: bool,
    pub(crate) udp: UdpPolicy,
}

impl NatKind {
    /// EIM, EIF: the port is open to everyone once it was used.
    pub(crate) fn full_cone() -> Self {
        let filtering = Dependence::EndpointIndependent;
        NatKind { filtering, ..NatKind::port_restricted() }
    }

    /// EIM, ADF.
    pub(crate) fn address_restricted() -> Self {
        let filtering = Dependence::Address;
        NatKind { filtering, ..NatKind::port_restricted() }
    }

    /// EIM, APDF, port preserved: the usual router at home.
    pub(crate) fn port_restricted() -> Self {
        NatKind {
            mapping: Dependence::EndpointIndependent,
            filtering: Dependence::AddressAndPort,
            ports: PortChoice::Preserve,
            timeout: DEFAULT_TIMEOUT,
            is_hairpinning: false,
            udp: UdpPolicy::Open,
        }
    }

    /// EIM, APDF, another port than inside.
    pub(crate) fn port_changed() -> Self {
        let ports = PortChoice::Random;
        NatKind { ports, ..NatKind::port_restricted() }
    }

    /// ADM, APDF: symmetric by address.
    pub(crate) fn symmetric_by_address() -> Self {
        let mapping = Dependence::Address;
        NatKind { mapping, ..NatKind::port_changed() }
    }

    /// APDM, APDF, a random port for each destination.
    pub(crate) fn symmetric_random() -> Self {
        let mapping = Dependence::AddressAndPort;
        NatKind { mapping, ..NatKind::port_changed() }
    }

    /// APDM, APDF, the next port for each destination.
    pub(crate) fn symmetric_sequential() -> Self {
        let ports = PortChoice::Sequential;
        NatKind { ports, ..NatKind::symmetric_random() }
    }

    /// No UDP passes.
    pub(crate) fn udp_blocked() -> Self {
        NatKind::port_restricted().udp(UdpPolicy::Blocked)
    }

    /// The same NAT with another policy for UDP.
    pub(crate) fn udp(self, udp: UdpPolicy) -> Self {
        NatKind { udp, ..self }
    }

    /// The same NAT, forgetting after `timeout` without a datagram from inside.
    pub(crate) fn timeout(self, timeout: Duration) -> Self {
        NatKind { timeout, ..self }
    }

    /// The same NAT, letting inner hosts reach each other by their outer addresses.
    pub(crate) fn hairpinning(self) -> Self {
        let is_hairpinning = true;
        NatKind { is_hairpinning, ..self }
    }
}

/// One translator with one outer address.
#[derive(Debug)]
pub(crate) struct Nat {
    kind: NatKind,
    address: Ipv4Addr,
    mappings: BTreeMap<Key, Mapping>,
    flows: BTreeMap<(Protocol, SocketAddrV6, SocketAddrV6), Time>,
    rng: ChaCha8Rng,
    last_port: u16,
}

/// What chooses a mapping: the inner endpoint and as much of the outer one as the kind looks at.
type Key = (Protocol, SocketAddrV4, Option<Ipv4Addr>, Option<u16>);

#[derive(Debug)]
struct Mapping {
    port: u16,
    expires: Time,
    /// Outer endpoints that were sent to, and until when they may answer.
    permissions: BTreeMap<SocketAddrV4, Time>,
}

impl Nat {
    /// A translator that knows nobody yet.
    pub(crate) fn new(kind: NatKind, address: Ipv4Addr, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let last_port = FIRST_PORT + below(&mut rng, PORTS);
        Nat { kind, address, mappings: BTreeMap::new(), flows: BTreeMap::new(), rng, last_port }
    }

    /// The outer address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Whether inner hosts reach each other by their outer addresses.
    pub(crate) fn is_hairpinning(&self) -> bool {
        self.kind.is_hairpinning
    }

    /// Forgets all mappings and flows; the next datagrams get others.
    pub(crate) fn rebind(&mut self) {
        self.mappings.clear();
        self.flows.clear();
        self.last_port = FIRST_PORT + below(&mut self.rng, PORTS);
        if self.kind.ports == PortChoice::Preserve {
            // A preserved port would come back as if nothing had happened.
            self.kind.ports = PortChoice::Random;
        }
    }

    /// The outer source of a datagram from inside, or `None` when it may not leave.
    pub(crate) fn outbound(
        &mut self,
        now: Time,
        protocol: Protocol,
        from: SocketAddrV4,
        to: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        if !self.may_leave(protocol, to.port()) {
            return None;
        }
        self.forget_expired(now);
        let key = self.key(protocol, from, to);
        if !self.mappings.contains_key(&key) {
            let port = self.free_port(from.port())?;
            let permissions = BTreeMap::new();
            let expires = now;
            self.mappings.insert(key, Mapping { port, expires, permissions });
        }
        let expires = now + self.kind.timeout;
        let mapping = self.mappings.get_mut(&key)?;
        mapping.expires = expires;
        mapping.permissions.insert(to, expires);
        Some(SocketAddrV4::new(self.address, mapping.port))
    }

    /// The inner destination of a datagram from outside, or `None` when it may not enter.
    pub(crate) fn inbound(&self, now: Time, protocol: Protocol, from: SocketAddrV4, port: u16) -> Option<SocketAddrV4> {
        let mut mappings = self.mappings.iter().filter(|((of, ..), _)| *of == protocol);
        let ((_, inner, ..), mapping) = mappings.find(|(_, m)| m.port == port && m.expires > now)?;
        let mut permitted = mapping.permissions.iter().filter(|(_, until)| **until > now);
        let may_enter = match self.kind.filtering {
            Dependence::EndpointIndependent => true,
            Dependence::Address => permitted.any(|(to, _)| to.ip() == from.ip()),
            Dependence::AddressAndPort => permitted.any(|(to, _)| *to == from),
        };
        let is_blocked = protocol == Protocol::Udp && self.kind.udp == UdpPolicy::Blocked;
        (may_enter && !is_blocked).then_some(*inner)
    }

    /// Whether an IPv6 datagram from inside may leave; if so, its answers may enter.
    pub(crate) fn outbound_v6(&mut self, now: Time, protocol: Protocol, from: SocketAddrV6, to: SocketAddrV6) -> bool {
        if !self.may_leave(protocol, to.port()) {
            return false;
        }
        self.flows.insert((protocol, from, to), now + self.kind.timeout);
        true
    }

    /// Whether an IPv6 datagram from outside answers one from inside.
    pub(crate) fn admits_v6(&self, now: Time, protocol: Protocol, from: SocketAddrV6, to: SocketAddrV6) -> bool {
        self.flows.get(&(protocol, to, from)).is_some_and(|until| *until > now)
    }

    fn may_leave(&self, protocol: Protocol, port: u16) -> bool {
        let is_allowed = match &self.kind.udp {
            UdpPolicy::Open => true,
            UdpPolicy::Blocked => false,
            UdpPolicy::OnlyTo(ports) => ports.contains(&port),
        };
        is_allowed || protocol == Protocol::Tcp
    }

    fn key(&self, protocol: Protocol, from: SocketAddrV4, to: SocketAddrV4) -> Key {
        match self.kind.mapping {
            Dependence::EndpointIndependent => (protocol, from, None, None),
            Dependence::Address => (protocol, from, Some(*to.ip()), None),
            Dependence::AddressAndPort => (protocol, from, Some(*to.ip()), Some(to.port())),
        }
    }

    fn forget_expired(&mut self, now: Time) {
        self.mappings.retain(|_, mapping| mapping.expires > now);
    }

    fn free_port(&mut self, inner: u16) -> Option<u16> {
        let mut port = match self.kind.ports {
            PortChoice::Preserve => inner,
            PortChoice::Random => FIRST_PORT + below(&mut self.rng, PORTS),
            PortChoice::Sequential => port_after(self.last_port),
        };
        for _ in 0..=PORTS {
            if self.mappings.values().all(|mapping| mapping.port != port) {
                self.last_port = port;
                return Some(port);
            }
            port = port_after(port);
        }
        None
    }
}

/// The two ends of a datagram, when both are of one family.
pub(crate) enum Ends {
    V4(SocketAddrV4, SocketAddrV4),
    V6(SocketAddrV6, SocketAddrV6),
}

impl Ends {
    /// The ends, or `None` when no datagram can have them.
    pub(crate) fn of(from: SocketAddr, to: SocketAddr) -> Option<Ends> {
        match (from, to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => Some(Ends::V4(from, to)),
            (SocketAddr::V6(from), SocketAddr::V6(to)) => Some(Ends::V6(from, to)),
            (SocketAddr::V4(_), SocketAddr::V6(_)) | (SocketAddr::V6(_), SocketAddr::V4(_)) => None,
        }
    }
}

fn port_after(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(FIRST_PORT)
}

/// RFC 4787 REQ-5 asks for two minutes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// Well-known ports are never given out.
const FIRST_PORT: u16 = 1024;

const PORTS: u16 = u16::MAX - FIRST_PORT;
