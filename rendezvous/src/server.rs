//! Runs a rendezvous: its sockets, its metrics, its signals.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use meipo::net::identity::Identity;
use meipo::net::rendezvous_machine::{RendezvousMachineConfig, RendezvousStats};
use meipo::net::server::{Listen, Server};
use meipo::net::tunnel::TunnelStats;
use meipo::wire::relay::RelayKey;
use serde_json::json;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::watch;

use crate::config::Config;
use crate::metrics::{Snapshot, serve};
use crate::signals::stops;

/// Runs a rendezvous until it is told to stop: SIGTERM or Ctrl-C lets calls find another way first, a second one does not.
///
/// # Errors
/// When it cannot listen, or its identity cannot be read or made.
pub async fn run(config: Config, is_json: bool) -> anyhow::Result<()> {
    let identity = Arc::new(Identity::load_or_create(&config.identity_file())?);
    let stop = stops().context("cannot listen for signals")?;
    let machine = machine_config(&config, identity.clone()).await?;
    let listen = Listen { main: config.listen, alternate: config.stun_alternate, tunnels: !config.no_tunnel };
    let server = Server::bind(listen, machine).await.map_err(|error| anyhow!("{error}; {OTHER_ADDRESS}"))?;
    let address = server.local_address().context("the system does not say where we listen")?;
    let is_draining = Arc::new(AtomicBool::new(false));
    if let Some(at) = config.metrics_listen {
        let listener = TcpListener::bind(at)
            .await
            .with_context(|| format!("cannot serve metrics on TCP {at} (--metrics-listen)"))?;
        let (stats, is_draining) = (server.stats(), is_draining.clone());
        let source = move || snapshot(&stats.borrow(), !is_draining.load(Ordering::Relaxed));
        tokio::spawn(serve(listener, Arc::new(source)));
    }
    greet(&config, address, &identity, is_json);
    tokio::spawn(note_draining(stop.clone(), is_draining));
    server.run(stop).await;
    tracing::info!("the rendezvous has ended");
    Ok(())
}

const OTHER_ADDRESS: &str = "is it one of this machine's, and is no other rendezvous running? --listen gives another";

/// Tells the person where the rendezvous is and how to invite somebody; a program gets one line of JSON.
fn greet(config: &Config, address: SocketAddr, identity: &Identity, is_json: bool) {
    let id = identity.id().to_string();
    if is_json {
        println!("{}", json!({ "event": "listening", "address": address.to_string(), "id": id }));
        return;
    }
    println!("rendezvous  {address} (UDP{})", if config.no_tunnel { "" } else { ", and TCP where UDP is blocked" });
    println!("id          {id}");
    println!("invite with `rendezvous invite ROOM` (same --data-dir), then share the link it prints");
}

async fn note_draining(mut stop: watch::Receiver<u32>, is_draining: Arc<AtomicBool>) {
    if stop.changed().await.is_ok() {
        tracing::info!("draining: calls go on for a moment; a second signal ends at once");
        is_draining.store(true, Ordering::Relaxed);
    }
}

async fn machine_config(config: &Config, identity: Arc<Identity>) -> anyhow::Result<RendezvousMachineConfig> {
    let mut relays: Vec<(SocketAddr, RelayKey)> = Vec::new();
    for (address, key) in config.relay_keys()? {
        let mut found =
            lookup_host(address.to_string()).await.with_context(|| format!("cannot find the relay {address}"))?;
        let found = found.next().with_context(|| format!("the relay {address} has no address"))?;
        relays.push((found, key));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no randomness")?;
    Ok(RendezvousMachineConfig {
        identity,
        limits: config.limits.clone(),
        relays,
        is_relay: true,
        stun_alternate: config.stun_alternate,
        seed,
    })
}

fn snapshot((stats, tunnels): &(RendezvousStats, TunnelStats), is_ready: bool) -> Snapshot {
    let refused = [
        ("address_rate", stats.refused),
        ("limit", stats.introducer.limited),
        ("malformed", stats.introducer.malformed),
        ("retry", stats.retried),
        ("too_many", stats.ignored),
    ];
    Snapshot {
        is_ready,
        peers: stats.peers as u64,
        rooms: stats.rooms as u64,
        introductions: stats.introducer.introductions,
        relay_sessions: stats.relay_sessions as u64,
        relay_packets: stats.relay.packets,
        relay_bytes: stats.relay.bytes,
        relay_batches: stats.relay.batches,
        relay_drops: stats.relay.drops.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
        tunnels: tunnels.open as u64,
        tunnel_drops: tunnels.dropped,
        handshakes_refused: refused.into_iter().collect(),
    }
}
