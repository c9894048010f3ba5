//! CPU time of the relay for each packet, over a forwarder that does nothing but take what GRO joined and have GSO cut it.
//!
//! One stream of 1150-byte packets, saturated in bursts that no buffer overflows: the next burst begins when the last has
//! arrived or is lost. Each contestant runs on a thread of its own, whose CPU clock is read before and after.

#![expect(clippy::indexing_slicing, reason = "the arrays have the length of their list of contestants")]

#[path = "support/forwarder.rs"]
mod forwarder;
#[path = "support/median.rs"]
mod median;
#[path = "support/report.rs"]
mod report;

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc;

use meipo::limits::Limits;
use meipo::net::identity::Identity;
use meipo::net::relay_server::RelayServer;
use meipo::net::rendezvous_machine::RendezvousMachineConfig;
use meipo::net::server::{Listen, Server};
use meipo::relay::Relay;
use meipo::units::{Bitrate, SessionId};
use meipo::wire::relay::{Header, RelayKey, RelayPacket, Side, decode, encode};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::sync::{mpsc as tokio_mpsc, watch};

use forwarder::{Carried, forward};
use median::median;
use report::{Options, Report};

fn main() {
    let options = Options::read();
    let (rounds, packets) = if options.is_quick { (3, 20_000) } else { (7, 100_000) };
    let contestants = [Contestant::forwarder(), Contestant::relay(), Contestant::rendezvous()];
    let columns = ["ns per packet", "over forwarder", "packets/batch", "lost %"];
    let mut report = Report::new("CPU of the relay for each packet, medians of alternating turns", &columns);
    for batch in [1, 32] {
        let mut turns = [const { Vec::new() }; 3];
        for _ in 0..=rounds {
            for (contestant, turns) in contestants.iter().zip(&mut turns) {
                turns.push(contestant.take_turn(packets, batch));
            }
        }
        // The first turn only warms up.
        let figures =
            turns.map(|turns| [0, 1, 2].map(|at| median(turns.iter().skip(1).map(|turn: &[f64; 3]| turn[at]))));
        for (contestant, [nanos, joined, lost]) in contestants.iter().zip(figures) {
            let name = format!("{}, sent {batch} at a time", contestant.name);
            report.row(name, [nanos, nanos / figures[0][0], joined, lost]);
        }
    }
    report.note(format!("one stream, {PACKET_LEN} bytes a packet, {packets} packets a turn, bursts of {BURST}"));
    report.print(options);
}

/// Something that forwards, and the two sockets it forwards between.
struct Contestant {
    name: &'static str,
    address: SocketAddr,
    sender: UdpSocket,
    receiver: UdpSocket,
    /// Asks the contestant's thread for its CPU time so far, in nanoseconds.
    cpu: tokio_mpsc::UnboundedSender<mpsc::Sender<i64>>,
}

impl Contestant {
    fn forwarder() -> Self {
        let (sender, receiver) = (socket(), socket());
        let to = receiver.local_addr().expect("a bound socket has an address");
        let (address, cpu) = on_a_thread(async move |started| {
            let _ = started.send(forward(to, Arc::new(Carried::default())).await);
        });
        Contestant { name: "bare forwarder", address, sender, receiver, cpu }
    }

    fn relay() -> Self {
        let key = RelayKey::from_bytes([3; 32]);
        let machine = Relay::new(key.clone(), limits().relay(), [1; 32]);
        let (address, cpu) = on_a_thread(async move |started| {
            let server = RelayServer::bind(LOOPBACK, machine).expect("a loopback port is free");
            let _ = started.send(server.local_address().expect("a bound socket has an address"));
            tokio::spawn(server.run());
        });
        Self::bound("relay alone", address, &key, cpu)
    }

    fn rendezvous() -> Self {
        let identity = Arc::new(Identity::generate().expect("the system gives randomness"));
        let key = RelayKey::from_bytes(identity.derive(b"relay tokens"));
        let (address, cpu) = on_a_thread(async move |started| {
            let config = RendezvousMachineConfig {
                identity,
                limits: limits(),
                relays: Vec::new(),
                is_relay: true,
                stun_alternate: None,
                seed: [7; 32],
            };
            let listen = Listen { main: LOOPBACK, alternate: None, tunnels: false };
            let server = Server::bind(listen, config).await.expect("a loopback port is free");
            let _ = started.send(server.local_address().expect("a bound socket has an address"));
            tokio::spawn(async move {
                let (_stop, stopped) = watch::channel(0);
                server.run(stopped).await;
            });
        });
        Self::bound("relay in the rendezvous", address, &key, cpu)
    }

    /// With both sockets bound to a session.
    fn bound(
        name: &'static str,
        address: SocketAddr,
        key: &RelayKey,
        cpu: tokio_mpsc::UnboundedSender<mpsc::Sender<i64>>,
    ) -> Self {
        let (sender, receiver) = (socket(), socket());
        for (socket, side) in [(&sender, Side::First), (&receiver, Side::Second)] {
            bind(socket, address, key, side).expect("the relay answers");
        }
        Contestant { name, address, sender, receiver, cpu }
    }

    /// Nanoseconds of CPU per packet that arrived, packets that arrived in one batch, percent lost.
    fn take_turn(&self, packets: usize, batch: usize) -> [f64; 3] {
        let input = UdpSocketState::new((&self.sender).into()).expect("the socket takes options");
        let output = UdpSocketState::new((&self.receiver).into()).expect("the socket takes options");
        let header = Header::data(SESSION, 0).to_bytes();
        let packet = [&header[..], &[0xee; PACKET_LEN - 8]].concat();
        let contents = packet.repeat(batch);
        let segment_size = (batch > 1).then_some(PACKET_LEN);
        let transmit =
            Transmit { destination: self.address, ecn: None, contents: &contents, segment_size, src_ip: None };
        let mut buffer = vec![0; 8 * 65_536];
        let (mut arrived, mut batches, mut sent) = (0, 0, 0);
        let began = self.cpu_nanos();
        while sent < packets {
            for _ in 0..BURST / batch {
                input.send((&self.sender).into(), &transmit).expect("the loopback interface takes it");
                sent += batch;
            }
            while arrived < sent {
                let Some((count, joined)) = receive(&self.receiver, &output, &mut buffer) else { break };
                arrived += count;
                batches += joined;
            }
        }
        let nanos = self.cpu_nanos() - began;
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let [nanos, arrived, batches, sent] = [nanos as f64, arrived as f64, batches as f64, sent as f64];
        [nanos / arrived, arrived / batches, 100.0 * (sent - arrived) / sent]
    }

    fn cpu_nanos(&self) -> i64 {
        let (answer, answered) = mpsc::channel();
        let _ = self.cpu.send(answer);
        answered.recv().expect("the contestant runs")
    }
}

/// Runs what `start` spawns on a thread of its own, which also tells its CPU time.
fn on_a_thread(
    start: impl AsyncFnOnce(mpsc::Sender<SocketAddr>) + Send + 'static,
) -> (SocketAddr, tokio_mpsc::UnboundedSender<mpsc::Sender<i64>>) {
    let (started, address) = mpsc::channel();
    let (cpu, mut questions) = tokio_mpsc::unbounded_channel::<mpsc::Sender<i64>>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be had").block_on(async {
            start(started).await;
            while let Some(answer) = questions.recv().await {
                let time = clock_gettime(ClockId::ThreadCPUTime);
                let _ = answer.send(time.tv_sec * 1_000_000_000 + time.tv_nsec);
            }
        });
    });
    (address.recv().expect("the contestant starts"), cpu)
}

/// Waits and takes what one call delivers: packets and batches; `None` when nothing comes any more.
fn receive(socket: &UdpSocket, state: &UdpSocketState, buffer: &mut [u8]) -> Option<(usize, usize)> {
    let mut waited = [PollFd::new(socket, PollFlags::IN)];
    let patience = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    poll(&mut waited, Some(&patience)).ok().filter(|ready| *ready > 0)?;
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    let mut slices: Vec<IoSliceMut<'_>> = buffer.chunks_mut(65_536).map(IoSliceMut::new).collect();
    let count = state.recv(socket.into(), &mut slices, &mut metas).ok()?;
    let packets = metas.iter().take(count).map(|meta| meta.len.div_ceil(meta.stride.max(1))).sum();
    Some((packets, count))
}

fn bind(socket: &UdpSocket, relay: SocketAddr, key: &RelayKey, side: Side) -> io::Result<()> {
    let token = key.token(SESSION, side, u64::MAX);
    socket.send_to(&encode(0, 0, SESSION, &RelayPacket::Bind(token)), relay)?;
    let mut buffer = [0; 200];
    let len = socket.recv(&mut buffer)?;
    let Ok((_, RelayPacket::Challenge(cookie))) = decode(buffer.get(..len).unwrap_or_default()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    socket.send_to(&encode(0, 0, SESSION, &RelayPacket::Answer(token, cookie)), relay)?;
    socket.recv(&mut buffer)?;
    Ok(())
}

fn socket() -> UdpSocket {
    UdpSocket::bind(LOOPBACK).expect("a loopback port is free")
}

fn limits() -> Limits {
    let rate = Bitrate::from_kilobits(100_000_000);
    Limits { relay_session_rate: rate, relay_total_rate: rate, ..Limits::default() }
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const SESSION: SessionId = SessionId(7);
const PACKET_LEN: usize = 1150;
/// Packets sent before their arrival is awaited: they fit into the smallest socket buffer.
const BURST: usize = 64;
