//! Addresses as people write them.

use std::fmt;
use std::net::{IpAddr, UdpSocket};
use std::str::FromStr;

use anyhow::{Context, bail};
use meipo::link::Host;
use meipo::params::DEFAULT_PORT;
use serde::{Deserialize, Serialize};

/// A name or an address, and a port: where others reach a server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    /// Name or address; one of IPv6 stands in brackets.
    pub host: Host,
    /// UDP and TCP port.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = anyhow::Error;

    /// Reads `example.org:1935`, `192.0.2.1`, `[2001:db8::1]:1935` or `2001:db8::1`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(HostPort::of(ip, DEFAULT_PORT));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().with_context(|| format!("{port:?} in {text:?} is no port from 1 to 65535"))?;
                (host, port)
            }
            _ => (text, DEFAULT_PORT),
        };
        if port == 0 {
            bail!("port 0 in {text:?} cannot be reached from outside");
        }
        let host = Host::parse(host).with_context(|| format!("{host:?} in {text:?} is no name and no address"))?;
        Ok(HostPort { host, port })
    }
}

impl HostPort {
    /// An address and a port.
    pub fn of(ip: IpAddr, port: u16) -> Self {
        let host = match ip {
            IpAddr::V4(ip) => Host::Ipv4(ip),
            IpAddr::V6(ip) => Host::Ipv6(ip),
        };
        HostPort { host, port }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl TryFrom<String> for HostPort {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error:#}"))
    }
}

impl From<HostPort> for String {
    fn from(address: HostPort) -> String {
        address.to_string()
    }
}

/// The address this machine would use to reach the Internet, or the loopback address if it cannot. Sends nothing.
pub fn guess_own_ip() -> IpAddr {
    // Addresses for documentation: connecting a UDP socket only asks the routing table.
    let routes = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    routes
        .into_iter()
        .find_map(|(from, to)| own_ip_towards(from, to))
        .unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
}

fn own_ip_towards(from: &str, to: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        let cases = [
            ("example.org:7000", "example.org:7000"),
            ("example.org", "example.org:1935"),
            ("192.0.2.1", "192.0.2.1:1935"),
            ("2001:db8::1", "[2001:db8::1]:1935"),
            ("[2001:db8::1]", "[2001:db8::1]:1935"),
            ("[2001:db8::1]:7000", "[2001:db8::1]:7000"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_wrong_address_is_quoted() {
        for text in ["example.org:port", "example.org:0", "exa mple.org:1", ":1935", "example.org:70000"] {
            let error = text.parse::<HostPort>().unwrap_err();
            assert!(format!("{error:#}").contains(text), "{error:#}");
        }
    }

    #[test]
    fn there_is_always_some_address() {
        assert!(!guess_own_ip().is_unspecified());
    }
}
