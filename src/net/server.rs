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
    main: Socket,
    alternate: Option<Socket>,
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
        let main = Socket::bind(listen.main).map_err(failed("UDP", listen.main))?;
        let bound = main.local_address().map_err(failed("UDP", listen.main))?;
        let alternate = listen.alternate.map(|at| Socket::bind(at).map_err(failed("UDP", at))).transpose()?;
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
        Ok(Server { machine, clock, main, alternate, tunnels, tunnel_events, stats, buffer: Vec::new() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.main.local_address()
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
                () = self.main.readable() => self.receive(Port::Main, &mut arrived),
                () = readable(self.alternate.as_ref()) => self.receive(Port::Alternate, &mut arrived),
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
        let socket = match port {
            Port::Main => &self.main,
            Port::Alternate => match &self.alternate {
                Some(alternate) => alternate,
                None => return,
            },
        };
        let Some(batches) = socket.receive(arrived) else { return };
        let now = self.clock.now();
        for batch in batches {
            let (main, tunnels) = (&self.main, self.tunnels.as_ref());
            let segment = batch.segment;
            let forward = |bytes: &[u8], to| send(main, tunnels, to, bytes, Some(segment), batch.ecn);
            self.machine.handle_batch((port, batch.from), batch.ecn, batch.bytes, segment, now, forward);
        }
    }

    fn handle_tunnel(&mut self, event: TunnelEvent) {
        if let TunnelEvent::Datagram(tunnel, bytes) = event {
            let from = Synthetic::Tunnel(tunnel.number()).address();
            let now = self.clock.now();
            let (main, tunnels) = (&self.main, self.tunnels.as_ref());
            let forward = |bytes: &[u8], to| send(main, tunnels, to, bytes, None, None);
            self.machine.handle_batch((Port::Main, from), None, &bytes, bytes.len(), now, forward);
        }
    }

    fn flush(&mut self) {
        let now = self.clock.now();
        let segments = self.main.max_segments();
        while let Some(Sending { port, to, segment, ecn }) = self.machine.poll_transmit(&mut self.buffer, segments, now)
        {
            match (port, &self.alternate) {
                (Port::Alternate, Some(alternate)) => alternate.send(to, &self.buffer, segment, ecn),
                (Port::Alternate, None) => {}
                (Port::Main, _) => send(&self.main, self.tunnels.as_ref(), to, &self.buffer, segment, ecn),
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

async fn readable(socket: Option<&Socket>) {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}
