//! A rendezvous and peers in this process, each with sockets of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meipo::limits::Limits;
use meipo::link::{Host, Link};
use meipo::media::playout::Playout;
use meipo::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use meipo::net::identity::Identity;
use meipo::net::rendezvous_machine::RendezvousMachineConfig;
use meipo::net::server::{Listen, Server};
use meipo::net::{Endpoint, EndpointConfig, Events};
use meipo::node::Event;
use meipo::trust::RoomSecret;
use meipo::units::{CaptureTime, FrameNumber, TrackId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long anything may take; reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rendezvous {
    pub(crate) address: SocketAddr,
    identity: Arc<Identity>,
    task: JoinHandle<()>,
    stop: watch::Sender<u32>,
}

impl Rendezvous {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut RendezvousMachineConfig)) -> Self {
        let identity = Arc::new(Identity::generate().unwrap());
        Self::start_at("127.0.0.1:0".parse().unwrap(), identity, change).await
    }

    async fn start_at(
        address: SocketAddr,
        identity: Arc<Identity>,
        change: impl FnOnce(&mut RendezvousMachineConfig),
    ) -> Self {
        let mut config = RendezvousMachineConfig {
            identity: identity.clone(),
            limits: Limits::default(),
            relays: Vec::new(),
            is_relay: true,
            stun_alternate: None,
            seed: [7; 32],
        };
        change(&mut config);
        let listen = Listen { main: address, alternate: None, tunnels: true };
        let server = Server::bind(listen, config).await.unwrap();
        let address = server.local_address().unwrap();
        let (stop, stopped) = watch::channel(0);
        Rendezvous { address, identity, task: tokio::spawn(server.run(stopped)), stop }
    }

    /// Ends it as `kill -9` would: nobody is told.
    pub(crate) async fn kill(self) -> (SocketAddr, Arc<Identity>) {
        self.task.abort();
        let _ = self.task.await;
        drop(self.stop);
        (self.address, self.identity)
    }

    pub(crate) async fn restart((address, identity): (SocketAddr, Arc<Identity>)) -> Self {
        Self::start_at(address, identity, |_| {}).await
    }

    pub(crate) fn link(&self) -> Link {
        let secret = RoomSecret::from_bytes([3; 16]);
        let host = Host::Ipv4("127.0.0.1".parse().unwrap());
        Link::new(host, self.address.port(), "test", self.identity.id(), secret).unwrap()
    }

    pub(crate) async fn peer(&self, name: &str, change: impl FnOnce(&mut EndpointConfig)) -> Peer {
        let identity = Arc::new(Identity::generate().unwrap());
        let mut config = EndpointConfig::new(self.link(), identity, name.parse().unwrap());
        config.playout = Playout::Ordered { patience: Duration::from_millis(500) };
        change(&mut config);
        let (endpoint, events) = Endpoint::join(config).await.unwrap();
        Peer { endpoint, events, seen: Vec::new() }
    }
}

pub(crate) struct Peer {
    pub(crate) endpoint: Endpoint,
    events: Events,
    pub(crate) seen: Vec<Event>,
}

impl Peer {
    /// The first event, already seen or still to come, for which `find` gives something.
    pub(crate) async fn wait<T>(&mut self, what: &str, find: impl Fn(&Event) -> Option<T>) -> T {
        if let Some(found) = self.seen.iter().find_map(&find) {
            return found;
        }
        self.wait_next(what, find).await
    }

    /// The first event still to come for which `find` gives something.
    pub(crate) async fn wait_next<T>(&mut self, what: &str, find: impl Fn(&Event) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let event = self.events.next().await.unwrap();
                let found = find(&event);
                self.seen.push(event);
                if let Some(found) = found {
                    return found;
                }
            }
        };
        let result = timeout(PATIENCE, waiting).await;
        let Ok(found) = result else { panic!("no {what}; seen: {:#?}", self.seen) };
        found
    }

    /// Takes frames until `count` have come since the beginning.
    pub(crate) async fn frames(&mut self, count: usize) -> Vec<Frame> {
        let frame = |event: &Event| if let Event::Frame { frame, .. } = event { Some(frame.clone()) } else { None };
        while self.seen.iter().filter_map(frame).count() < count {
            self.wait_next("frame", frame).await;
        }
        self.seen.iter().filter_map(frame).collect()
    }
}

pub(crate) fn video(id: u16) -> Track {
    Track {
        id: TrackId(id),
        kind: TrackKind::Video { width: 640, height: 480, millihertz: 30_000 },
        source: TrackSource::TestPattern,
        codec: "avc1.42e01f".to_owned(),
        description: Bytes::new(),
        epoch_unix_us: 0,
    }
}

pub(crate) fn frame(track: u16, number: u32, len: usize) -> Frame {
    let is_key = number.is_multiple_of(30);
    Frame {
        track: TrackId(track),
        number: FrameNumber(number),
        captured: CaptureTime::from_micros(u64::from(number) * 33_333),
        kind: if is_key { FrameKind::Key } else { FrameKind::Delta },
        temporal_layer: 0,
        needs: u8::from(!is_key),
        data: (0..len).map(|at| u8::try_from((at * 7 + number as usize) % 256).unwrap()).collect(),
    }
}
