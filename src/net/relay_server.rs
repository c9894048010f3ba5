//! A relay alone on its socket, without a rendezvous around it.
//!
//! Whole batches go from the kernel to the kernel as they came: what GRO joined, GSO cuts again. The machine in
//! [`crate::relay`] decides everything.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::time::Duration;

use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, interval};
use tracing::debug;

use crate::params::{RELAY_SOCKET_BUFFER, UDP_BATCH_LEN};
use crate::relay::{Relay, RelayStats, Verdict};
use crate::units::Time;
use crate::wire::relay::runs;

/// A relay and its socket.
#[derive(Debug)]
pub struct RelayServer {
    socket: UdpSocket,
    state: UdpSocketState,
    machine: Relay,
    start: Instant,
    start_unix_s: u64,
    report: watch::Sender<RelayReport>,
}

/// What a relay is doing and has done, a second ago at most.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RelayReport {
    /// Sessions now.
    pub sessions: usize,
    /// What was carried, answered and dropped so far.
    pub stats: RelayStats,
}

impl RelayServer {
    /// Opens the socket. `unix_s` is the time of day now, by which tokens expire. IPv6's `[::]` takes IPv4 as well.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(listen: SocketAddr, machine: Relay, unix_s: u64) -> io::Result<Self> {
        let socket = open(listen)?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(RelayServer {
            socket: UdpSocket::from_std(socket.into())?,
            state,
            machine,
            start: Instant::now(),
            start_unix_s: unix_s,
            report: watch::Sender::default(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Reports that follow each other every second while the relay runs.
    pub fn reports(&self) -> watch::Receiver<RelayReport> {
        self.report.subscribe()
    }

    /// Relays until it is dropped.
    pub async fn run(mut self) {
        let mut buffers = vec![[0; UDP_BATCH_LEN]; BATCH_SIZE];
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut second = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                received = receive(&self.socket, &self.state, &mut buffers, &mut metas) => match received {
                    Ok(count) => self.handle_batches(&buffers, metas.iter().take(count)),
                    Err(error) => debug!(%error, "receiving failed"),
                },
                _ = second.tick() => self.report(),
            }
        }
    }

    fn handle_batches<'a>(&mut self, buffers: &[[u8; UDP_BATCH_LEN]], metas: impl Iterator<Item = &'a RecvMeta>) {
        let now = self.now();
        for (buffer, meta) in buffers.iter().zip(metas) {
            let batch = buffer.get(..meta.len).unwrap_or_default();
            if !batch.is_empty() {
                self.handle(now, meta, batch);
            }
        }
    }

    fn handle(&mut self, now: Time, meta: &RecvMeta, batch: &[u8]) {
        let unix_s = self.start_unix_s + now.since(Time::ZERO).as_secs();
        match self.machine.handle_datagram(now, unix_s, meta.addr, batch, meta.stride) {
            Verdict::Forward { to } => self.send(batch, meta.stride, to, meta.ecn),
            Verdict::Answer(answer, to) => self.send(&answer, answer.len(), to, None),
            // A run is never split again.
            Verdict::Split => runs(batch, meta.stride).for_each(|run| self.handle(now, meta, run)),
            Verdict::Drop(_) => {}
        }
    }

    /// What the socket does not take is lost, as on any full link: waiting would hold up all other sessions.
    fn send(&self, batch: &[u8], segment: usize, to: SocketAddr, ecn: Option<EcnCodepoint>) {
        let segment = segment.max(1);
        for piece in batch.chunks(segment.saturating_mul(self.state.max_gso_segments())) {
            let transmit = Transmit {
                destination: to,
                ecn,
                contents: piece,
                segment_size: (piece.len() > segment).then_some(segment),
                src_ip: None,
            };
            let sent = self.socket.try_io(Interest::WRITABLE, || self.state.try_send((&self.socket).into(), &transmit));
            if let Err(error) = sent {
                debug!(%error, "a batch was lost");
            }
        }
    }

    fn report(&mut self) {
        self.machine.handle_timeout(self.now());
        self.report
            .send_replace(RelayReport { sessions: self.machine.sessions(), stats: self.machine.stats().clone() });
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }
}

fn open(listen: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    if listen.is_ipv6() && listen.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RELAY_SOCKET_BUFFER)?;
    socket.set_send_buffer_size(RELAY_SOCKET_BUFFER)?;
    socket.bind(&listen.into())?;
    Ok(socket)
}

/// Waits for batches and says how many came.
async fn receive(
    socket: &UdpSocket,
    state: &UdpSocketState,
    buffers: &mut [[u8; UDP_BATCH_LEN]],
    metas: &mut [RecvMeta; BATCH_SIZE],
) -> io::Result<usize> {
    let mut slices: Vec<IoSliceMut<'_>> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
    socket.async_io(Interest::READABLE, || state.recv(socket.into(), &mut slices, metas)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::RelayLimits;
    use crate::units::SessionId;
    use crate::wire::relay::{Header, RelayKey, RelayPacket, Side, decode, encode};
    use tokio::time::timeout;

    #[tokio::test]
    async fn two_peers_bind_themselves_and_hear_each_other() {
        let relay = start();
        let (alice, bob) = (peer(relay).await, peer(relay).await);
        bind(&alice, Side::First).await;
        bind(&bob, Side::Second).await;
        let packet = encode(0, 1, SESSION, &RelayPacket::Data(b"quic"));
        alice.send(&packet).await.unwrap();
        assert_eq!(receive_one(&bob).await, packet);
        bob.send(&packet).await.unwrap();
        assert_eq!(receive_one(&alice).await, packet);
    }

    #[tokio::test]
    async fn a_batch_arrives_as_it_left() {
        let relay = start();
        let (alice, bob) = (peer(relay).await, peer(relay).await);
        bind(&alice, Side::First).await;
        bind(&bob, Side::Second).await;
        let packets: Vec<Vec<u8>> = (0..20).map(|number| data(number, if number == 19 { 300 } else { 1100 })).collect();
        let batch = packets.concat();
        let state = UdpSocketState::new((&alice).into()).unwrap();
        for piece in batch.chunks(1100 * state.max_gso_segments()) {
            let transmit =
                Transmit { destination: relay, ecn: None, contents: piece, segment_size: Some(1100), src_ip: None };
            alice.async_io(Interest::WRITABLE, || state.try_send((&alice).into(), &transmit)).await.unwrap();
        }
        for packet in packets {
            assert_eq!(receive_one(&bob).await, packet);
        }
    }

    /// A relay on the loopback address that runs until the test ends.
    fn start() -> SocketAddr {
        let machine = Relay::new(KEY, RelayLimits::default(), [1; 32]);
        let server = RelayServer::bind("127.0.0.1:0".parse().unwrap(), machine, UNIX_NOW).unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(server.run());
        address
    }

    async fn peer(relay: SocketAddr) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(relay).await.unwrap();
        socket
    }

    async fn bind(peer: &UdpSocket, side: Side) {
        let token = KEY.token(SESSION, side, UNIX_NOW + 60);
        peer.send(&encode(0, 0, SESSION, &RelayPacket::Bind(token))).await.unwrap();
        let challenge = receive_one(peer).await;
        let Ok((_, RelayPacket::Challenge(cookie))) = decode(&challenge) else {
            panic!("a challenge is the answer to a BIND");
        };
        peer.send(&encode(0, 0, SESSION, &RelayPacket::Answer(token, cookie))).await.unwrap();
        let bound = receive_one(peer).await;
        assert!(matches!(decode(&bound), Ok((_, RelayPacket::Bound))));
    }

    async fn receive_one(peer: &UdpSocket) -> Vec<u8> {
        let mut bytes = vec![0; 2000];
        let len = timeout(Duration::from_secs(10), peer.recv(&mut bytes)).await.expect("a packet in time").unwrap();
        bytes.truncate(len);
        bytes
    }

    fn data(epoch: u16, len: usize) -> Vec<u8> {
        let mut bytes = Header::data(SESSION, epoch).to_bytes().to_vec();
        bytes.resize(len, 0xee);
        bytes
    }

    const KEY: RelayKey = RelayKey::from_bytes([3; 32]);
    const SESSION: SessionId = SessionId(7);
    const UNIX_NOW: u64 = 1_900_000_000;
}
