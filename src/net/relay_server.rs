//! A relay alone on its socket, without a rendezvous around it.
//!
//! Whole batches go from the kernel to the kernel as they came: what GRO joined, GSO cuts again. The machine in
//! [`crate::relay`] decides everything.

use std::io;
use std::net::SocketAddr;

use tokio::sync::watch;
use tokio::time::interval;

use super::clock::Clock;
use super::socket::{ReceiveBuffer, Socket};
use crate::params::STATS_INTERVAL;
use crate::relay::{Relay, RelayStats, Verdict};

/// A relay and its socket.
#[derive(Debug)]
pub struct RelayServer {
    socket: Socket,
    machine: Relay,
    clock: Clock,
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
    /// Opens the socket. IPv6's `[::]` takes IPv4 as well.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(listen: SocketAddr, machine: Relay) -> io::Result<Self> {
        let socket = Socket::bind(listen)?;
        Ok(RelayServer { socket, machine, clock: Clock::start(), report: watch::Sender::default() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_address()
    }

    /// Reports that follow each other every second while the relay runs.
    pub fn reports(&self) -> watch::Receiver<RelayReport> {
        self.report.subscribe()
    }

    /// Relays until it is dropped.
    pub async fn run(mut self) {
        let mut arrived = ReceiveBuffer::new();
        let mut second = interval(STATS_INTERVAL);
        loop {
            tokio::select! {
                () = self.socket.readable() => self.relay(&mut arrived),
                _ = second.tick() => self.report(),
            }
        }
    }

    fn relay(&mut self, arrived: &mut ReceiveBuffer) {
        let Some(batches) = self.socket.receive(arrived) else { return };
        let (machine, socket) = (&mut self.machine, &self.socket);
        let now = self.clock.now();
        let unix_s = self.clock.unix_micros(now) / 1_000_000;
        for batch in batches {
            machine.handle_batch(now, unix_s, batch.from, batch.bytes, batch.segment, |run, verdict| match verdict {
                Verdict::Forward { to } => socket.send(to, run, Some(batch.segment), batch.ecn),
                Verdict::Answer(answer, to) => socket.send(to, &answer, None, None),
                Verdict::Drop(reason) => tracing::trace!(reason = reason.as_str(), "relay packet dropped"),
            });
        }
    }

    fn report(&mut self) {
        self.machine.handle_timeout(self.clock.now());
        self.report
            .send_replace(RelayReport { sessions: self.machine.sessions(), stats: self.machine.stats().clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::RelayLimits;
    use crate::units::SessionId;
    use crate::wire::relay::{Header, RelayKey, RelayPacket, Side, decode, encode};
    use std::time::Duration;
    use tokio::net::UdpSocket;
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
        let bob = peer(relay).await;
        let packets: Vec<Vec<u8>> = (0..20).map(|number| data(number, if number == 19 { 300 } else { 1100 })).collect();
        let sender = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        bind_socket(&sender, relay, Side::First).await;
        bind(&bob, Side::Second).await;
        sender.send(relay, &packets.concat(), Some(1100), None);
        for packet in packets {
            assert_eq!(receive_one(&bob).await, packet);
        }
    }

    /// A relay on the loopback address that runs until the test ends.
    fn start() -> SocketAddr {
        let machine = Relay::new(KEY, RelayLimits::default(), [1; 32]);
        let server = RelayServer::bind("127.0.0.1:0".parse().unwrap(), machine).unwrap();
        let address = server.local_address().unwrap();
        tokio::spawn(server.run());
        address
    }

    async fn peer(relay: SocketAddr) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(relay).await.unwrap();
        socket
    }

    async fn bind(peer: &UdpSocket, side: Side) {
        let token = KEY.token(SESSION, side, u64::MAX);
        peer.send(&encode(0, 0, SESSION, &RelayPacket::Bind(token))).await.unwrap();
        let challenge = receive_one(peer).await;
        let Ok((_, RelayPacket::Challenge(cookie))) = decode(&challenge) else {
            panic!("a challenge is the answer to a BIND");
        };
        peer.send(&encode(0, 0, SESSION, &RelayPacket::Answer(token, cookie))).await.unwrap();
        let bound = receive_one(peer).await;
        assert!(matches!(decode(&bound), Ok((_, RelayPacket::Bound))));
    }

    async fn bind_socket(socket: &Socket, relay: SocketAddr, side: Side) {
        let token = KEY.token(SESSION, side, u64::MAX);
        socket.send(relay, &encode(0, 0, SESSION, &RelayPacket::Bind(token)), None, None);
        let challenge = next(socket).await;
        let Ok((_, RelayPacket::Challenge(cookie))) = decode(&challenge) else {
            panic!("a challenge is the answer to a BIND");
        };
        socket.send(relay, &encode(0, 0, SESSION, &RelayPacket::Answer(token, cookie)), None, None);
        assert!(matches!(decode(&next(socket).await), Ok((_, RelayPacket::Bound))));
    }

    async fn next(socket: &Socket) -> Vec<u8> {
        let mut arrived = ReceiveBuffer::small();
        loop {
            timeout(Duration::from_secs(10), socket.readable()).await.expect("a packet in time");
            if let Some(batch) = socket.receive(&mut arrived).and_then(|mut batches| batches.next()) {
                return batch.bytes.to_vec();
            }
        }
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
}
