//! What a NAT does, in the terms of RFC 4787 and as RFC 5780 finds it out, and what that means for a call.

use std::net::SocketAddr;

/// Which public port packets of one socket get (RFC 4787 §4.1) and whose packets come back in (§5): the same three
/// grades for both.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Behavior {
    /// The destination does not matter.
    EndpointIndependent,
    /// Its address does.
    AddressDependent,
    /// Its address and its port do.
    AddressAndPortDependent,
}

impl Behavior {
    /// The term of RFC 4787, in lower case with hyphens.
    pub fn as_str(self) -> &'static str {
        match self {
            Behavior::EndpointIndependent => "endpoint-independent",
            Behavior::AddressDependent => "address-dependent",
            Behavior::AddressAndPortDependent => "address-and-port-dependent",
        }
    }
}

/// The mapping, from where three addresses saw one socket: the first, another address with the same port, and that address
/// with another port (RFC 5780 §4.3).
pub fn mapping(first: SocketAddr, other_address: SocketAddr, other_both: SocketAddr) -> Behavior {
    if first == other_address && first == other_both {
        Behavior::EndpointIndependent
    } else if other_address == other_both {
        Behavior::AddressDependent
    } else {
        Behavior::AddressAndPortDependent
    }
}

/// The filtering, from whether answers came from another address and port, and from another port alone (RFC 5780 §4.4).
pub fn filtering(from_other_address: bool, from_other_port: bool) -> Behavior {
    match (from_other_address, from_other_port) {
        (true, _) => Behavior::EndpointIndependent,
        (false, true) => Behavior::AddressDependent,
        (false, false) => Behavior::AddressAndPortDependent,
    }
}

/// Which way media would go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prospect {
    /// Straight, to nearly everybody.
    Direct,
    /// Straight to those whose NAT is easy, through the relay to others.
    DirectToSome,
    /// Through the relay.
    Relayed,
    /// Through the relay over TCP.
    Tunnelled,
    /// No way at all.
    None,
}

impl Prospect {
    /// The word for events.
    pub fn as_str(self) -> &'static str {
        match self {
            Prospect::Direct => "direct",
            Prospect::DirectToSome => "direct-to-some",
            Prospect::Relayed => "relayed",
            Prospect::Tunnelled => "tunnelled",
            Prospect::None => "none",
        }
    }
}

/// What is known of the way between us and the rendezvous.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Findings {
    /// Whether UDP reaches the rendezvous and comes back.
    pub udp: bool,
    /// Whether the tunnel does.
    pub tunnel: bool,
    /// How the NAT maps, as far as it could be found out.
    pub mapping: Option<Behavior>,
    /// Whom it lets in, as far as it could be found out.
    pub filtering: Option<Behavior>,
    /// Whether the router opens ports on request.
    pub router: bool,
}

/// Which way media would go, given what was found.
pub fn prospect(findings: &Findings) -> Prospect {
    match findings {
        Findings { udp: false, tunnel: false, .. } => Prospect::None,
        Findings { udp: false, tunnel: true, .. } => Prospect::Tunnelled,
        Findings { router: true, .. } => Prospect::Direct,
        Findings { mapping: None | Some(Behavior::EndpointIndependent), .. } => Prospect::Direct,
        Findings { mapping: Some(Behavior::AddressDependent | Behavior::AddressAndPortDependent), .. } => {
            Prospect::DirectToSome
        }
    }
}

/// What a person could change, most useful first.
pub fn advice(findings: &Findings) -> Vec<&'static str> {
    let mut advice = Vec::new();
    if !findings.udp && !findings.tunnel {
        advice
            .push("nothing reaches the rendezvous: check its address, that it runs, and that its port is open in UDP");
    }
    if !findings.udp && findings.tunnel {
        advice.push("UDP does not pass: allow outgoing UDP to the rendezvous' port; until then calls go over TCP, with more delay");
    }
    let is_dependent = findings.mapping.is_some_and(|mapping| mapping != Behavior::EndpointIndependent);
    if findings.udp && is_dependent && !findings.router {
        advice.push("the NAT gives every destination another port: turn on UPnP, NAT-PMP or PCP in the router, or forward a UDP port");
    }
    if findings.udp && findings.mapping.is_none() {
        advice.push("the rendezvous has one address only, so the kind of NAT is unknown: start it with --stun-alternate to find out");
    }
    if findings.udp && !findings.tunnel {
        advice.push(
            "TCP does not reach the rendezvous: where UDP is blocked, calls would fail; open its port in TCP as well",
        );
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::new([203, 0, 113, 7].into(), port)
    }

    #[test]
    fn three_sightings_tell_the_mapping() {
        assert_eq!(mapping(at(1), at(1), at(1)), Behavior::EndpointIndependent);
        assert_eq!(mapping(at(1), at(2), at(2)), Behavior::AddressDependent);
        assert_eq!(mapping(at(1), at(2), at(3)), Behavior::AddressAndPortDependent);
    }

    #[test]
    fn two_answers_tell_the_filtering() {
        assert_eq!(filtering(true, true), Behavior::EndpointIndependent);
        assert_eq!(filtering(false, true), Behavior::AddressDependent);
        assert_eq!(filtering(false, false), Behavior::AddressAndPortDependent);
    }

    #[test]
    fn blocked_udp_means_the_tunnel_and_says_what_to_change() {
        let findings = Findings { tunnel: true, ..Findings::default() };
        assert_eq!(prospect(&findings), Prospect::Tunnelled);
        assert!(advice(&findings).iter().any(|line| line.contains("allow outgoing UDP")));
    }

    #[test]
    fn an_open_network_needs_no_advice() {
        let findings = Findings {
            udp: true,
            tunnel: true,
            mapping: Some(Behavior::EndpointIndependent),
            filtering: Some(Behavior::EndpointIndependent),
            router: false,
        };
        assert_eq!(prospect(&findings), Prospect::Direct);
        assert!(advice(&findings).is_empty());
    }

    #[test]
    fn a_symmetric_nat_with_a_willing_router_is_no_obstacle() {
        let findings = Findings {
            udp: true,
            mapping: Some(Behavior::AddressAndPortDependent),
            router: true,
            ..Findings::default()
        };
        assert_eq!(prospect(&findings), Prospect::Direct);
    }
}
