//! The addresses we may be reached at: our interfaces', and a port our router opens for us.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use portmapper::{Client, Config, Protocol};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::params::{ADDRESS_INTERVAL, MAX_CANDIDATES};
use crate::wire::control::{Candidate, CandidateKind};

/// Watches our addresses.
#[derive(Debug)]
pub(super) struct Interfaces {
    port: u16,
    /// Whether we were told to listen on one address only.
    only: Option<IpAddr>,
    known: Option<Vec<Candidate>>,
    tick: Interval,
    router: Option<Router>,
}

#[derive(Debug)]
struct Router {
    _client: Client,
    mapped: watch::Receiver<Option<std::net::SocketAddrV4>>,
}

impl Interfaces {
    /// Watches the addresses of a socket bound to `local`; `asks_router`: whether the router is asked for a port.
    pub(super) fn new(local: SocketAddr, asks_router: bool) -> Self {
        let mut tick = interval(ADDRESS_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Interfaces {
            port: local.port(),
            only: Some(local.ip()).filter(|ip| !ip.is_unspecified()),
            known: None,
            tick,
            router: NonZeroU16::new(local.port()).filter(|_| asks_router).map(Router::ask),
        }
    }

    /// All our addresses, each time they have changed; the first time at once.
    pub(super) async fn changed(&mut self) -> Vec<Candidate> {
        loop {
            match &mut self.router {
                Some(router) => tokio::select! {
                    _ = self.tick.tick() => {}
                    changed = router.mapped.changed() => if changed.is_err() { self.router = None },
                },
                None => {
                    self.tick.tick().await;
                }
            }
            let now = self.look();
            if self.known.as_ref() != Some(&now) {
                self.known = Some(now.clone());
                return now;
            }
        }
    }

    fn look(&self) -> Vec<Candidate> {
        let mapped = self.router.as_ref().and_then(|router| *router.mapped.borrow());
        let mapped = mapped.map(|address| Candidate { kind: CandidateKind::Mapped, address: address.into() });
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let is_useful = |ip: &IpAddr| match self.only {
            Some(only) => *ip == only,
            None => !ip.is_loopback() && !is_link_local(ip),
        };
        let mut hosts: Vec<IpAddr> = interfaces.iter().map(|interface| interface.ip()).filter(is_useful).collect();
        hosts.sort();
        hosts.dedup();
        let hosts = hosts
            .into_iter()
            .map(|ip| Candidate { kind: CandidateKind::Host, address: SocketAddr::new(ip, self.port) });
        // One place is for the address the rendezvous sees.
        mapped.into_iter().chain(hosts).take(MAX_CANDIDATES - 1).collect()
    }
}

impl Router {
    fn ask(port: NonZeroU16) -> Self {
        let config = Config { enable_upnp: true, enable_pcp: true, enable_nat_pmp: true, protocol: Protocol::Udp };
        let client = Client::new(config);
        client.update_local_port(port);
        Router { mapped: client.watch_external_address(), _client: client }
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
