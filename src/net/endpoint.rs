//! What a program sees of meipo: join a room, publish tracks, take events.
//!
//! ```no_run
//! use std::sync::Arc;
//! use meipo::net::{Endpoint, EndpointConfig, identity::Identity};
//! use meipo::node::Event;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let link = std::env::args().nth(1).ok_or("usage: watch LINK")?.parse()?;
//! let identity = Arc::new(Identity::generate()?);
//! let (endpoint, mut events) = Endpoint::join(EndpointConfig::new(link, identity, "alice".parse()?)).await?;
//! while let Some(event) = events.next().await {
//!     if let Event::Frame { peer, frame } = event {
//!         println!("{peer} sent frame {} of {} bytes", frame.number.0, frame.data.len());
//!     }
//! }
//! endpoint.leave().await;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::net::lookup_host;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::asker::Asker;
use super::clock::Clock;
use super::driver::{Command, Driver, FurtherSockets};
use super::identity::Identity;
use super::interfaces::Interfaces;
use super::peer_machine::{PeerMachine, PeerMachineConfig};
use super::socket::Socket;
use crate::link::Link;
use crate::media::playout::Playout;
use crate::media::{Frame, Track};
use crate::node::{Event, NodeConfig, Order, PeerStats, PublishError};
use crate::params::{PLAYOUT_LEAST, PLAYOUT_MOST};
use crate::path::Policy;
use crate::units::{PeerId, TrackId, TransferId};
use crate::wire::name::Name;
use crate::wire::stun::ChangeRequest;

/// How to enter a room, and how to behave in it.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Which room, where.
    pub link: Link,
    /// Our key.
    pub identity: Arc<Identity>,
    /// What the others read.
    pub name: Name,
    /// Which ways media may take.
    pub policy: Policy,
    /// Where our UDP socket is bound; `[::]:0` by default.
    pub bind: SocketAddr,
    /// Whether we take the frames of others without asking for each track.
    pub receives: bool,
    /// When received frames are given to the program.
    pub playout: Playout,
    /// Whether the router is asked for a port (UPnP-IGD, NAT-PMP, PCP).
    pub asks_router: bool,
    /// Whether symmetric NATs are gambled with.
    pub may_gamble: bool,
    /// Whether TCP may be used where UDP does not pass.
    pub may_tunnel: bool,
    /// Further STUN servers that are asked where they see us, as `HOST:PORT`.
    pub stun_servers: Vec<String>,
}

impl EndpointConfig {
    /// A peer as most people want it.
    pub fn new(link: Link, identity: Arc<Identity>, name: Name) -> Self {
        EndpointConfig {
            link,
            identity,
            name,
            policy: Policy::Any,
            bind: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
            receives: true,
            playout: Playout::Adaptive { least: PLAYOUT_LEAST, most: PLAYOUT_MOST },
            asks_router: true,
            may_gamble: true,
            may_tunnel: true,
            stun_servers: Vec::new(),
        }
    }
}

/// Why a room cannot even be tried to enter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The rendezvous' name is not known.
    #[error("cannot find {host}: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// The UDP socket cannot be had.
    #[error("cannot bind UDP {address}: {error}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// There is no randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

/// A peer in a room. Dropping it leaves, too, but without waiting for what is still to be sent.
#[derive(Debug)]
pub struct Endpoint {
    commands: mpsc::UnboundedSender<Command>,
    id: PeerId,
}

/// What happens in the room.
#[derive(Debug)]
pub struct Events {
    events: mpsc::UnboundedReceiver<Event>,
    untaken: Arc<AtomicUsize>,
}

impl Endpoint {
    /// Starts to enter a room; [`Event::Joined`] tells when that has come about.
    ///
    /// # Errors
    /// When the rendezvous' name is not known or no socket can be had.
    pub async fn join(config: EndpointConfig) -> Result<(Endpoint, Events), JoinError> {
        let rendezvous = resolve(&config.link).await?;
        let bind = config.bind;
        let socket = Socket::bind(bind).map_err(|error| JoinError::Bind { address: bind, error })?;
        let local = socket.local_address().map_err(|error| JoinError::Bind { address: bind, error })?;
        let seed = random_seed()?;
        let asks_router = config.asks_router && config.policy != Policy::RelayOnly && !rendezvous.ip().is_loopback();
        let id = config.identity.id();
        let rendezvous_id = config.link.server();
        let may_tunnel = config.may_tunnel;
        let machine = PeerMachineConfig {
            identity: config.identity.clone(),
            node: node_config(&config, seed).await?,
            rendezvous,
            rendezvous_id,
            may_tunnel,
        };
        let clock = Clock::start();
        let (commands, received) = mpsc::unbounded_channel();
        let (sender, events) = mpsc::unbounded_channel();
        let untaken = Arc::new(AtomicUsize::new(0));
        let driver = Driver {
            machine: PeerMachine::new(machine, clock),
            clock,
            socket,
            interfaces: Interfaces::new(local, asks_router),
            commands: received,
            events: sender,
            untaken: untaken.clone(),
            tunnel_to: (rendezvous, rendezvous_id),
            further: FurtherSockets::new(local),
            tunnel: None,
            opening: None,
            buffer: Vec::new(),
        };
        tokio::spawn(driver.run());
        Ok((Endpoint { commands, id }, Events { events, untaken }))
    }

    /// Who we are.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Announces a track to everybody, now and later; or changes one.
    ///
    /// # Errors
    /// When its shape cannot be.
    pub async fn publish(&self, track: Track) -> Result<(), PublishError> {
        let (answer, answered) = oneshot::channel();
        let _ = self.commands.send(Command::Publish(track, answer));
        answered.await.unwrap_or(Ok(()))
    }

    /// Says that the pictures of `track` can also be had in a smaller size: their frames are sent as if they were of the
    /// track `smaller`, while [`Event::SmallerBitrate`] asks for them. Who gets which is not the program's concern.
    ///
    /// # Errors
    /// When `track` was not announced, or `smaller` is a track of its own.
    pub async fn publish_smaller(&self, track: TrackId, smaller: TrackId) -> Result<(), PublishError> {
        let (answer, answered) = oneshot::channel();
        let _ = self.commands.send(Command::PublishSmaller(track, smaller, answer));
        answered.await.unwrap_or(Ok(()))
    }

    /// Sends a frame of a track that was announced. One that is too large becomes an [`Event::Trouble`].
    pub fn send(&self, frame: Frame) {
        let _ = self.commands.send(Command::Send(frame));
    }

    /// Ends a track.
    pub fn end(&self, track: TrackId) {
        let _ = self.commands.send(Command::End(track));
    }

    /// Says whether we want the frames of a track.
    pub fn want(&self, peer: PeerId, track: TrackId, wanted: bool) {
        let _ = self.commands.send(Command::Want(peer, track, wanted));
    }

    /// Asks for a key frame, because the frames we have do not decode.
    pub fn request_key_frame(&self, peer: PeerId, track: TrackId) {
        let _ = self.commands.send(Command::RequestKeyFrame(peer, track));
    }

    /// Says something small to the program of one peer, or of all who are connected now: whole, in order, encrypted, and
    /// an [`Event::Said`] there. More than [`MAX_SAID_LEN`](crate::params::MAX_SAID_LEN) bytes become an [`Event::Trouble`] here.
    pub fn say(&self, peer: Option<PeerId>, bytes: Bytes) {
        let _ = self.commands.send(Command::Say(peer, bytes));
    }

    /// Sends a piece of a transfer to a peer, in no hurry: whole, encrypted, behind all media, and again over the next
    /// connection if this one breaks. [`Event::BulkArrived`] tells of what has come; more than
    /// [`BULK_WINDOW`](crate::params::BULK_WINDOW) bytes on their way become an [`Event::Trouble`] here.
    pub fn send_bulk(&self, peer: PeerId, transfer: TransferId, offset: u64, data: Bytes) {
        let _ = self.commands.send(Command::SendBulk(peer, transfer, offset, data));
    }

    /// What is still to be sent of a transfer is of no more use.
    pub fn cancel_bulk(&self, peer: PeerId, transfer: TransferId) {
        let _ = self.commands.send(Command::CancelBulk(peer, transfer));
    }

    /// Takes a transfer of a peer's up to this byte, as [`Event::Bulk`], or no longer if that is 0. What was not asked for
    /// is dropped, so a program asks for as much as it has room for, and for more when it has taken that.
    pub fn accept_bulk(&self, peer: PeerId, transfer: TransferId, until: u64) {
        let _ = self.commands.send(Command::AcceptBulk(peer, transfer, until));
    }

    /// The host of the room decides something; [`Event::Rules`] tells that it holds, here and at the others. From anybody
    /// else, or where it cannot be, it becomes an [`Event::Trouble`] here.
    pub fn order(&self, order: Order) {
        let _ = self.commands.send(Command::Order(order));
    }

    /// What has passed between us and each peer.
    pub async fn stats(&self) -> BTreeMap<PeerId, PeerStats> {
        let (answer, answered) = oneshot::channel();
        let _ = self.commands.send(Command::Stats(answer));
        answered.await.unwrap_or_default()
    }

    /// How many members of the room we were introduced to, but cannot speak to yet.
    pub async fn missing_peers(&self) -> usize {
        let (answer, answered) = oneshot::channel();
        let _ = self.commands.send(Command::MissingPeers(answer));
        answered.await.unwrap_or_default()
    }

    /// The network has changed: all paths must prove themselves again. Changes of addresses are noticed without this.
    pub fn network_changed(&self) {
        let _ = self.commands.send(Command::NetworkChanged);
    }

    /// Lets what was published reach the others, for a second at most, and leaves.
    pub async fn leave(self) {
        let (done, is_done) = oneshot::channel();
        if self.commands.send(Command::Leave(done)).is_ok() {
            let _ = is_done.await;
        }
    }
}

impl Events {
    /// The next event; `None` when the peer has left.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await?;
        if is_counted(&event) {
            self.untaken.fetch_sub(1, Ordering::Relaxed);
        }
        Some(event)
    }
}

/// What a program that takes nothing would pile up.
pub(super) fn is_counted(event: &Event) -> bool {
    matches!(event, Event::Frame { .. } | Event::Bulk { .. })
}

/// The address of the rendezvous. Where its name has several, the first that answers (RFC 8305 in small): IPv6 that leads
/// nowhere, or IPv4 that does, costs a moment and no call.
pub(super) async fn resolve(link: &Link) -> Result<SocketAddr, JoinError> {
    let host = link.host().to_string();
    let error = |error| JoinError::Resolve { host: host.clone(), error };
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let mut found: Vec<SocketAddr> = lookup_host((name, link.port())).await.map_err(error)?.collect();
    found.sort_by_key(|address| address.is_ipv6());
    found.dedup();
    let none = || error(io::Error::new(io::ErrorKind::NotFound, "no address"));
    match found.as_slice() {
        [] => Err(none()),
        [only] => Ok(*only),
        [first, ..] => Ok(first_that_answers(&found).await.unwrap_or(*first)),
    }
}

async fn first_that_answers(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let mut asking = JoinSet::new();
    for address in addresses.iter().copied() {
        asking.spawn(async move {
            let mut asker = Asker::new(address).ok()?;
            asker.ask(address, ChangeRequest::None).await.map(|_| address)
        });
    }
    while let Some(answered) = asking.join_next().await {
        if let Ok(Some(address)) = answered {
            return Some(address);
        }
    }
    None
}

async fn node_config(config: &EndpointConfig, seed: u64) -> Result<NodeConfig, JoinError> {
    let mut stun_servers = Vec::new();
    for server in &config.stun_servers {
        let error = |error| JoinError::Resolve { host: server.clone(), error };
        let mut found = lookup_host(server.as_str()).await.map_err(error)?;
        stun_servers.extend(found.next());
    }
    Ok(NodeConfig {
        id: config.identity.id(),
        secret: config.link.secret().clone(),
        host: config.link.host_id(),
        host_key: config.link.host_key().cloned(),
        name: config.name.clone(),
        instance: seed,
        policy: config.policy,
        may_gamble: config.may_gamble,
        stun_servers,
        receives: config.receives,
        playout: config.playout,
        clock: super::clock::machine_clock(config.link.secret()),
        seed,
    })
}

fn random_seed() -> Result<u64, JoinError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| JoinError::Random(error.to_string()))?;
    Ok(u64::from_be_bytes(bytes))
}
