//! Which addresses a stranger may make us probe.
//!
//! Candidates are chosen by whoever claims to have them. Each is brought to one form, and what could aim our probes at
//! ourselves, at our network's inside or at many hosts at once is refused (coturn's CVE-2020-26262 and its kin).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::synthetic::is_synthetic;
use crate::wire::control::{Candidate, CandidateKind, Reachability};

/// What decides which of a peer's candidates are probed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Vantage {
    /// Where the rendezvous sees us.
    pub ours: SocketAddr,
    /// The rendezvous itself.
    pub rendezvous: SocketAddr,
}

/// The candidates of `theirs` that may be probed, in one form and without repetition.
///
/// Private and loopback addresses are probed only where the rendezvous vouches for a common network: it sees both peers
/// at one public address, or both at private addresses, as it does on a local network.
pub fn probeable(theirs: &Reachability, vantage: &Vantage) -> Vec<Candidate> {
    let ours = canonical(vantage.ours).ip();
    let shares_network = theirs.candidates.iter().any(|candidate| {
        let seen = canonical(candidate.address).ip();
        let is_vouched = candidate.kind == CandidateKind::Reflexive;
        is_vouched && (seen == ours || is_local(seen) && is_local(ours) && is_loopback(seen) == is_loopback(ours))
    });
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in &theirs.candidates {
        let candidate = Candidate { address: canonical(candidate.address), ..*candidate };
        let is_known = kept.iter().any(|other| other.address == candidate.address);
        if !is_known && may_probe(candidate.address, shares_network, vantage) {
            kept.push(candidate);
        }
    }
    kept
}

fn may_probe(address: SocketAddr, shares_network: bool, vantage: &Vantage) -> bool {
    let ip = address.ip();
    if address.port() == 0 || address == canonical(vantage.rendezvous) || is_never_a_peer(ip) || is_synthetic(ip) {
        return false;
    }
    if is_loopback(ip) {
        return shares_network && is_loopback(canonical(vantage.ours).ip());
    }
    !is_local(ip) || shares_network
}

/// The one form of an address: what is an IPv4 address inside IPv6 becomes IPv4, and scopes are dropped.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(canonical_ip(address.ip()), address.port())
}

fn canonical_ip(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = v6.segments();
    let embedded = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match (s0, s1) {
        (0x2002, _) => embedded(s1, s2),
        (0x64, 0xff9b) => embedded(s6, s7),
        (0, 0) if [s2, s3, s4, s5] == [0; 4] && s6 != 0 => embedded(s6, s7),
        _ => IpAddr::V6(Ipv6Addr::new(s0, s1, s2, s3, s4, s5, s6, s7)),
    }
}

/// Addresses no peer can have: unspecified, multicast, broadcast, link-local, reserved, for documentation of protocols.
fn is_never_a_peer(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            a == 0 || a >= 224 || v4.is_link_local() || (a, b, c) == (192, 0, 0)
        }
        IpAddr::V6(v6) => {
            let [s0, s1, ..] = v6.segments();
            v6.is_unspecified()
                || v6.is_multicast()
                || s0 & 0xffc0 == 0xfe80
                || s0 & 0xffc0 == 0xfec0
                || (s0, s1) == (0x100, 0)
                || (s0, s1) == (0x2001, 0)
        }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback()
}

/// Addresses that mean different hosts in different networks: private, carrier-grade NAT, unique local, loopback.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || a == 100 && b & 0xc0 == 64 || a == 198 && b & 0xfe == 18
        }
        IpAddr::V6(v6) => {
            let [s0, ..] = v6.segments();
            v6.is_loopback() || s0 & 0xfe00 == 0xfc00
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vantage(ours: &str) -> Vantage {
        Vantage { ours: ours.parse().unwrap(), rendezvous: "198.51.100.1:1935".parse().unwrap() }
    }

    fn reachable(candidates: &[(CandidateKind, &str)]) -> Reachability {
        let candidates =
            candidates.iter().map(|(kind, address)| Candidate { kind: *kind, address: address.parse().unwrap() });
        Reachability { candidates: candidates.collect(), ..Reachability::default() }
    }

    fn kept(theirs: &[(CandidateKind, &str)], ours: &str) -> Vec<String> {
        let kept = probeable(&reachable(theirs), &vantage(ours));
        kept.iter().map(|candidate| candidate.address.to_string()).collect()
    }

    use CandidateKind::{Host, Reflexive};

    #[test]
    fn a_private_address_is_probed_only_from_behind_the_same_public_one() {
        let theirs = [(Host, "192.168.1.5:4000"), (Reflexive, "203.0.113.7:4000")];
        assert_eq!(kept(&theirs, "203.0.113.9:5000"), ["203.0.113.7:4000"]);
        assert_eq!(kept(&theirs, "203.0.113.7:5000"), ["192.168.1.5:4000", "203.0.113.7:4000"]);
    }

    #[test]
    fn on_a_local_network_private_addresses_are_all_there_is() {
        let theirs = [(Host, "192.168.1.5:4000"), (Reflexive, "192.168.1.5:4000")];
        assert_eq!(kept(&theirs, "192.168.1.6:5000"), ["192.168.1.5:4000"]);
    }

    #[test]
    fn loopback_is_probed_only_from_loopback() {
        let theirs = [(Host, "127.0.0.1:4000"), (Reflexive, "127.0.0.1:4000")];
        assert_eq!(kept(&theirs, "127.0.0.1:5000"), ["127.0.0.1:4000"]);
        assert!(kept(&theirs, "203.0.113.9:5000").is_empty());
        assert!(kept(&theirs, "192.168.1.6:5000").is_empty());
    }

    #[test]
    fn a_private_address_is_known_in_every_disguise() {
        for address in ["[::ffff:10.0.0.1]:1", "[2002:0a00:0001::]:1", "[64:ff9b::10.0.0.1]:1", "[::10.0.0.1]:1"] {
            assert!(kept(&[(Host, address)], "203.0.113.9:5000").is_empty(), "{address}");
        }
    }

    #[test]
    fn the_rendezvous_is_not_a_peer() {
        assert!(kept(&[(Reflexive, "198.51.100.1:1935")], "203.0.113.9:5000").is_empty());
        assert!(kept(&[(Reflexive, "[::ffff:198.51.100.1]:1935")], "203.0.113.9:5000").is_empty());
    }

    /// Special-purpose blocks of the IANA registries that no probe may leave for, as first address and prefix length.
    const FORBIDDEN_V4: [(u32, u8); 12] = [
        (0x0000_0000, 8),
        (0x0a00_0000, 8),
        (0x6440_0000, 10),
        (0x7f00_0000, 8),
        (0xa9fe_0000, 16),
        (0xac10_0000, 12),
        (0xc000_0000, 24),
        (0xc0a8_0000, 16),
        (0xc612_0000, 15),
        (0xe000_0000, 4),
        (0xf000_0000, 4),
        (0xffff_ffff, 32),
    ];

    proptest! {
        #[test]
        fn no_special_purpose_block_is_probed_in_any_encoding(
            (block, len) in proptest::sample::select(FORBIDDEN_V4.to_vec()),
            host in any::<u32>(),
            port in 1..=u16::MAX,
            encoding in 0..4,
        ) {
            let mask = u32::MAX.checked_shr(u32::from(len)).unwrap_or(0);
            let v4 = block | host & mask;
            let (high, low) = ((v4 >> 16) as u16, (v4 & 0xffff) as u16);
            let ip: IpAddr = match encoding {
                0 => Ipv4Addr::from(v4).into(),
                1 => Ipv4Addr::from(v4).to_ipv6_mapped().into(),
                2 => Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 0).into(),
                _ => Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into(),
            };
            let theirs = Reachability {
                candidates: vec![Candidate { kind: CandidateKind::Reflexive, address: SocketAddr::new(ip, port) }],
                ..Reachability::default()
            };
            prop_assert!(probeable(&theirs, &vantage("203.0.113.9:5000")).is_empty());
        }
    }
}
