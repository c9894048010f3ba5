//! Memory and CPU time that an idle peer costs the rendezvous, over an idle connection of a plain QUIC server.
//!
//! Each server is a process of its own with nobody else in it; its resident memory is read before the peers come and
//! after they have settled. The peers keep their connections alive as real ones do, and say nothing.

#[path = "support/rendezvous.rs"]
mod rendezvous;
#[path = "support/report.rs"]
mod report;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use meipo::limits::Limits;
use meipo::link::Link;
use meipo::net::clock::Clock;
use meipo::net::identity::Identity;
use meipo::net::quic::{Admission, Quic, QuicEvent};
use meipo::net::quic_config::{QuicConfig, QuicRole};
use meipo::net::socket::{ReceiveBuffer, Socket};
use meipo::net::tls;
use meipo::params::{QUIC_IDLE, QUIC_KEEP_ALIVE};
use meipo::trust::RoomSecret;
use meipo::units::PeerId;
use meipo::wire::codec;
use meipo::wire::control::{FromRendezvous, Hello, Reachability, ToRendezvous};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;
use tokio::time::sleep;

use rendezvous::Rendezvous;
use report::{Options, Report};

fn main() {
    let argument = std::env::args().nth(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
    match argument.as_deref() {
        Some("rendezvous") => serve_rendezvous(),
        Some("quinn") => runtime.block_on(serve_quinn()),
        _ => runtime.block_on(measure(Options::read())),
    }
}

async fn measure(options: Options) {
    let (peers, watch) = if options.is_quick { (300, Duration::from_secs(6)) } else { (2000, Duration::from_secs(20)) };
    let open_files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: open_files, maximum: open_files }).expect("the limit can be raised");
    let columns = ["KiB per peer", "over quinn", "CPU µs/s", "over quinn"];
    let mut report = Report::new("What an idle peer costs the rendezvous", &columns);
    let quinn = Server::start("quinn").measure(peers, watch, None).await;
    report.row("plain quinn server", [quinn[0], 1.0, quinn[1], 1.0]);
    for (name, room_len) in [("rendezvous, rooms of one", 1), ("rendezvous, rooms of eight", 8)] {
        let ours = Server::start("rendezvous").measure(peers, watch, Some(room_len)).await;
        report.row(name, [ours[0], ours[0] / quinn[0], ours[1], ours[1] / quinn[1]]);
    }
    report.note(format!("{peers} peers, CPU time of {} s after they had settled; goal: 30 KiB", watch.as_secs()));
    report.print(options);
}

/// A server in a process of its own, and where it is.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(role: &str) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        let child = command.arg(role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("this program starts again");
        let mut address = String::new();
        let output = child.stdout.take().expect("the output is piped");
        BufReader::new(output).read_line(&mut address).expect("the server says where it is");
        Server { child, address: address.trim().to_owned() }
    }

    /// KiB of memory per peer, and microseconds of CPU per peer and second.
    async fn measure(self, peers: usize, watch: Duration, room_len: Option<usize>) -> [f64; 2] {
        let before = self.resident_kib();
        match room_len {
            Some(room_len) => enter_rooms(&self.address, peers, room_len).await,
            None => connect_quinn(&self.address, peers).await,
        }
        sleep(Duration::from_secs(5)).await;
        let (memory, cpu) = (self.resident_kib() - before, self.cpu_micros());
        sleep(watch).await;
        let cpu = self.cpu_micros() - cpu;
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let peers = peers as f64;
        [memory / peers, cpu / peers / watch.as_secs_f64()]
    }

    fn resident_kib(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN)
    }

    fn cpu_micros(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the server runs");
        let of_task = |task: std::fs::DirEntry| -> f64 {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or_default() / 1e3
        };
        tasks.flatten().map(of_task).sum()
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("the server runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve_rendezvous() {
    let limits = Limits {
        peers: 10_000,
        peers_per_address: 10_000,
        rooms: 10_000,
        relay_sessions: 100_000,
        handshakes_per_minute: 1_000_000,
        ..Limits::default()
    };
    println!("{}", Rendezvous::start(limits).link(1));
    let _ = std::io::stdin().read(&mut [0]);
}

async fn serve_quinn() {
    let identity = Identity::generate().expect("the system gives randomness");
    let tls = tls::server_config(&identity).expect("the identity serves");
    let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3 is all QUIC asks for");
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, LOOPBACK).expect("a loopback port is free");
    println!("{}/{}", endpoint.local_addr().expect("a bound socket has an address"), identity.id());
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Ok(connection) = incoming.await {
                connection.closed().await;
            }
        });
    }
}

/// Opens connections that stay until the server ends.
async fn connect_quinn(to: &str, count: usize) {
    let (address, id) = to.split_once('/').expect("the server gave address and identity");
    let (address, id) = (address.parse().expect("the address is one"), id.parse::<PeerId>().expect("the id is one"));
    let identity = Identity::generate().expect("the system gives randomness");
    let tls = tls::client_config(&identity, id).expect("the identity serves");
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3 serves QUIC")));
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(QUIC_KEEP_ALIVE));
    config.transport_config(Arc::new(transport));
    let endpoint = quinn::Endpoint::client(LOOPBACK).expect("a loopback port is free");
    for _ in 0..count {
        let connecting = endpoint.connect_with(config.clone(), address, "meipo.invalid");
        let connection = connecting.expect("the connection begins").await.expect("the handshake succeeds");
        tokio::spawn(async move { connection.closed().await });
    }
}

/// Has peers join, one after the other.
async fn enter_rooms(link: &str, count: usize, room_len: usize) {
    let link: Link = link.parse().expect("the server gave a link");
    for at in 0..count {
        let room = u64::try_from(at / room_len).unwrap_or_default().to_be_bytes();
        let secret = RoomSecret::from_bytes([room, room].concat().try_into().expect("twice eight are sixteen"));
        let (joined, is_in) = oneshot::channel();
        tokio::spawn(stay(link.clone(), secret, joined));
        is_in.await.expect("the rendezvous lets everybody in");
    }
}

/// One peer that joins and then only keeps its connection alive.
async fn stay(link: Link, secret: RoomSecret, joined: oneshot::Sender<()>) {
    let identity = Arc::new(Identity::generate().expect("the system gives randomness"));
    let id = identity.id();
    let clock = Clock::start();
    let mut quic = Quic::new(QuicConfig::new(identity, QuicRole::Peer, QUIC_IDLE), clock);
    let socket = Socket::bind(LOOPBACK).expect("a loopback port is free");
    let server = SocketAddr::from(([127, 0, 0, 1], link.port()));
    quic.connect(server, link.server(), clock.now()).expect("the connection begins");
    let (mut arrived, mut buffer, mut joined) = (ReceiveBuffer::small(), Vec::new(), Some(joined));
    loop {
        while let Some(event) = quic.poll_event() {
            match event {
                QuicEvent::Connected { id: connection, .. } => {
                    quic.tell(connection, codec::encode(&hello(id, &secret)), clock.now());
                }
                QuicEvent::Message { body, .. } => {
                    let message = codec::decode(&body);
                    if let (Ok(FromRendezvous::Welcome { .. }), Some(joined)) = (message, joined.take()) {
                        let _ = joined.send(());
                    }
                }
                QuicEvent::Answer { .. } | QuicEvent::Datagram { .. } | QuicEvent::Moved { .. } => {}
                QuicEvent::Closed { reason, .. } => panic!("the rendezvous ended the connection: {reason}"),
            }
        }
        while let Some(transmit) = quic.poll_transmit(&mut buffer, socket.max_segments(), clock.now()) {
            socket.send(transmit.to, &buffer, transmit.segment, transmit.ecn);
        }
        let due = clock.instant(quic.poll_timeout().unwrap_or(clock.now()));
        tokio::select! {
            () = socket.readable() => {
                for batch in socket.receive(&mut arrived).into_iter().flatten() {
                    for datagram in batch.bytes.chunks(batch.segment) {
                        let admit = |_, _, _| Admission::Ignore;
                        quic.handle_datagram(batch.from, batch.ecn, BytesMut::from(datagram), clock.now(), admit);
                    }
                }
            }
            () = tokio::time::sleep_until(due.into()) => quic.handle_timeout(clock.now()),
        }
    }
}

fn hello(id: PeerId, secret: &RoomSecret) -> ToRendezvous {
    ToRendezvous::Hello(Hello {
        room: secret.claim(None),
        tag: secret.tag(&secret.claim(None).room_id(), &id),
        name: "idle".parse().expect("the name is one"),
        instance: 1,
        receives: true,
        host: None,
        reachability: Reachability::default(),
    })
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
