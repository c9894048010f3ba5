//! The ways by which the same frames go: bare UDP, plain QUIC, and whole endpoints of ours.
//!
//! A receiver says as text where it can be reached, so that a sender may live in another process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use meipo::link::Link;
use meipo::media::playout::Playout;
use meipo::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use meipo::net::identity::Identity;
use meipo::net::{Endpoint, EndpointConfig, Events, tls};
use meipo::node::Event;
use meipo::path::{PathKind, Policy};
use meipo::units::{CaptureTime, FrameNumber, PeerId, TrackId};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use tokio::net::UdpSocket;

use crate::media::{Shot, Stream};

/// How frames travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// Packets on a UDP socket.
    Bare,
    /// The same packets as datagrams of one QUIC connection.
    Quinn,
    /// Two endpoints of ours, each with the other's address.
    Direct,
    /// Two endpoints of ours through the relay of the rendezvous.
    Relayed,
}

/// Takes frames.
#[derive(Debug)]
pub(crate) enum Receiver {
    Bare(UdpSocket, Parts),
    Quinn(quinn::Endpoint, Option<quinn::Connection>, Parts),
    Ours(#[expect(dead_code, reason = "dropping it leaves the room")] Endpoint, Events),
}

/// Gives frames.
#[derive(Debug)]
pub(crate) enum Sender {
    Bare(UdpSocket),
    Quinn(quinn::Connection),
    Ours(Endpoint),
}

/// Packets that have come of each frame that is not whole.
pub(crate) type Parts = HashMap<(u8, u32), u16>;

impl Receiver {
    /// Opens one; in `room` if it is ours. Gives what [`Sender::open`] wants to know.
    pub(crate) async fn open(way: Way, room: &Link) -> (Self, String) {
        match way {
            Way::Bare => {
                let socket = UdpSocket::bind(LOOPBACK).await.expect("a loopback port is free");
                let address = socket.local_addr().expect("a bound socket has an address").to_string();
                (Receiver::Bare(socket, Parts::new()), address)
            }
            Way::Quinn => {
                let identity = Identity::generate().expect("the system gives randomness");
                let tls = tls::server_config(&identity).expect("the identity serves");
                let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3 is all QUIC asks for");
                let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
                let endpoint = quinn::Endpoint::server(config, LOOPBACK).expect("a loopback port is free");
                let address = endpoint.local_addr().expect("a bound socket has an address");
                (Receiver::Quinn(endpoint, None, Parts::new()), format!("{address}/{}", identity.id()))
            }
            Way::Direct | Way::Relayed => {
                let (endpoint, events) = join(way, room, "receiver").await;
                (Receiver::Ours(endpoint, events), room.to_string())
            }
        }
    }

    /// The next frame that is whole.
    pub(crate) async fn next(&mut self) -> (Stream, u32) {
        let mut buffer = [0; 2048];
        loop {
            let whole = match self {
                Receiver::Bare(socket, parts) => {
                    let len = socket.recv(&mut buffer).await.unwrap_or_default();
                    count(parts, buffer.get(..len).unwrap_or_default())
                }
                Receiver::Quinn(endpoint, None, _) => {
                    let incoming = endpoint.accept().await.expect("the endpoint is open");
                    let connection = incoming.await.expect("the handshake succeeds");
                    *self = Receiver::Quinn(endpoint.clone(), Some(connection), Parts::new());
                    None
                }
                Receiver::Quinn(_, Some(connection), parts) => match connection.read_datagram().await {
                    Ok(datagram) => count(parts, &datagram),
                    Err(_) => std::future::pending().await,
                },
                Receiver::Ours(_, events) => match events.next().await {
                    Some(Event::Frame { frame, .. }) => Some((stream(frame.track.0), frame.number.0)),
                    Some(_) => None,
                    None => std::future::pending().await,
                },
            };
            if let Some(whole) = whole {
                return whole;
            }
        }
    }
}

impl Sender {
    /// Opens one towards a receiver and waits until frames can flow.
    pub(crate) async fn open(way: Way, to: &str) -> Self {
        match way {
            Way::Bare => {
                let socket = UdpSocket::bind(LOOPBACK).await.expect("a loopback port is free");
                socket.connect(to).await.expect("the receiver's address is one");
                Sender::Bare(socket)
            }
            Way::Quinn => {
                let (address, id) = to.split_once('/').expect("the receiver gave address and identity");
                let id: PeerId = id.parse().expect("the identity is one");
                let identity = Identity::generate().expect("the system gives randomness");
                let tls = tls::client_config(&identity, id).expect("the identity serves");
                let crypto = QuicClientConfig::try_from(tls).expect("TLS 1.3 is all QUIC asks for");
                let config = quinn::ClientConfig::new(Arc::new(crypto));
                let endpoint = quinn::Endpoint::client(LOOPBACK).expect("a loopback port is free");
                let address = address.parse().expect("the address is one");
                let connecting = endpoint.connect_with(config, address, "meipo.invalid");
                Sender::Quinn(connecting.expect("the connection begins").await.expect("the handshake succeeds"))
            }
            Way::Direct | Way::Relayed => {
                let room = to.parse().expect("the receiver gave a link");
                let (endpoint, mut events) = join(way, &room, "sender").await;
                for stream in [Stream::Picture, Stream::Sound] {
                    endpoint.publish(track(stream)).await.expect("the track is one");
                }
                wait_for_path(&mut events, way).await;
                tokio::spawn(async move { while events.next().await.is_some() {} });
                Sender::Ours(endpoint)
            }
        }
    }

    /// Sends one frame.
    pub(crate) async fn send(&self, shot: &Shot) {
        match self {
            Sender::Bare(socket) => {
                for packet in packets(shot) {
                    let _ = socket.send(&packet).await;
                }
            }
            Sender::Quinn(connection) => {
                for packet in packets(shot) {
                    let _ = connection.send_datagram(packet);
                }
            }
            Sender::Ours(endpoint) => endpoint.send(frame(shot)),
        }
    }
}

async fn join(way: Way, room: &Link, name: &str) -> (Endpoint, Events) {
    let identity = Arc::new(Identity::generate().expect("the system gives randomness"));
    let mut config = EndpointConfig::new(room.clone(), identity, name.parse().expect("the name is one"));
    config.playout = Playout::Ordered { patience: Duration::from_millis(500) };
    config.receives = name == "receiver";
    if way == Way::Relayed {
        config.policy = Policy::RelayOnly;
    }
    Endpoint::join(config).await.expect("the loopback interface has sockets")
}

async fn wait_for_path(events: &mut Events, way: Way) {
    let kind = if way == Way::Relayed { PathKind::Relayed } else { PathKind::Direct };
    loop {
        let event = events.next().await.expect("the room is entered");
        if matches!(event, Event::Path { kind: found, .. } if found == kind) {
            return;
        }
    }
}

fn frame(shot: &Shot) -> Frame {
    let is_key = shot.stream == Stream::Sound || shot.number.is_multiple_of(30);
    Frame {
        track: TrackId(shot.stream as u16),
        number: FrameNumber(shot.number),
        captured: CaptureTime::from_micros(u64::try_from(shot.due.as_micros()).unwrap_or_default()),
        kind: if is_key { FrameKind::Key } else { FrameKind::Delta },
        temporal_layer: 0,
        needs: u8::from(!is_key),
        data: shot.data.clone(),
    }
}

fn track(stream: Stream) -> Track {
    let (kind, codec) = match stream {
        Stream::Picture => (TrackKind::Video { width: 1280, height: 720, millihertz: 30_000 }, "avc1.42e01f"),
        Stream::Sound => (TrackKind::Audio { sample_rate: 48_000, channels: 1 }, "opus"),
    };
    Track {
        id: TrackId(stream as u16),
        kind,
        source: TrackSource::TestPattern,
        codec: codec.to_owned(),
        description: Bytes::new(),
        epoch_unix_us: 0,
    }
}

/// A frame as equal packets of at most [`PACKET_LEN`] bytes: stream, number, count, then a part.
fn packets(shot: &Shot) -> Vec<Bytes> {
    let count = shot.data.len().div_ceil(PACKET_LEN - HEADER_LEN);
    let size = shot.data.len().div_ceil(count);
    let packet = |part: &[u8]| {
        let mut bytes = BytesMut::with_capacity(PACKET_LEN);
        bytes.put_u8(shot.stream as u8);
        bytes.put_u32(shot.number);
        bytes.put_u16(u16::try_from(count).expect("a frame has few parts"));
        bytes.put_slice(part);
        bytes.freeze()
    };
    shot.data.chunks(size).map(packet).collect()
}

/// Counts a packet; gives its frame if that is whole now.
fn count(parts: &mut Parts, packet: &[u8]) -> Option<(Stream, u32)> {
    let (&[track, n0, n1, n2, n3, c0, c1], _) = packet.split_first_chunk::<HEADER_LEN>()?;
    let number = u32::from_be_bytes([n0, n1, n2, n3]);
    let seen = parts.entry((track, number)).or_default();
    *seen += 1;
    if *seen < u16::from_be_bytes([c0, c1]) {
        return None;
    }
    parts.remove(&(track, number));
    Some((stream(u16::from(track)), number))
}

fn stream(track: u16) -> Stream {
    if track == Stream::Picture as u16 { Stream::Picture } else { Stream::Sound }
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const PACKET_LEN: usize = 1150;
const HEADER_LEN: usize = 7;
