//! The one task of a rendezvous: its sockets, tunnels and timers around its machine.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::clock::Clock;
use super::rendezvous_machine::{Port, RendezvousMachine, RendezvousMachineConfig, RendezvousStats, Sending};
use super::socket::{ReceiveBuffer, Socket};
use super::tunnel::{TunnelEvent, TunnelId, TunnelLimits, TunnelListener, TunnelStats};
use crate::params::{DRAIN_TIME, STATS_INTERVAL};
use crate::path::synthetic::Synthetic;

/// Where a rendezvous listens.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// UDP, and TCP for the tunnel.
    pub main: SocketAddr,
    /// A second UDP address for STUN.
    pub alternate: Option<SocketAddr>,
    /// Whether tunnels are taken.
    pub tunnels: bool,
}

/// A rendezvous with its sockets.
#[derive(Debug)]
pub struct Server {
    machine: RendezvousMachine,
    clock: Clock,
    ports: Ports,
    tunnels: Option<TunnelListener>,
    tunnel_events: mpsc::Receiver<TunnelEvent>,
    stats: watch::Sender<(RendezvousStats, TunnelStats)>,
    buffer: Vec<u8>,
}

/// A socket that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {protocol} {address}: {error}")]
pub struct ListenError {
    protocol: &'static str,
    address: SocketAddr,
    error: io::Error,
}

impl Server {
    /// Binds everything.
    ///
    /// # Errors
    /// Names the socket that could not be had, and why.
    pub async fn bind(listen: Listen, config: RendezvousMachineConfig) -> Result<Self, ListenError> {
        let failed = |protocol, address| move |error| ListenError { protocol, address, error };
        // The second address may have the first one's port, beside a main socket that takes all addresses.
        let bind = if listen.alternate.is_some() { Socket::bind_shared } else { Socket::bind };
        let main = bind(listen.main).map_err(failed("UDP", listen.main))?;
        let bound = main.local_address().map_err(failed("UDP", listen.main))?;
        let stun = listen.alternate.map(|alternate| StunSockets::bind(bound, alternate)).transpose()?;
        let (tunnels, tunnel_events) = match listen.tunnels {
            true => {
                let listener = TcpListener::bind(bound).await.map_err(failed("TCP", bound))?;
                let limits = TunnelLimits::from(&config.limits);
                let refused = |error| io::Error::other(format!("{error}"));
                let (tunnels, events) = TunnelListener::spawn(listener, &config.identity, limits)
                    .map_err(|error| failed("TCP", bound)(refused(error)))?;
                (Some(tunnels), events)
            }
            false => (None, mpsc::channel(1).1),
        };
        let clock = Clock::start();
        let machine = RendezvousMachine::new(config, clock);
        let stats = watch::Sender::default();
        Ok(Server { machine, clock, ports: Ports { main, stun }, tunnels, tunnel_events, stats, buffer: Vec::new() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.ports.main.local_address()
    }

    /// What is counted, each second anew.
    pub fn stats(&self) -> watch::Receiver<(RendezvousStats, TunnelStats)> {
        self.stats.subscribe()
    }

    /// Serves until `stop` says so or is dropped; then everybody is told, and what is on its way through the relay may
    /// arrive for a moment. When `stop` says so a second time, it ends at once.
    pub async fn run(mut self, mut stop: watch::Receiver<u32>) {
        let mut arrived = ReceiveBuffer::new();
        let mut report = Instant::now();
        let mut ends: Option<Instant> = None;
        loop {
            self.flush();
            let due = self.machine.poll_timeout().map(|at| Instant::from(self.clock.instant(at)));
            let next = [due, Some(report), ends].into_iter().flatten().min().unwrap_or(report);
            tokio::select! {
                biased;
                () = self.ports.main.readable() => self.receive(Port::Main, &mut arrived),
                port = readable(self.ports.stun.as_ref()) => self.receive(port, &mut arrived),
                Some(event) = self.tunnel_events.recv() => self.handle_tunnel(event),
                changed = stop.changed(), if ends.is_none() || stop.has_changed().is_ok() => {
                    if ends.is_some() || changed.is_err() {
                        break;
                    }
                    self.machine.drain(self.clock.now());
                    ends = Some(Instant::now() + DRAIN_TIME);
                }
                () = sleep_until(next) => {
                    if ends.is_some_and(|ends| Instant::now() >= ends) {
                        break;
                    }
                    self.machine.handle_timeout(self.clock.now());
                    if Instant::now() >= report {
                        report = Instant::now() + STATS_INTERVAL;
                        self.report();
                    }
                }
            }
        }
        self.machine.shut_down(self.clock.now());
        self.flush();
    }

    fn receive(&mut self, port: Port, arrived: &mut ReceiveBuffer) {
        let Some(socket) = self.ports.socket(port) else { return };
        let Some(batches) = socket.receive(arrived) else { return };
        let now = self.clock.now();
        for batch in batches {
            let (main, tunnels) = (&self.ports.main, self.tunnels.as_ref());
            let segment = batch.segment;
            let forward = |bytes: &[u8], to| send(main, tunnels, to, bytes, Some(segment), batch.ecn);
            self.machine.handle_batch((port, batch.from), batch.ecn, batch.bytes, segment, now, forward);
        }
    }

    fn handle_tunnel(&mut self, event: TunnelEvent) {
        if let TunnelEvent::Datagram(tunnel, bytes) = event {
            let from = Synthetic::Tunnel(tunnel.number()).address();
            let now = self.clock.now();
            let (main, tunnels) = (&self.ports.main, self.tunnels.as_ref());
            let forward = |bytes: &[u8], to| send(main, tunnels, to, bytes, None, None);
            self.machine.handle_batch((Port::Main, from), None, &bytes, bytes.len(), now, forward);
        }
    }

    fn flush(&mut self) {
        let now = self.clock.now();
        let segments = self.ports.main.max_segments();
        while let Some(Sending { port, to, segment, ecn }) = self.machine.poll_transmit(&mut self.buffer, segments, now)
        {
            match port {
                Port::Main => send(&self.ports.main, self.tunnels.as_ref(), to, &self.buffer, segment, ecn),
                Port::Alternate | Port::OtherPort | Port::OtherAddress => {
                    if let Some(socket) = self.ports.socket(port) {
                        socket.send(to, &self.buffer, segment, ecn);
                    }
                }
            }
        }
    }

    fn report(&self) {
        let tunnels = self.tunnels.as_ref().map(TunnelListener::stats).unwrap_or_default();
        self.stats.send_replace((self.machine.stats(), tunnels));
    }
}

/// Sends by UDP, or through the tunnel that the address stands for.
fn send(
    main: &Socket,
    tunnels: Option<&TunnelListener>,
    to: SocketAddr,
    bytes: &[u8],
    segment: Option<usize>,
    ecn: Option<quinn_proto::EcnCodepoint>,
) {
    match (Synthetic::of(to), tunnels) {
        (Some(Synthetic::Tunnel(number)), Some(tunnels)) => {
            let size = segment.unwrap_or(bytes.len()).max(1);
            let tunnel = TunnelId::from_number(number);
            bytes.chunks(size).for_each(|datagram| tunnels.try_send(tunnel, datagram));
        }
        (Some(_), _) => {}
        (None, _) => main.send(to, bytes, segment, ecn),
    }
}

/// All UDP sockets.
#[derive(Debug)]
struct Ports {
    main: Socket,
    stun: Option<StunSockets>,
}

impl Ports {
    fn socket(&self, port: Port) -> Option<&Socket> {
        match port {
            Port::Main => Some(&self.main),
            Port::Alternate => self.stun.as_ref().map(|stun| &stun.alternate),
            Port::OtherPort => self.stun.as_ref().map(|stun| &stun.other_port),
            Port::OtherAddress => self.stun.as_ref().map(|stun| &stun.other_address),
        }
    }
}

/// The sockets that only answer STUN: with the main one, two addresses with two ports each (RFC 5780 §6).
#[derive(Debug)]
struct StunSockets {
    alternate: Socket,
    other_port: Socket,
    other_address: Socket,
}

impl StunSockets {
    fn bind(main: SocketAddr, alternate: SocketAddr) -> Result<Self, ListenError> {
        let bind =
            |address| Socket::bind_shared(address).map_err(|error| ListenError { protocol: "UDP", address, error });
        Ok(StunSockets {
            alternate: bind(alternate)?,
            other_port: bind(SocketAddr::new(main.ip(), alternate.port()))?,
            other_address: bind(SocketAddr::new(alternate.ip(), main.port()))?,
        })
    }
}

async fn readable(stun: Option<&StunSockets>) -> Port {
    let Some(stun) = stun else { return std::future::pending().await };
    tokio::select! {
        () = stun.alternate.readable() => Port::Alternate,
        () = stun.other_port.readable() => Port::OtherPort,
        () = stun.other_address.readable() => Port::OtherAddress,
    }
}
