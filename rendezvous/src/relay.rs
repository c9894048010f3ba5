//! Runs a relay alone, for a rendezvous on another machine.

use std::future::pending;
use std::io;
use std::sync::Arc;

use anyhow::Context;
use meipo::net::relay_server::{RelayReport, RelayServer};
use meipo::relay::Relay;
use meipo::wire::relay::RelayKey;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

use crate::config::Config;
use crate::metrics::{Snapshot, serve};
use crate::signals::stops;

/// Runs a relay alone until it is told to stop.
///
/// # Errors
/// When it cannot listen.
pub async fn run(config: Config, key: RelayKey) -> anyhow::Result<()> {
    let server = bind(&config, &key).with_context(|| format!("cannot listen on UDP {}", config.listen))?;
    let metrics = match config.metrics_listen {
        Some(address) => {
            Some(TcpListener::bind(address).await.with_context(|| format!("cannot listen on TCP {address}"))?)
        }
        None => None,
    };
    let mut stop = stops().context("cannot listen for signals")?;
    info!(listen = %server.local_address()?, "relay runs");
    let reports = server.reports();
    tokio::select! {
        () = server.run() => Ok(()),
        served = serve_metrics(metrics, reports) => served.context("metrics are not served any more"),
        _ = stop.changed() => Ok(()),
    }
}

fn bind(config: &Config, key: &RelayKey) -> anyhow::Result<RelayServer> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no randomness")?;
    Ok(RelayServer::bind(config.listen, Relay::new(key.clone(), config.limits.relay(), seed))?)
}

async fn serve_metrics(listener: Option<TcpListener>, reports: watch::Receiver<RelayReport>) -> io::Result<()> {
    match listener {
        Some(listener) => serve(listener, Arc::new(move || snapshot(&reports.borrow()))).await,
        None => pending().await,
    }
}

fn snapshot(report: &RelayReport) -> Snapshot {
    Snapshot {
        is_ready: true,
        relay_sessions: report.sessions as u64,
        relay_packets: report.stats.packets,
        relay_bytes: report.stats.bytes,
        relay_batches: report.stats.batches,
        relay_drops: report.stats.drops.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
        ..Snapshot::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meipo::relay::{DropReason, RelayStats};
    use std::collections::BTreeMap;

    #[test]
    fn a_report_becomes_a_snapshot() {
        let report = RelayReport {
            sessions: 2,
            stats: RelayStats {
                packets: 3,
                drops: BTreeMap::from([(DropReason::BadCookie, 4)]),
                ..RelayStats::default()
            },
        };
        let snapshot = snapshot(&report);
        assert_eq!((snapshot.relay_sessions, snapshot.relay_packets), (2, 3));
        assert_eq!(snapshot.relay_drops, BTreeMap::from([("bad_cookie", 4)]));
    }
}
