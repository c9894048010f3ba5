//! The server's side of all tunnels: who may open one, and what comes out of them.
//!
//! Connections go in, [`TunnelEvent`]s come out in one queue. Nobody can hold more than a few places or hold one
//! without using it, and a slow tunnel slows nobody but itself.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::protocol::Role;
use tracing::{debug, warn};

use super::queue::SendQueue;
use super::{TunnelError, config_of_messages, pump, tune};
use crate::limits::Limits;
use crate::net::identity::Identity;
use crate::net::tls::tunnel_server_config;
use crate::params::{
    HTTP_HEAD_LEN, TUNNEL_BACKLOG, TUNNEL_DATAGRAM_LEN, TUNNEL_HANDSHAKE, TUNNEL_PATH, TUNNELS, TUNNELS_PER_ADDRESS,
};

/// One tunnel among those a server has; never used twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TunnelId(u64);

impl TunnelId {
    /// The tunnel with this number.
    pub const fn from_number(number: u64) -> Self {
        TunnelId(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What happens in the tunnels of a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TunnelEvent {
    /// Somebody opened a tunnel.
    Opened(TunnelId, SocketAddr),
    /// A datagram came out of it.
    Datagram(TunnelId, Bytes),
    /// It is gone.
    Closed(TunnelId),
}

/// How many tunnels there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TunnelLimits {
    /// All together.
    pub tunnels: usize,
    /// From one IPv4 address or one IPv6 /56.
    pub per_address: usize,
}

impl Default for TunnelLimits {
    fn default() -> Self {
        TunnelLimits { tunnels: TUNNELS, per_address: TUNNELS_PER_ADDRESS }
    }
}

impl From<&Limits> for TunnelLimits {
    fn from(limits: &Limits) -> Self {
        TunnelLimits { tunnels: limits.tunnels, per_address: limits.tunnels_per_address }
    }
}

/// What the tunnels of a server have done since it started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TunnelStats {
    /// Connections now, those in their handshake included.
    pub open: usize,
    /// Connections refused because there were too many.
    pub refused_full: u64,
    /// Connections refused because their address had too many.
    pub refused_address: u64,
    /// Handshakes that failed or took too long.
    pub failed: u64,
    /// Datagrams that a line did not take in time.
    pub dropped: u64,
}

/// All tunnels of one server. They end when this is dropped.
#[derive(Debug)]
pub struct TunnelListener {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl TunnelListener {
    /// Takes tunnels from `listener` from now on; what comes out of them comes out of the receiver.
    ///
    /// # Errors
    /// When our own TLS configuration is refused.
    pub fn spawn(
        listener: TcpListener,
        identity: &Identity,
        limits: TunnelLimits,
    ) -> Result<(Self, mpsc::Receiver<TunnelEvent>), TunnelError> {
        let acceptor = TlsAcceptor::from(Arc::new(tunnel_server_config(identity)?));
        let (events, received) = mpsc::channel(TUNNEL_BACKLOG);
        let shared = Arc::new(Shared {
            limits,
            seats: Mutex::default(),
            refused_full: AtomicU64::new(0),
            refused_address: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: Arc::default(),
        });
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared), events)).abort_handle();
        Ok((TunnelListener { shared, task }, received))
    }

    /// Sends a datagram if the tunnel is there and takes it in time. Never waits. One that is too long is dropped.
    pub fn try_send(&self, tunnel: TunnelId, datagram: &[u8]) {
        if datagram.len() > TUNNEL_DATAGRAM_LEN {
            return;
        }
        let queue = self.shared.seats().queues.get(&tunnel).cloned();
        if let Some(queue) = queue {
            queue.push(datagram, Instant::now());
        }
    }

    /// Ends one tunnel.
    pub fn close(&self, tunnel: TunnelId) {
        if let Some(queue) = self.shared.seats().queues.get(&tunnel) {
            queue.close();
        }
    }

    /// What the tunnels have done so far.
    pub fn stats(&self) -> TunnelStats {
        TunnelStats {
            open: self.shared.seats().taken,
            refused_full: self.shared.refused_full.load(Ordering::Relaxed),
            refused_address: self.shared.refused_address.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
        }
    }
}

impl Drop for TunnelListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Shared {
    limits: TunnelLimits,
    seats: Mutex<Seats>,
    refused_full: AtomicU64,
    refused_address: AtomicU64,
    failed: AtomicU64,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: usize,
    by_address: BTreeMap<IpAddr, usize>,
    queues: BTreeMap<TunnelId, Arc<SendQueue>>,
}

impl Shared {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one connection, which it holds until the seat is dropped.
    fn seat(self: &Arc<Self>, id: TunnelId, from: SocketAddr) -> Option<Seat> {
        let block = address_block(from.ip());
        let mut seats = self.seats();
        if seats.taken >= self.limits.tunnels {
            self.refused_full.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let of_address = seats.by_address.get(&block).copied().unwrap_or(0);
        if of_address >= self.limits.per_address {
            self.refused_address.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        seats.taken += 1;
        seats.by_address.insert(block, of_address + 1);
        Some(Seat { shared: Arc::clone(self), id, block })
    }
}

struct Seat {
    shared: Arc<Shared>,
    id: TunnelId,
    block: IpAddr,
}

impl Seat {
    fn queue(&self) -> Arc<SendQueue> {
        let queue = Arc::new(SendQueue::new(Arc::clone(&self.shared.dropped)));
        self.shared.seats().queues.insert(self.id, Arc::clone(&queue));
        queue
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.shared.seats();
        seats.taken -= 1;
        seats.queues.remove(&self.id);
        if let Some(count) = seats.by_address.get_mut(&self.block) {
            *count -= 1;
            if *count == 0 {
                seats.by_address.remove(&self.block);
            }
        }
    }
}

/// The connections live in this task's set, so that they end with it.
async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>, events: mpsc::Sender<TunnelEvent>) {
    let mut connections = JoinSet::new();
    let mut ids = (0..).map(TunnelId);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((tcp, from)) => {
                if let Some(seat) = ids.next().and_then(|id| shared.seat(id, from)) {
                    connections.spawn(serve(tcp, from, acceptor.clone(), seat, events.clone()));
                }
            }
            Err(error) => {
                // Out of file descriptors, most likely: they come back when connections end.
                warn!(%error, "cannot accept a tunnel");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(tcp: TcpStream, from: SocketAddr, acceptor: TlsAcceptor, seat: Seat, events: mpsc::Sender<TunnelEvent>) {
    let socket = match timeout(TUNNEL_HANDSHAKE, upgrade(tcp, acceptor)).await {
        Ok(Ok(Some(socket))) => socket,
        Ok(Ok(None)) => return,
        Ok(Err(_)) | Err(_) => {
            seat.shared.failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
    };
    let id = seat.id;
    let queue = seat.queue();
    if events.send(TunnelEvent::Opened(id, from)).await.is_err() {
        return;
    }
    let end = pump(socket, &queue, &events, |datagram| TunnelEvent::Datagram(id, datagram)).await;
    debug!(tunnel = %id, %end, "tunnel closed");
    drop(seat);
    let _ = events.send(TunnelEvent::Closed(id)).await;
}

/// TLS, then a WebSocket; `None` when it was only a visitor with a web browser.
async fn upgrade(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
) -> io::Result<Option<WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>>> {
    tune(&tcp)?;
    let mut tls = acceptor.accept(tcp).await?;
    let (request, rest) = read_request(&mut tls).await?;
    let response = if request.uri().path() == TUNNEL_PATH { create_response(&request).ok() } else { None };
    let Some(response) = response else {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n";
        let page = format!("{head}Content-Length: {}\r\n\r\n{WHAT_THIS_IS}", WHAT_THIS_IS.len());
        tls.write_all(page.as_bytes()).await?;
        tls.shutdown().await?;
        return Ok(None);
    };
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).map_err(io::Error::other)?;
    tls.write_all(&bytes).await?;
    tls.flush().await?;
    Ok(Some(WebSocketStream::from_partially_read(tls, rest, Role::Server, Some(config_of_messages())).await))
}

/// Reads an HTTP request; what already stands behind it is the second value.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Request, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(HTTP_HEAD_LEN);
    while bytes.len() < HTTP_HEAD_LEN {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((len, request)) = Request::try_parse(&bytes).map_err(io::Error::other)? {
            return Ok((request, bytes.split_off(len)));
        }
    }
    Err(io::Error::other("the head of the HTTP request is too long"))
}

/// The addresses one customer of a provider usually has: one of IPv4, a /56 of IPv6.
fn address_block(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 72)).into(),
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const WHAT_THIS_IS: &str = "This is a meipo rendezvous: it introduces peers to each other.\n\
    To join a room, open the link you were given with: peer join LINK\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_is_one_ipv4_address_or_one_ipv6_block() {
        let block = |text: &str| address_block(text.parse().unwrap());
        assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
        assert_eq!(block("2001:db8:0:aa01::1"), block("2001:db8:0:aaff:9::2"));
        assert_ne!(block("2001:db8:0:aa01::1"), block("2001:db8:0:ab01::1"));
    }
}
