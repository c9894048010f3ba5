//! The one task of a peer: sockets, tunnel, timers and commands around its machine.
//!
//! Whatever wakes it, it does the same: hands the news to the machine, sends what the machine has to send, tells the
//! person what happened. Nothing in it decides anything about peers, paths or packets.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::clock::Clock;
use super::endpoint::is_counted;
use super::interfaces::Interfaces;
use super::peer_machine::{Outgoing, PeerMachine, Place, Request};
use super::socket::{ReceiveBuffer, Socket};
use super::tunnel::Tunnel;
use crate::media::{Frame, Track};
use crate::node::{Event, Order, PeerStats, PublishError};
use crate::params::{LEAVE_TIMEOUT, MAX_UNTAKEN};
use crate::path::SocketIndex;
use crate::units::{PeerId, Time, TrackId, TransferId};

/// What the program tells its peer.
#[derive(Debug)]
pub(super) enum Command {
    Publish(Track, oneshot::Sender<Result<(), PublishError>>),
    PublishSmaller(TrackId, TrackId, oneshot::Sender<Result<(), PublishError>>),
    Send(Frame),
    End(TrackId),
    Want(PeerId, TrackId, bool),
    RequestKeyFrame(PeerId, TrackId),
    Say(Option<PeerId>, Bytes),
    SendBulk(PeerId, TransferId, u64, Bytes),
    AcceptBulk(PeerId, TransferId, u64),
    CancelBulk(PeerId, TransferId),
    Order(Order),
    Stats(oneshot::Sender<BTreeMap<PeerId, PeerStats>>),
    MissingPeers(oneshot::Sender<usize>),
    NetworkChanged,
    Leave(oneshot::Sender<()>),
}

/// Everything around one machine.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) machine: PeerMachine,
    pub(super) clock: Clock,
    pub(super) socket: Socket,
    pub(super) interfaces: Interfaces,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) events: mpsc::UnboundedSender<Event>,
    pub(super) untaken: Arc<AtomicUsize>,
    /// Where a tunnel would go, and to whom.
    pub(super) tunnel_to: (SocketAddr, PeerId),
    pub(super) further: FurtherSockets,
    pub(super) tunnel: Option<Tunnel>,
    pub(super) opening: Option<oneshot::Receiver<Option<Tunnel>>>,
    pub(super) buffer: Vec<u8>,
}

/// What woke the driver.
enum Wake {
    Socket,
    Further(SocketIndex, SocketAddr, Bytes),
    Tunnel(Option<Bytes>),
    TunnelOpened(Option<Tunnel>),
    Addresses(Vec<crate::wire::control::Candidate>),
    Command(Option<Command>),
    Timer,
}

impl Driver {
    /// Runs until the program has left or dropped its end.
    pub(super) async fn run(mut self) {
        let mut arrived = ReceiveBuffer::new();
        self.machine.join(self.clock.now());
        loop {
            if self.tell() {
                // Whoever waits for a frame gets it before anything is acknowledged.
                tokio::task::yield_now().await;
            }
            self.flush();
            match self.wake().await {
                Wake::Socket => self.receive(&mut arrived),
                Wake::Further(socket, from, bytes) => {
                    let now = self.clock.now();
                    self.machine.handle_datagram(Place::Udp(socket, from), None, BytesMut::from(&bytes[..]), now);
                }
                Wake::Tunnel(Some(bytes)) => {
                    let now = self.clock.now();
                    self.machine.handle_datagram(Place::Tunnel, None, BytesMut::from(&bytes[..]), now);
                }
                Wake::Tunnel(None) => {
                    self.tunnel = None;
                    self.machine.handle_tunnel(false, self.clock.now());
                }
                Wake::TunnelOpened(tunnel) => {
                    self.opening = None;
                    self.tunnel = tunnel;
                    self.machine.handle_tunnel(self.tunnel.is_some(), self.clock.now());
                }
                Wake::Addresses(local) => {
                    let now = self.clock.now();
                    self.machine.node().handle_addresses(local, now);
                    self.machine.settle(now);
                }
                Wake::Timer => self.machine.handle_timeout(self.clock.now()),
                Wake::Command(Some(Command::Leave(done))) => {
                    self.leave().await;
                    let _ = done.send(());
                    return;
                }
                Wake::Command(Some(command)) => self.obey(command),
                Wake::Command(None) => return self.leave().await,
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let deadline = self.machine.poll_timeout().map(|at| self.clock.instant(at));
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let tunnel = async {
            match &mut self.tunnel {
                Some(tunnel) => tunnel.recv().await,
                None => std::future::pending().await,
            }
        };
        let opening = async {
            match &mut self.opening {
                Some(opening) => opening.await.ok().flatten(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.socket.readable() => Wake::Socket,
            command = self.commands.recv() => Wake::Command(command),
            () = timer => Wake::Timer,
            (socket, from, bytes) = self.further.receive() => Wake::Further(socket, from, bytes),
            bytes = tunnel => Wake::Tunnel(bytes),
            tunnel = opening => Wake::TunnelOpened(tunnel),
            local = self.interfaces.changed() => Wake::Addresses(local),
        }
    }

    fn receive(&mut self, arrived: &mut ReceiveBuffer) {
        let Some(batches) = self.socket.receive(arrived) else { return };
        let now = self.clock.now();
        for batch in batches {
            let from = Place::Udp(SocketIndex(0), batch.from);
            for datagram in batch.bytes.chunks(batch.segment) {
                self.machine.handle_datagram(from, batch.ecn, BytesMut::from(datagram), now);
            }
        }
    }

    /// Sends, tells and asks until the machine has nothing left.
    fn flush(&mut self) {
        let now = self.clock.now();
        let segments = self.socket.max_segments();
        while let Some(outgoing) = self.machine.poll_transmit(&mut self.buffer, segments, now) {
            self.send(outgoing);
        }
        while let Some(request) = self.machine.poll_request() {
            self.fulfil(request, now);
        }
        self.tell();
        let machine = &mut self.machine;
        self.further.close_unused(|socket| machine.node().uses_socket(socket));
    }

    fn send(&mut self, outgoing: Outgoing) {
        match outgoing.to {
            Place::Udp(SocketIndex(0), to) => self.socket.send(to, &self.buffer, outgoing.segment, outgoing.ecn),
            Place::Udp(socket, to) => self.further.send(socket, to, &self.buffer, outgoing.segment),
            Place::Tunnel => {
                let size = outgoing.segment.unwrap_or(self.buffer.len()).max(1);
                if let Some(tunnel) = &self.tunnel {
                    self.buffer.chunks(size).for_each(|datagram| tunnel.try_send(datagram));
                }
            }
        }
    }

    fn fulfil(&mut self, request: Request, now: Time) {
        match request {
            Request::OpenSockets(peer, count) => {
                self.further.open(count);
                self.machine.handle_sockets_open(&peer, now);
            }
            Request::OpenTunnel => {
                let (done, opening) = oneshot::channel();
                let (address, server) = self.tunnel_to;
                tokio::spawn(async move {
                    let tunnel = Tunnel::connect(address, server).await;
                    if let Err(error) = &tunnel {
                        tracing::debug!(%error, "no tunnel");
                    }
                    let _ = done.send(tunnel.ok());
                });
                self.opening = Some(opening);
            }
            Request::CloseTunnel => self.tunnel = None,
        }
    }

    /// Tells the program what happened; whether there was a frame among it. Frames that nobody takes are dropped: they
    /// would be stale, and memory is finite.
    fn tell(&mut self) -> bool {
        let mut has_frame = false;
        while let Some(event) = self.machine.poll_event() {
            if is_counted(&event) {
                if self.untaken.load(Ordering::Relaxed) >= MAX_UNTAKEN {
                    tracing::debug!("a frame or chunk was dropped because the program does not take them in time");
                    continue;
                }
                self.untaken.fetch_add(1, Ordering::Relaxed);
                has_frame |= matches!(event, Event::Frame { .. });
            }
            let _ = self.events.send(event);
        }
        has_frame
    }

    fn obey(&mut self, command: Command) {
        let now = self.clock.now();
        let node = self.machine.node();
        match command {
            Command::Publish(track, answer) => {
                let _ = answer.send(node.publish(track));
            }
            Command::PublishSmaller(track, smaller, answer) => {
                let _ = answer.send(node.publish_smaller(track, smaller));
            }
            Command::Send(frame) => {
                let sent = node.send_frame(&frame, now);
                self.complain(sent);
            }
            Command::Say(peer, bytes) => {
                let said = node.say(peer, bytes);
                self.complain(said);
            }
            Command::SendBulk(peer, transfer, offset, data) => {
                let sent = node.send_bulk(peer, transfer, offset, &data);
                self.complain(sent);
            }
            Command::AcceptBulk(peer, transfer, until) => {
                let accepted = node.accept_bulk(peer, transfer, until);
                self.complain(accepted);
            }
            Command::Order(order) => {
                let followed = node.order(order, now);
                self.complain(followed);
            }
            Command::CancelBulk(peer, transfer) => node.cancel_bulk(peer, transfer),
            Command::End(track) => node.end_track(track),
            Command::Want(peer, track, wanted) => node.want(peer, track, wanted),
            Command::RequestKeyFrame(peer, track) => node.request_key_frame(peer, track),
            Command::Stats(answer) => {
                let _ = answer.send(node.stats(now));
            }
            Command::MissingPeers(answer) => {
                let _ = answer.send(node.missing_peers());
            }
            Command::NetworkChanged => node.handle_network_change(now),
            Command::Leave(_) => {}
        }
        self.machine.settle(now);
    }

    /// Tells the person what could not be sent.
    fn complain<E: std::fmt::Display>(&self, sent: Result<(), E>) {
        if let Err(error) = sent {
            let _ = self.events.send(Event::Trouble { peer: None, message: error.to_string() });
        }
    }

    /// Lets what was published reach the others, then says goodbye.
    async fn leave(&mut self) {
        let mut arrived = ReceiveBuffer::new();
        let began = self.clock.now();
        let linger = self.machine.linger();
        let mut empty_since = None;
        loop {
            self.flush();
            let now = self.clock.now();
            let is_empty = !self.machine.node().has_unsent();
            empty_since = if is_empty { empty_since.or(Some(now)) } else { None };
            let is_done = empty_since.is_some_and(|since| now.since(since) >= linger);
            if is_done || now.since(began) >= LEAVE_TIMEOUT {
                break;
            }
            let step = tokio::time::timeout(Duration::from_millis(5), self.socket.readable()).await;
            if step.is_ok() {
                self.receive(&mut arrived);
            }
            self.machine.handle_timeout(self.clock.now());
        }
        self.machine.node().leave(self.clock.now());
        self.machine.settle(self.clock.now());
        self.flush();
    }
}

/// Sockets besides the main one, opened to find a way through a symmetric NAT.
#[derive(Debug)]
pub(super) struct FurtherSockets {
    bind: SocketAddr,
    open: BTreeMap<SocketIndex, (Arc<Socket>, AbortHandle)>,
    sender: mpsc::UnboundedSender<(SocketIndex, SocketAddr, Bytes)>,
    receiver: mpsc::UnboundedReceiver<(SocketIndex, SocketAddr, Bytes)>,
    unchecked: VecDeque<SocketIndex>,
}

impl FurtherSockets {
    /// None yet; those to come are bound beside `main`.
    pub(super) fn new(main: SocketAddr) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let bind = SocketAddr::new(main.ip(), 0);
        FurtherSockets { bind, open: BTreeMap::new(), sender, receiver, unchecked: VecDeque::new() }
    }

    fn open(&mut self, count: u16) {
        for index in 1..=count {
            let index = SocketIndex(index);
            if self.open.contains_key(&index) {
                continue;
            }
            let Ok(socket) = Socket::bind(self.bind) else { continue };
            let socket = Arc::new(socket);
            let task = tokio::spawn(listen(index, socket.clone(), self.sender.clone())).abort_handle();
            self.open.insert(index, (socket, task));
        }
    }

    async fn receive(&mut self) -> (SocketIndex, SocketAddr, Bytes) {
        match self.receiver.recv().await {
            Some(arrived) => arrived,
            None => std::future::pending().await,
        }
    }

    fn send(&self, index: SocketIndex, to: SocketAddr, bytes: &[u8], segment: Option<usize>) {
        if let Some((socket, _)) = self.open.get(&index) {
            socket.send(to, bytes, segment, None);
        }
    }

    /// Closes sockets that no path goes through, one at a time: each costs a look.
    fn close_unused(&mut self, mut is_used: impl FnMut(SocketIndex) -> bool) {
        if self.unchecked.is_empty() {
            self.unchecked.extend(self.open.keys());
        }
        if let Some(index) = self.unchecked.pop_front()
            && !is_used(index)
            && let Some((_, task)) = self.open.remove(&index)
        {
            task.abort();
        }
    }
}

async fn listen(
    index: SocketIndex,
    socket: Arc<Socket>,
    arrived: mpsc::UnboundedSender<(SocketIndex, SocketAddr, Bytes)>,
) {
    let mut buffer = ReceiveBuffer::small();
    loop {
        socket.readable().await;
        let Some(batches) = socket.receive(&mut buffer) else { continue };
        for batch in batches {
            for datagram in batch.bytes.chunks(batch.segment) {
                if arrived.send((index, batch.from, Bytes::copy_from_slice(datagram))).is_err() {
                    return;
                }
            }
        }
    }
}
