//! Time from joining a room to the first frame, in round trips to the rendezvous.
//!
//! Counted in virtual time, with the machines of the library and a network that only delays: everybody is one round trip
//! from everybody. One peer is in the room and publishes; another comes, publishes too, and both await a frame. Then the
//! same once over the loopback interface, in milliseconds.

#[path = "support/median.rs"]
mod median;
#[path = "support/rendezvous.rs"]
mod rendezvous;
#[path = "support/report.rs"]
mod report;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use meipo::limits::Limits;
use meipo::media::playout::Playout;
use meipo::media::{Frame, FrameKind, Track, TrackKind, TrackSource};
use meipo::net::clock::Clock;
use meipo::net::identity::Identity;
use meipo::net::peer_machine::{PeerMachine, PeerMachineConfig, Place};
use meipo::net::rendezvous_machine::{Port, RendezvousMachine, RendezvousMachineConfig};
use meipo::net::{Endpoint, EndpointConfig};
use meipo::node::{Event, NodeConfig};
use meipo::path::{Policy, SocketIndex};
use meipo::trust::RoomSecret;
use meipo::units::{CaptureTime, FrameNumber, PeerId, Time, TrackId};
use meipo::wire::control::{Candidate, CandidateKind};
use tokio::time::Instant;

use median::median;
use rendezvous::Rendezvous;
use report::{Options, Report};

fn main() {
    let options = Options::read();
    let phases = if options.is_quick { 3 } else { 11 };
    let columns = ["newcomer ms", "newcomer R", "member ms", "member R"];
    let mut report = Report::new("Join to first frame; virtual time, medians over the phase of the frames", &columns);
    for (name, policy) in [("relayed", Policy::RelayOnly), ("direct", Policy::Any)] {
        for round_trip in [50, 100, 200].map(Duration::from_millis) {
            let runs = (0..phases).map(|phase| first_frames(policy, round_trip, FRAME * phase / phases));
            let (newcomer, member): (Vec<Duration>, Vec<Duration>) = runs.unzip();
            let figures = [newcomer, member].map(|times| median(times.iter().map(Duration::as_secs_f64)));
            let row = figures.map(|took| [took * 1e3, took / round_trip.as_secs_f64()]).concat();
            report.row(format!("{name}, R = {} ms", round_trip.as_millis()), row);
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be had");
    let rounds = if options.is_quick { 3 } else { 11 };
    let rendezvous =
        Rendezvous::start(Limits { handshakes_per_minute: 10_000, peers_per_address: 100, ..Limits::default() });
    let took = median((1..=rounds).map(|room| runtime.block_on(over_loopback(&rendezvous, room))));
    report.note(format!("over loopback, a frame every {} ms: newcomer's first after {took:.1} ms", FRAME.as_millis()));
    report.note("goal: at most 5 R and a frame, relayed");
    report.print(options);
}

/// How long the newcomer and the member wait for each other's first frame.
fn first_frames(policy: Policy, round_trip: Duration, phase: Duration) -> (Duration, Duration) {
    let mut world = World::new(round_trip / 2);
    world.add_peer(policy);
    world.run_until(Time::from_millis(5000) + phase, |_| false);
    let joined = world.now;
    world.add_peer(policy);
    world.run_until(joined + Duration::from_secs(20), |peers| peers.iter().all(|peer| peer.first_frame.is_some()));
    let took = |peer: &Publisher| peer.first_frame.map_or(Duration::MAX, |at| at.since(joined));
    let [member, newcomer] = &world.peers[..] else { unreachable!("two were added") };
    (took(newcomer), took(member))
}

/// A rendezvous, peers, and what is on its way between them.
struct World {
    clock: Clock,
    now: Time,
    delay: Duration,
    rendezvous: RendezvousMachine,
    rendezvous_id: PeerId,
    peers: Vec<Publisher>,
    /// By arrival and a number: from, to, content.
    flying: BTreeMap<(Time, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
}

/// A peer that publishes pictures.
struct Publisher {
    machine: PeerMachine,
    address: SocketAddr,
    next: Time,
    number: u32,
    wants_key: bool,
    first_frame: Option<Time>,
}

impl World {
    fn new(delay: Duration) -> Self {
        let clock = Clock::start();
        let identity = Arc::new(Identity::generate().expect("the system gives randomness"));
        let config = RendezvousMachineConfig {
            identity: identity.clone(),
            limits: Limits::default(),
            relays: Vec::new(),
            is_relay: true,
            stun_alternate: None,
            seed: [7; 32],
        };
        let rendezvous = RendezvousMachine::new(config, clock);
        let (now, rendezvous_id) = (Time::ZERO, identity.id());
        World { clock, now, delay, rendezvous, rendezvous_id, peers: Vec::new(), flying: BTreeMap::new(), sent: 0 }
    }

    fn add_peer(&mut self, policy: Policy) {
        let identity = Arc::new(Identity::generate().expect("the system gives randomness"));
        let secret = RoomSecret::from_bytes([3; 16]);
        let name = "peer".parse().expect("the name is one");
        let mut node = NodeConfig::new(identity.id(), secret, name, self.peers.len() as u64 + 1);
        node.policy = policy;
        node.playout = Playout::Ordered { patience: Duration::from_millis(500) };
        let (rendezvous, rendezvous_id) = (RENDEZVOUS, self.rendezvous_id);
        let config = PeerMachineConfig { identity, node, rendezvous, rendezvous_id, may_tunnel: false };
        let mut machine = PeerMachine::new(config, self.clock);
        let host = u8::try_from(self.peers.len() + 1).unwrap_or(u8::MAX);
        let address = SocketAddr::from(([198, 51, 100, host], 5000));
        machine.node().handle_addresses(vec![Candidate { kind: CandidateKind::Host, address }], self.now);
        machine.node().publish(track()).expect("the track is one");
        machine.join(self.now);
        let next = self.now;
        self.peers.push(Publisher { machine, address, next, number: 0, wants_key: true, first_frame: None });
    }

    fn run_until(&mut self, end: Time, is_done: impl Fn(&[Publisher]) -> bool) {
        while self.now < end && !is_done(&self.peers) {
            self.send();
            let flying = self.flying.first_key_value().map(|((at, _), _)| *at);
            let peers = self.peers.iter().flat_map(|peer| [peer.machine.poll_timeout(), Some(peer.next)]);
            let next = peers.chain([flying, self.rendezvous.poll_timeout()]).flatten().min().unwrap_or(end);
            self.now = next.max(self.now).min(end);
            self.deliver();
            self.rendezvous.handle_timeout(self.now);
            for peer in &mut self.peers {
                peer.machine.handle_timeout(self.now);
                peer.publish(self.now);
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (from, to, bytes) = entry.remove();
            if to == RENDEZVOUS {
                let mut forwarded = Vec::new();
                let forward = |bytes: &[u8], to| forwarded.push((to, bytes.to_vec()));
                self.rendezvous.handle_batch((Port::Main, from), None, &bytes, bytes.len(), self.now, forward);
                forwarded.into_iter().for_each(|(to, bytes)| self.fly(RENDEZVOUS, to, bytes));
            } else if let Some(peer) = self.peers.iter_mut().find(|peer| peer.address == to) {
                let from = Place::Udp(SocketIndex(0), from);
                peer.machine.handle_datagram(from, None, BytesMut::from(&bytes[..]), self.now);
            }
        }
    }

    fn send(&mut self) {
        let mut buffer = Vec::new();
        let mut outgoing = Vec::new();
        for peer in &mut self.peers {
            while let Some(sent) = peer.machine.poll_transmit(&mut buffer, 1, self.now) {
                if let Place::Udp(_, to) = sent.to {
                    outgoing.push((peer.address, to, buffer.clone()));
                }
            }
            peer.take_events(self.now);
        }
        while let Some(sent) = self.rendezvous.poll_transmit(&mut buffer, 1, self.now) {
            outgoing.push((RENDEZVOUS, sent.to, buffer.clone()));
        }
        outgoing.into_iter().for_each(|(from, to, bytes)| self.fly(from, to, bytes));
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.sent += 1;
        self.flying.insert((self.now + self.delay, self.sent), (from, to, bytes));
    }
}

impl Publisher {
    /// Sends a picture when one is due.
    fn publish(&mut self, now: Time) {
        if now < self.next {
            return;
        }
        self.next = now + FRAME;
        let is_key = std::mem::take(&mut self.wants_key) || self.number.is_multiple_of(300);
        self.machine.node().send_frame(&frame(self.number, is_key), now).expect("the frame is not too large");
        self.number += 1;
    }

    fn take_events(&mut self, now: Time) {
        while let Some(event) = self.machine.poll_event() {
            if let Event::Frame { .. } = event {
                self.first_frame.get_or_insert(now);
            } else if let Event::KeyFrameWanted { .. } = event {
                self.wants_key = true;
            }
        }
    }
}

/// Milliseconds until a newcomer has the first frame of somebody who publishes.
async fn over_loopback(rendezvous: &Rendezvous, room: u8) -> f64 {
    let enter = async |name: &str| {
        let identity = Arc::new(Identity::generate().expect("the system gives randomness"));
        let mut config = EndpointConfig::new(rendezvous.link(room), identity, name.parse().expect("the name is one"));
        config.playout = Playout::Ordered { patience: Duration::from_millis(500) };
        Endpoint::join(config).await.expect("the loopback interface has sockets")
    };
    let (member, mut news) = enter("member").await;
    member.publish(track()).await.expect("the track is one");
    while !matches!(news.next().await, Some(Event::Joined { .. })) {}
    let sending = tokio::spawn(async move {
        let mut tick = tokio::time::interval(FRAME);
        for number in 0_u32.. {
            tick.tick().await;
            member.send(frame(number, number.is_multiple_of(30)));
        }
    });
    let began = Instant::now();
    let (_newcomer, mut events) = enter("newcomer").await;
    while !matches!(events.next().await, Some(Event::Frame { .. })) {}
    sending.abort();
    began.elapsed().as_secs_f64() * 1e3
}

fn frame(number: u32, is_key: bool) -> Frame {
    Frame {
        track: TrackId(1),
        number: FrameNumber(number),
        captured: CaptureTime::from_micros(u64::from(number) * 33_333),
        kind: if is_key { FrameKind::Key } else { FrameKind::Delta },
        temporal_layer: 0,
        needs: u8::from(!is_key),
        data: Bytes::from_static(&[0; 4000]),
    }
}

fn track() -> Track {
    Track {
        id: TrackId(1),
        kind: TrackKind::Video { width: 640, height: 480, millihertz: 30_000 },
        source: TrackSource::TestPattern,
        codec: "avc1.42e01f".to_owned(),
        description: Bytes::new(),
        epoch_unix_us: 0,
    }
}

const RENDEZVOUS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1935);
const FRAME: Duration = Duration::from_micros(33_333);
