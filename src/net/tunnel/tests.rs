use super::*;

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::client::TlsStream;

use crate::net::identity::Identity;

#[tokio::test]
async fn datagrams_pass_both_ways_and_keep_their_borders() {
    let mut server = Server::start(TunnelLimits::default()).await;
    let mut tunnel = server.connect().await;
    let id = server.opened().await;
    tunnel.try_send(b"one");
    tunnel.try_send(&[7; TUNNEL_DATAGRAM_LEN]);
    assert_eq!(server.datagram().await, (id, Bytes::from_static(b"one")));
    assert_eq!(server.datagram().await, (id, Bytes::from(vec![7; TUNNEL_DATAGRAM_LEN])));
    server.listener.try_send(id, b"three");
    assert_eq!(tunnel.recv().await.as_deref(), Some(&b"three"[..]));
}

#[tokio::test]
async fn a_tunnel_ends_with_either_side() {
    let mut server = Server::start(TunnelLimits::default()).await;
    let tunnel = server.connect().await;
    let id = server.opened().await;
    drop(tunnel);
    assert_eq!(server.event().await, TunnelEvent::Closed(id));
    assert_eq!(server.listener.stats().open, 0);

    let mut tunnel = server.connect().await;
    let id = server.opened().await;
    server.listener.close(id);
    assert_eq!(tunnel.recv().await, None);
    assert_eq!(server.event().await, TunnelEvent::Closed(id));
}

#[tokio::test]
async fn a_dropped_listener_ends_all_tunnels() {
    let mut server = Server::start(TunnelLimits::default()).await;
    let mut tunnel = server.connect().await;
    server.opened().await;
    drop(server);
    assert_eq!(tunnel.recv().await, None);
}

#[tokio::test]
async fn another_server_is_refused() {
    let server = Server::start(TunnelLimits::default()).await;
    let stranger = Identity::generate().unwrap().id();
    let error = Tunnel::connect(server.address, stranger).await.unwrap_err();
    assert!(matches!(error, TunnelError::Stranger), "{error}");
}

#[tokio::test]
async fn a_message_longer_than_a_datagram_ends_the_tunnel() {
    let mut server = Server::start(TunnelLimits::default()).await;
    let mut socket = server.web_socket().await;
    let id = server.opened().await;
    socket.send(Message::Binary(vec![0; TUNNEL_DATAGRAM_LEN + 1].into())).await.unwrap();
    assert_eq!(server.event().await, TunnelEvent::Closed(id));
}

#[tokio::test]
async fn a_text_message_ends_the_tunnel() {
    let mut server = Server::start(TunnelLimits::default()).await;
    let mut socket = server.web_socket().await;
    let id = server.opened().await;
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(server.event().await, TunnelEvent::Closed(id));
}

#[tokio::test]
async fn one_address_gets_its_share_and_no_more() {
    let limits = TunnelLimits { tunnels: 9, per_address: 1 };
    let mut server = Server::start(limits).await;
    let first = server.connect().await;
    server.opened().await;
    assert!(Tunnel::connect(server.address, server.id).await.is_err());
    assert_eq!(server.listener.stats().refused_address, 1);
    drop(first);
    assert!(matches!(server.event().await, TunnelEvent::Closed(_)));
    server.connect().await;
}

#[tokio::test]
async fn a_full_server_takes_no_more() {
    let limits = TunnelLimits { tunnels: 1, per_address: 9 };
    let mut server = Server::start(limits).await;
    let _first = server.connect().await;
    server.opened().await;
    assert!(Tunnel::connect(server.address, server.id).await.is_err());
    assert_eq!(server.listener.stats().refused_full, 1);
}

#[tokio::test]
async fn a_visitor_is_told_what_this_is() {
    let server = Server::start(TunnelLimits::default()).await;
    for path in ["/", "/meipo"] {
        let mut tls = server.tls().await;
        tls.write_all(format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n").as_bytes()).await.unwrap();
        let mut page = String::new();
        tls.read_to_string(&mut page).await.unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(page.contains("This is a meipo rendezvous"), "{page}");
    }
}

#[tokio::test]
async fn an_endless_request_is_cut_off() {
    let server = Server::start(TunnelLimits::default()).await;
    let mut tls = server.tls().await;
    let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(2 * crate::params::HTTP_HEAD_LEN));
    let _ = tls.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tls.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn who_never_speaks_loses_the_place() {
    let server = Server::start(TunnelLimits::default()).await;
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    let mut answer = Vec::new();
    let waited = timeout(TUNNEL_HANDSHAKE * 2, tcp.read_to_end(&mut answer)).await;
    assert!(waited.is_ok(), "the server did not hang up");
}

#[tokio::test]
async fn a_line_that_takes_nothing_holds_up_nobody() {
    let mut server = Server::start(TunnelLimits::default()).await;
    let stuck = server.web_socket().await;
    let slow = server.opened().await;
    let mut tunnel = server.connect().await;
    let fast = server.opened().await;
    let mut sent = 0;
    while server.listener.stats().dropped == 0 {
        server.listener.try_send(slow, &[0; TUNNEL_DATAGRAM_LEN]);
        sent += 1;
        assert!(sent < 1_000_000, "the queue has no end");
        tokio::task::yield_now().await;
    }
    server.listener.try_send(fast, b"still here");
    assert_eq!(tunnel.recv().await.as_deref(), Some(&b"still here"[..]));
    drop(stuck);
}

/// A listener on a real socket, and what comes out of it.
struct Server {
    listener: TunnelListener,
    events: mpsc::Receiver<TunnelEvent>,
    address: SocketAddr,
    id: PeerId,
}

impl Server {
    async fn start(limits: TunnelLimits) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let identity = Identity::generate().unwrap();
        let (listener, events) = TunnelListener::spawn(socket, &identity, limits).unwrap();
        Server { listener, events, address, id: identity.id() }
    }

    async fn connect(&self) -> Tunnel {
        Tunnel::connect(self.address, self.id).await.unwrap()
    }

    async fn web_socket(&self) -> WebSocketStream<TlsStream<TcpStream>> {
        let url = format!("wss://{}{TUNNEL_PATH}", self.address);
        client_async_with_config(url, self.tls().await, None).await.unwrap().0
    }

    async fn tls(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let config = Arc::new(tunnel_client_config(self.id).unwrap());
        TlsConnector::from(config).connect(server_name(), tcp).await.unwrap()
    }

    async fn event(&mut self) -> TunnelEvent {
        timeout(Duration::from_secs(10), self.events.recv()).await.expect("an event in time").expect("a listener")
    }

    async fn opened(&mut self) -> TunnelId {
        let TunnelEvent::Opened(id, _) = self.event().await else {
            panic!("a tunnel opens first");
        };
        id
    }

    async fn datagram(&mut self) -> (TunnelId, Bytes) {
        let TunnelEvent::Datagram(id, bytes) = self.event().await else {
            panic!("an open tunnel gives datagrams");
        };
        (id, bytes)
    }
}
