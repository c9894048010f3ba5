//! The tunnel: the same datagrams in one TLS connection, for networks that let no UDP through.
//!
//! Datagrams go in and come out, each as one binary WebSocket message, so that to whoever stands in between it is a web
//! page that stays open. Sending never waits: what the line cannot take in time is dropped, the oldest first, as UDP
//! would. TLS names the server; the QUIC inside names both sides.

mod listener;
mod queue;

pub use listener::{TunnelEvent, TunnelId, TunnelLimits, TunnelListener, TunnelStats};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt};
use rustls::CertificateError;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{self, Message, protocol::WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tracing::debug;

use crate::net::tls::{server_name, tunnel_client_config};
use crate::params::{
    TUNNEL_BACKLOG, TUNNEL_BUFFER_LEN, TUNNEL_DATAGRAM_LEN, TUNNEL_HANDSHAKE, TUNNEL_IDLE, TUNNEL_PATH, TUNNEL_UNSENT,
};
use crate::units::PeerId;
use queue::SendQueue;

/// One tunnel to a rendezvous. It ends when this is dropped.
#[derive(Debug)]
pub struct Tunnel {
    queue: Arc<SendQueue>,
    received: mpsc::Receiver<Bytes>,
    task: AbortHandle,
}

impl Tunnel {
    /// Opens a tunnel to `server` at `address`.
    ///
    /// # Errors
    /// When nobody answers in time, it is not `server` who answers, or there is no tunnel.
    pub async fn connect(address: SocketAddr, server: PeerId) -> Result<Self, TunnelError> {
        let socket = timeout(TUNNEL_HANDSHAKE, open(address, server)).await.map_err(|_| TunnelError::TooSlow)??;
        let queue = Arc::new(SendQueue::new(Arc::default()));
        let (sender, received) = mpsc::channel(TUNNEL_BACKLOG);
        let waiting = Arc::clone(&queue);
        let task = tokio::spawn(async move {
            let end = pump(socket, &waiting, &sender, |datagram| datagram).await;
            waiting.close();
            debug!(%end, "tunnel closed");
        });
        Ok(Tunnel { queue, received, task: task.abort_handle() })
    }

    /// Sends a datagram if the line takes it in time. Never waits. One that is too long is dropped.
    pub fn try_send(&self, datagram: &[u8]) {
        if datagram.len() <= TUNNEL_DATAGRAM_LEN {
            self.queue.push(datagram, Instant::now());
        }
    }

    /// Waits for a datagram; `None` once the tunnel is closed.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.received.recv().await
    }

    /// How many datagrams the line did not take in time.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// No TCP connection, or TLS refused: the system says why.
    #[error("cannot reach the rendezvous over TCP and TLS: {0}")]
    Connect(#[from] io::Error),
    /// Our own TLS configuration is refused.
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
    /// There is a server, but another one.
    #[error("the server at this address has another identity than expected")]
    Stranger,
    /// There is a TLS server, but no tunnel behind it.
    #[error("the server at this address has no tunnel: {0}")]
    Refused(Box<tungstenite::Error>),
    /// The handshake took too long.
    #[error("no tunnel within {} s", TUNNEL_HANDSHAKE.as_secs())]
    TooSlow,
}

async fn open(
    address: SocketAddr,
    server: PeerId,
) -> Result<WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>, TunnelError> {
    let tcp = TcpStream::connect(address).await?;
    tune(&tcp)?;
    let config = Arc::new(tunnel_client_config(server)?);
    let tls = TlsConnector::from(config).connect(server_name(), tcp).await.map_err(refusal)?;
    let url = format!("wss://{address}{TUNNEL_PATH}");
    let (socket, _) = client_async_with_config(url, tls, Some(config_of_messages()))
        .await
        .map_err(|error| TunnelError::Refused(Box::new(error)))?;
    Ok(socket)
}

/// Why TLS has refused: a server that is not the expected one is told apart from what the system says.
fn refusal(error: io::Error) -> TunnelError {
    let stranger = rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    if cause == Some(&stranger) { TunnelError::Stranger } else { error.into() }
}

/// Datagrams leave at once, and the kernel keeps few that could not be dropped any more.
fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    SockRef::from(tcp).set_tcp_notsent_lowat(TUNNEL_UNSENT)?;
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    SockRef::from(tcp).set_send_buffer_size(4 * TUNNEL_UNSENT as usize)?;
    Ok(())
}

fn config_of_messages() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(TUNNEL_BUFFER_LEN)
        .write_buffer_size(TUNNEL_BUFFER_LEN)
        .max_write_buffer_size(4 * TUNNEL_BUFFER_LEN)
        .max_message_size(Some(TUNNEL_DATAGRAM_LEN))
        .max_frame_size(Some(TUNNEL_DATAGRAM_LEN))
}

/// Carries datagrams both ways until one side ends it, and says why it ended.
async fn pump<S, T>(
    socket: WebSocketStream<S>,
    queue: &SendQueue,
    received: &mpsc::Sender<T>,
    wrap: impl Fn(Bytes) -> T,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sink, stream) = socket.split();
    tokio::select! {
        end = pump_out(sink, queue) => end,
        end = pump_in(stream, received, wrap) => end,
    }
}

async fn pump_out(mut sink: impl SinkExt<Message, Error = tungstenite::Error> + Unpin, queue: &SendQueue) -> End {
    while let Some(first) = queue.next().await {
        let mut next = Some(first);
        let mut len = 0;
        // What waits goes out in one TLS record, but only as much as may lie where it cannot be dropped.
        while let Some(datagram) = next {
            len += datagram.len();
            if let Err(error) = sink.feed(Message::Binary(datagram)).await {
                return End::Broken(error);
            }
            next = if len < TUNNEL_BUFFER_LEN / 2 { queue.pop(Instant::now()) } else { None };
        }
        if let Err(error) = sink.flush().await {
            return End::Broken(error);
        }
    }
    End::Closed
}

async fn pump_in<T>(
    mut stream: impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
    received: &mpsc::Sender<T>,
    wrap: impl Fn(Bytes) -> T,
) -> End {
    loop {
        let datagram = match timeout(TUNNEL_IDLE, stream.next()).await {
            Err(_) => return End::Idle,
            Ok(None | Some(Ok(Message::Close(_)))) => return End::Closed,
            Ok(Some(Err(error))) => return End::Broken(error),
            Ok(Some(Ok(Message::Binary(datagram)))) => datagram,
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
            Ok(Some(Ok(Message::Text(_) | Message::Frame(_)))) => return End::NotADatagram,
        };
        if received.send(wrap(datagram)).await.is_err() {
            return End::Closed;
        }
    }
}

/// Why a tunnel ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed")]
    Closed,
    #[error("no datagram for {} s", TUNNEL_IDLE.as_secs())]
    Idle,
    #[error("a message that is no datagram")]
    NotADatagram,
    #[error("{0}")]
    Broken(tungstenite::Error),
}

#[cfg(test)]
mod tests;
