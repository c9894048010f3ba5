//! Who is where: networks, the gateways between them, and the way of one datagram through them.
//!
//! IPv4 is translated at each gateway it crosses, IPv6 only filtered.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use meipo::units::Time;

use super::HostId;
use super::nat::{Ends, Nat, NatKind, Protocol};

/// A network: the Internet, or what lies behind one gateway.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct NetworkId(usize);

/// The network everyone can reach.
pub(crate) const INTERNET: NetworkId = NetworkId(0);

/// Which addresses a host has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Family {
    V4,
    V6,
    Both,
}

/// Why a datagram went no further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    NoSuchAddress,
    MixedFamilies,
    Outbound,
    Inbound,
    Hairpin,
}

#[derive(Debug)]
pub(crate) struct Topology {
    networks: Vec<Network>,
}

#[derive(Debug)]
struct Network {
    gateway: Option<Gateway>,
    prefix: [u8; 3],
    residents: BTreeMap<IpAddr, Resident>,
    next_address: u16,
}

#[derive(Debug)]
struct Gateway {
    outer: NetworkId,
    nat: Nat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Resident {
    Host(HostId),
    /// The gateway of this inner network.
    Gateway(NetworkId),
}

impl Topology {
    pub(crate) fn new() -> Self {
        Topology { networks: vec![Network::new(None, [203, 0, 113])] }
    }

    /// Adds a network behind a gateway on `outer`; its hosts live in `first.second.n.0/24`.
    pub(crate) fn add_network(&mut self, outer: NetworkId, kind: NatKind, seed: u64, prefix: [u8; 2]) -> NetworkId {
        let id = NetworkId(self.networks.len());
        let [first, second] = prefix;
        let number = u8::try_from(id.0).expect("fewer than 256 networks");
        let wan = self.network_mut(outer).next_v4();
        self.network_mut(outer).residents.insert(wan.into(), Resident::Gateway(id));
        let nat = Nat::new(kind, wan, seed);
        self.networks.push(Network::new(Some(Gateway { outer, nat }), [first, second, number]));
        id
    }

    /// Gives `host` new addresses on `network`.
    pub(crate) fn join(&mut self, host: HostId, network: NetworkId, family: Family) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        if family != Family::V6 {
            addresses.push(IpAddr::V4(self.network_mut(network).next_v4()));
        }
        if family != Family::V4 {
            addresses.push(IpAddr::V6(self.network_mut(network).next_v6(network)));
        }
        self.settle(host, network, &addresses);
        addresses
    }

    /// Gives `host` these addresses on `network`.
    pub(crate) fn settle(&mut self, host: HostId, network: NetworkId, addresses: &[IpAddr]) {
        for address in addresses {
            let before = self.network_mut(network).residents.insert(*address, Resident::Host(host));
            assert_eq!(before, None, "{address} is taken");
        }
    }

    /// Takes all its addresses from `host`.
    pub(crate) fn leave(&mut self, host: HostId) {
        for network in &mut self.networks {
            network.residents.retain(|_, resident| *resident != Resident::Host(host));
        }
    }

    /// The gateway of a network behind one.
    pub(crate) fn nat_mut(&mut self, network: NetworkId) -> &mut Nat {
        let gateway = self.network_mut(network).gateway.as_mut();
        &mut gateway.expect("a network behind a NAT").nat
    }

    /// Carries a datagram from `network` outwards to where its destination is at home, and says
    /// from which address it seems to come there.
    pub(crate) fn ascend(
        &mut self,
        now: Time,
        protocol: Protocol,
        network: NetworkId,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<(NetworkId, SocketAddr), Refusal> {
        let (mut here, mut from, mut crossed) = (network, from, None);
        while !self.is_at_home(to.ip(), here) {
            let Some(gateway) = self.network_mut(here).gateway.as_mut() else {
                return Err(Refusal::NoSuchAddress);
            };
            from = match Ends::of(from, to).ok_or(Refusal::MixedFamilies)? {
                Ends::V4(inner, to) => gateway.nat.outbound(now, protocol, inner, to).ok_or(Refusal::Outbound)?.into(),
                Ends::V6(inner, to) if gateway.nat.outbound_v6(now, protocol, inner, to) => inner.into(),
                Ends::V6(..) => return Err(Refusal::Outbound),
            };
            crossed = Some(here);
            here = gateway.outer;
        }
        match self.network(here).residents.get(&to.ip()) {
            Some(Resident::Gateway(inner)) if Some(*inner) == crossed && !self.is_hairpinning(*inner) => {
                Err(Refusal::Hairpin)
            }
            _ => Ok((here, from)),
        }
    }

    /// Carries a datagram from `network` inwards to a host and the local address it was sent to.
    pub(crate) fn descend(
        &self,
        now: Time,
        protocol: Protocol,
        network: NetworkId,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<(HostId, SocketAddr), Refusal> {
        match Ends::of(from, to).ok_or(Refusal::MixedFamilies)? {
            Ends::V4(from, mut to) => {
                let mut here = network;
                loop {
                    let resident = self.network(here).residents.get(&IpAddr::V4(*to.ip()));
                    match resident.ok_or(Refusal::NoSuchAddress)? {
                        Resident::Host(host) => return Ok((*host, to.into())),
                        Resident::Gateway(inner) => {
                            to = self.nat(*inner).inbound(now, protocol, from, to.port()).ok_or(Refusal::Inbound)?;
                            here = *inner;
                        }
                    }
                }
            }
            Ends::V6(from, to) => {
                let (home, host) = self.home_of(IpAddr::V6(*to.ip())).ok_or(Refusal::NoSuchAddress)?;
                let mut crossed = self.ancestors(home).take_while(|id| *id != network);
                let is_admitted = crossed.all(|inner| self.nat(inner).admits_v6(now, protocol, from, to));
                is_admitted.then_some((host, to.into())).ok_or(Refusal::Inbound)
            }
        }
    }

    /// Whether a datagram to `address` needs to go no further out than `network`.
    fn is_at_home(&self, address: IpAddr, network: NetworkId) -> bool {
        if address.is_ipv4() {
            return self.network(network).residents.contains_key(&address);
        }
        self.home_of(address).is_some_and(|(home, _)| self.ancestors(home).any(|id| id == network))
    }

    fn home_of(&self, address: IpAddr) -> Option<(NetworkId, HostId)> {
        self.networks.iter().enumerate().find_map(|(id, network)| match network.residents.get(&address)? {
            Resident::Host(host) => Some((NetworkId(id), *host)),
            Resident::Gateway(_) => None,
        })
    }

    /// `network` and all networks outside of it, inwards first.
    fn ancestors(&self, network: NetworkId) -> impl Iterator<Item = NetworkId> {
        std::iter::successors(Some(network), |id| Some(self.network(*id).gateway.as_ref()?.outer))
    }

    fn is_hairpinning(&self, network: NetworkId) -> bool {
        self.nat(network).is_hairpinning()
    }

    fn nat(&self, network: NetworkId) -> &Nat {
        let gateway = self.network(network).gateway.as_ref();
        &gateway.expect("a network behind a NAT").nat
    }

    fn network(&self, id: NetworkId) -> &Network {
        self.networks.get(id.0).expect("ids come from add_network")
    }

    fn network_mut(&mut self, id: NetworkId) -> &mut Network {
        self.networks.get_mut(id.0).expect("ids come from add_network")
    }
}

impl Network {
    fn new(gateway: Option<Gateway>, prefix: [u8; 3]) -> Self {
        Network { gateway, prefix, residents: BTreeMap::new(), next_address: 2 }
    }

    fn next_v4(&mut self) -> Ipv4Addr {
        let [a, b, c] = self.prefix;
        let d = u8::try_from(self.next_address).expect("fewer than 254 addresses in a network");
        self.next_address += 1;
        Ipv4Addr::new(a, b, c, d)
    }

    fn next_v6(&mut self, id: NetworkId) -> Ipv6Addr {
        let number = u16::try_from(id.0).expect("fewer than 256 networks");
        self.next_address += 1;
        Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, self.next_address)
    }
}
