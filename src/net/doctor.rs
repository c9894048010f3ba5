//! Examines the network between this machine and a rendezvous: what NAT is this, does UDP pass, does the tunnel?
//!
//! Nobody in the room notices. The NAT is examined as RFC 5780 says, as far as the rendezvous has a second address.

use std::net::SocketAddr;

use bytes::BytesMut;
use portmapper::{Client, Config, Protocol};
use tokio::time::{Instant, timeout, timeout_at};

use super::asker::Asker;
use super::clock::Clock;
use super::endpoint::{JoinError, resolve};
use super::identity::Identity;
use super::quic::{Admission, Quic, QuicEvent};
use super::quic_config::{QuicConfig, QuicRole};
use super::tunnel::Tunnel;
use crate::link::Link;
use crate::params::{DOCTOR_ATTEMPTS, DOCTOR_PATIENCE, DOCTOR_ROUTER, QUIC_IDLE};
use crate::path::candidate::canonical;
use crate::path::nat::{self, Behavior, Findings, Prospect};
use crate::wire::control::Close;
use crate::wire::stun::{self, ChangeRequest, TransactionId};

/// What was found.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// Where the rendezvous is.
    pub rendezvous: SocketAddr,
    /// Whether it has proven the identity that the link names; the reason if not.
    pub identity: Result<(), String>,
    /// Whether UDP passes both ways.
    pub udp: bool,
    /// Whether the tunnel can be opened; the reason if not.
    pub tunnel: Result<(), String>,
    /// Where the rendezvous sees us.
    pub observed: Option<SocketAddr>,
    /// Whether the address it sees is one of our own: no NAT at all.
    pub is_translated: Option<bool>,
    /// How the NAT maps, if the rendezvous can tell.
    pub mapping: Option<Behavior>,
    /// Whom the NAT lets in, if the rendezvous can tell.
    pub filtering: Option<Behavior>,
    /// Whether two peers behind this NAT reach each other by its public address.
    pub hairpinning: Option<bool>,
    /// What the router offers to open ports: UPnP-IGD, NAT-PMP, PCP.
    pub router: Vec<&'static str>,
    /// Whether this machine has an IPv6 address that others could reach.
    pub has_ipv6: bool,
    /// Which way media would go.
    pub prospect: Prospect,
    /// What a person could change.
    pub advice: Vec<&'static str>,
}

/// Examines the way to the rendezvous of `link`; `asks_router`: whether the router may be asked.
///
/// # Errors
/// When the rendezvous' name is not known or no socket can be had.
pub async fn examine(link: &Link, identity: Identity, asks_router: bool) -> Result<Diagnosis, JoinError> {
    let rendezvous = canonical(resolve(link).await?);
    let (nat, tunnel, proven, router) = tokio::join!(
        examine_nat(rendezvous),
        Tunnel::connect(rendezvous, link.server()),
        prove(link, rendezvous, identity),
        ask_router(asks_router),
    );
    let nat = nat?;
    let tunnel = tunnel.map(|_| ()).map_err(|error| error.to_string());
    let findings = Findings {
        udp: nat.observed.is_some(),
        tunnel: tunnel.is_ok(),
        mapping: nat.mapping,
        filtering: nat.filtering,
        router: !router.is_empty(),
    };
    Ok(Diagnosis {
        rendezvous,
        identity: proven,
        udp: findings.udp,
        tunnel,
        observed: nat.observed,
        is_translated: nat.observed.map(|observed| !is_ours(observed)),
        mapping: nat.mapping,
        filtering: nat.filtering,
        hairpinning: nat.hairpinning,
        router,
        has_ipv6: has_global_ipv6(),
        prospect: nat::prospect(&findings),
        advice: nat::advice(&findings),
    })
}

#[derive(Debug, Default)]
struct NatFindings {
    observed: Option<SocketAddr>,
    mapping: Option<Behavior>,
    filtering: Option<Behavior>,
    hairpinning: Option<bool>,
}

async fn examine_nat(rendezvous: SocketAddr) -> Result<NatFindings, JoinError> {
    let mut asker = Asker::new(rendezvous)?;
    let Some((first, other)) = asker.ask(rendezvous, ChangeRequest::None).await else {
        return Ok(NatFindings::default());
    };
    let mut findings = NatFindings { observed: Some(first), ..NatFindings::default() };
    findings.hairpinning = Some(hairpins(&mut asker, rendezvous, first).await?);
    let Some(other) = other.filter(|other| other.ip() != rendezvous.ip()) else { return Ok(findings) };
    let other_address = SocketAddr::new(other.ip(), rendezvous.port());
    let second = asker.ask(other_address, ChangeRequest::None).await;
    let third = asker.ask(other, ChangeRequest::None).await;
    if let (Some((second, _)), Some((third, _))) = (second, third) {
        findings.mapping = Some(nat::mapping(first, second, third));
    }
    // A socket that has spoken to the other address already would let its answers in.
    let mut fresh = Asker::new(rendezvous)?;
    let from_other_address = fresh.ask(rendezvous, ChangeRequest::AddressAndPort).await.is_some();
    let from_other_port = from_other_address || fresh.ask(rendezvous, ChangeRequest::Port).await.is_some();
    findings.filtering = Some(nat::filtering(from_other_address, from_other_port));
    Ok(findings)
}

/// Whether what another socket of ours sends to our public address comes back in.
async fn hairpins(asker: &mut Asker, rendezvous: SocketAddr, public: SocketAddr) -> Result<bool, JoinError> {
    let other = Asker::new(rendezvous)?;
    let id = TransactionId(other.random());
    other.socket.send(public, &stun::encode_request(id, None, ChangeRequest::None), None, None);
    Ok(asker.hear(id, |_| Some(())).await.is_some())
}

/// Has the rendezvous prove its identity by a handshake, and says goodbye.
async fn prove(link: &Link, rendezvous: SocketAddr, identity: Identity) -> Result<(), String> {
    let asker = Asker::new(rendezvous).map_err(|error| error.to_string())?;
    let Asker { socket, mut buffer, .. } = asker;
    let clock = Clock::start();
    let config = QuicConfig::new(identity.into(), QuicRole::Peer, QUIC_IDLE);
    let mut quic = Quic::new(config, clock);
    let connected = quic.connect(rendezvous, link.server(), clock.now());
    let id = connected.map_err(|error| error.to_string())?;
    let ends = Instant::now() + DOCTOR_PATIENCE * DOCTOR_ATTEMPTS;
    let mut outgoing = Vec::new();
    let mut result = Err("no answer over UDP".to_owned());
    while Instant::now() < ends {
        let now = clock.now();
        while let Some(transmit) = quic.poll_transmit(&mut outgoing, 1, now) {
            socket.send(transmit.to, &outgoing, None, transmit.ecn);
        }
        match quic.poll_event() {
            Some(QuicEvent::Connected { .. }) => result = Ok(()),
            Some(QuicEvent::Closed { reason, .. }) => result = Err(reason),
            Some(_) => continue,
            None => {
                let due = quic.poll_timeout().map_or(ends, |at| ends.min(clock.instant(at).into()));
                let _ = timeout_at(due, socket.readable()).await;
                quic.handle_timeout(clock.now());
                let Some(batches) = socket.receive(&mut buffer) else { continue };
                for batch in batches {
                    for datagram in batch.bytes.chunks(batch.segment) {
                        let data = BytesMut::from(datagram);
                        quic.handle_datagram(batch.from, batch.ecn, data, clock.now(), |_, _, _| Admission::Ignore);
                    }
                }
                continue;
            }
        }
        break;
    }
    quic.close(id, Close::Leaving, "", clock.now());
    while let Some(transmit) = quic.poll_transmit(&mut outgoing, 1, clock.now()) {
        socket.send(transmit.to, &outgoing, None, transmit.ecn);
    }
    result
}

/// What the router offers to open ports.
async fn ask_router(asks: bool) -> Vec<&'static str> {
    if !asks {
        return Vec::new();
    }
    let config = Config { enable_upnp: true, enable_pcp: true, enable_nat_pmp: true, protocol: Protocol::Udp };
    let client = Client::new(config);
    let Ok(Ok(Ok(found))) = timeout(DOCTOR_ROUTER, client.probe()).await else { return Vec::new() };
    let offers = [(found.upnp, "UPnP-IGD"), (found.nat_pmp, "NAT-PMP"), (found.pcp, "PCP")];
    offers.into_iter().filter(|(is_there, _)| *is_there).map(|(_, name)| name).collect()
}

fn is_ours(address: SocketAddr) -> bool {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().any(|interface| interface.ip() == address.ip())
}

fn has_global_ipv6() -> bool {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().any(|interface| match interface.ip() {
        std::net::IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unique_local(),
        std::net::IpAddr::V4(_) => false,
    })
}
