//! Addresses that stand for somebody, wherever they are: what QUIC is told instead of real ones.
//!
//! QUIC binds a connection to addresses; ours change with every path. So each peer has one constant address in a prefix of
//! our own (RFC 4193, its 40 random bits spell "mei po"), and only the socket layer knows what it means at the moment.
//! Such an address never travels and is never accepted from outside.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Who a synthetic address stands for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Synthetic {
    /// A peer, by a number that only this process knows.
    Peer(u64),
    /// The rendezvous.
    Rendezvous,
    /// Whoever is at the other end of a tunnel.
    Tunnel(u64),
}

impl Synthetic {
    /// The address.
    pub fn address(self) -> SocketAddr {
        let (kind, number) = match self {
            Synthetic::Peer(number) => (1, number),
            Synthetic::Rendezvous => (2, 0),
            Synthetic::Tunnel(number) => (3, number),
        };
        let bits = PREFIX << 80 | kind << 64 | u128::from(number);
        SocketAddr::new(Ipv6Addr::from_bits(bits).into(), PORT)
    }

    /// Who `address` stands for, if it is synthetic.
    pub fn of(address: SocketAddr) -> Option<Synthetic> {
        let IpAddr::V6(ip) = address.ip() else { return None };
        let bits = ip.to_bits();
        let number = u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
        match (bits >> 80, bits >> 64 & 0xffff) {
            (PREFIX, 1) => Some(Synthetic::Peer(number)),
            (PREFIX, 2) => Some(Synthetic::Rendezvous),
            (PREFIX, 3) => Some(Synthetic::Tunnel(number)),
            _ => None,
        }
    }
}

/// Whether `ip` lies in the prefix of synthetic addresses.
pub fn is_synthetic(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_bits() >> 80 == PREFIX)
}

/// fd6d:6569:706f::/48.
const PREFIX: u128 = 0xfd6d_6569_706f;

/// Any port will do; QUIC refuses 0.
const PORT: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_who_it_stands_for() {
        for who in [Synthetic::Peer(7), Synthetic::Rendezvous, Synthetic::Tunnel(u64::MAX)] {
            assert_eq!(Synthetic::of(who.address()), Some(who));
        }
        assert_eq!(Synthetic::of("[fd00::1]:1".parse().unwrap()), None);
        assert_eq!(Synthetic::Rendezvous.address().to_string(), "[fd6d:6569:706f:2::]:1");
    }
}
