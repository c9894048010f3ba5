//! Health and counters over HTTP: `/healthz`, `/readyz`, and `/metrics` as Prometheus reads it.
//!
//! A [`Snapshot`] goes in, text comes out. Every label comes from a fixed set, so that no stranger can make the number
//! of time series grow, and none names a peer, a room or an address.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

/// What a rendezvous is doing and has done, at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// Whether it listens and takes peers; not while it starts or drains.
    pub is_ready: bool,
    /// Peers now.
    pub peers: u64,
    /// Rooms now.
    pub rooms: u64,
    /// Pairs of peers introduced so far.
    pub introductions: u64,
    /// Relay sessions now.
    pub relay_sessions: u64,
    /// Packets relayed so far.
    pub relay_packets: u64,
    /// Bytes relayed so far.
    pub relay_bytes: u64,
    /// Batches relayed so far.
    pub relay_batches: u64,
    /// Packets the relay dropped so far, by reason.
    pub relay_drops: BTreeMap<&'static str, u64>,
    /// Tunnels now.
    pub tunnels: u64,
    /// Datagrams that tunnels dropped so far.
    pub tunnel_drops: u64,
    /// Handshakes refused so far, by reason.
    pub handshakes_refused: BTreeMap<&'static str, u64>,
}

/// Gives the state of the rendezvous whenever somebody asks.
pub type Source = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// Answers on `listener` until the process ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, source: Source) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(source);
    axum::serve(listener, router).await
}

impl fmt::Display for Snapshot {
    /// Writes the Prometheus text format, version 0.0.4.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page(f);
        page.gauge("peers", "Peers now.", self.peers)?;
        page.gauge("rooms", "Rooms now.", self.rooms)?;
        page.counter("introductions", "Pairs of peers introduced.", self.introductions)?;
        page.gauge("relay_sessions", "Relay sessions now.", self.relay_sessions)?;
        page.counter("relay_packets", "Packets relayed.", self.relay_packets)?;
        page.counter("relay_bytes", "Bytes relayed.", self.relay_bytes)?;
        page.counter(
            "relay_batches",
            "Batches relayed; packets over batches is what GRO and GSO save.",
            self.relay_batches,
        )?;
        page.by_reason("relay_drops", "Packets the relay dropped.", &self.relay_drops)?;
        page.gauge("tunnels", "Tunnels now.", self.tunnels)?;
        page.counter("tunnel_drops", "Datagrams that tunnels dropped.", self.tunnel_drops)?;
        page.by_reason("handshakes_refused", "Handshakes refused.", &self.handshakes_refused)
    }
}

struct Page<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Page<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        writeln!(self.0, "# HELP meipo_{name} {help}\n# TYPE meipo_{name} gauge\nmeipo_{name} {value}")
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counter_head(name, help)?;
        writeln!(self.0, "meipo_{name}_total {value}")
    }

    fn by_reason(&mut self, name: &str, help: &str, values: &BTreeMap<&'static str, u64>) -> fmt::Result {
        self.counter_head(name, help)?;
        for (reason, value) in values {
            writeln!(self.0, "meipo_{name}_total{{reason=\"{reason}\"}} {value}")?;
        }
        Ok(())
    }

    fn counter_head(&mut self, name: &str, help: &str) -> fmt::Result {
        writeln!(self.0, "# HELP meipo_{name}_total {help}\n# TYPE meipo_{name}_total counter")
    }
}

async fn ready(State(source): State<Source>) -> (StatusCode, &'static str) {
    if source().is_ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

async fn metrics(State(source): State<Source>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], source().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    #[test]
    fn every_counter_is_on_the_page() {
        let page = snapshot().to_string();
        let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "meipo_peers 3",
            "meipo_rooms 1",
            "meipo_introductions_total 4",
            "meipo_relay_sessions 2",
            "meipo_relay_packets_total 50",
            "meipo_relay_bytes_total 60000",
            "meipo_relay_batches_total 9",
            "meipo_relay_drops_total{reason=\"session_rate\"} 2",
            "meipo_relay_drops_total{reason=\"unbound\"} 1",
            "meipo_tunnels 1",
            "meipo_tunnel_drops_total 5",
            "meipo_handshakes_refused_total{reason=\"full\"} 6",
        ];
        assert_eq!(samples, expected);
    }

    #[tokio::test]
    async fn each_page_answers() {
        assert!(page("/healthz", true).await.starts_with("HTTP/1.1 200"));
        assert!(page("/readyz", true).await.starts_with("HTTP/1.1 200"));
        assert!(page("/readyz", false).await.starts_with("HTTP/1.1 503"));
        assert!(page("/metrics", true).await.contains("meipo_peers 3\n"));
        assert!(page("/", true).await.starts_with("HTTP/1.1 404"));
    }

    async fn page(path: &str, is_ready: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let source: Source = Arc::new(move || Snapshot { is_ready, ..snapshot() });
        let server = tokio::spawn(serve(listener, source));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        server.abort();
        answer
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            is_ready: true,
            peers: 3,
            rooms: 1,
            introductions: 4,
            relay_sessions: 2,
            relay_packets: 50,
            relay_bytes: 60_000,
            relay_batches: 9,
            relay_drops: BTreeMap::from([("unbound", 1), ("session_rate", 2)]),
            tunnels: 1,
            tunnel_drops: 5,
            handshakes_refused: BTreeMap::from([("full", 6)]),
        }
    }
}
