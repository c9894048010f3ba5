//! The world: hosts, networks and NATs in virtual time, the same for the same seed.
//!
//! Machines go in; datagrams move between them, through links that delay and lose and gateways
//! that translate, in the order of time. Nothing happens outside `run`, `run_until`, `wait_for` and
//! `with_host`.

mod chance;
pub(crate) mod files;
pub(crate) mod link;
pub(crate) mod nat;
pub(crate) mod peer;
pub(crate) mod rendezvous;
pub(crate) mod rogue;
mod station;
mod story;
pub(crate) mod studio;
mod topology;
mod travel;

use std::any::Any;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use meipo::units::Time;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

pub(crate) use self::chance::seeds;
use self::link::{Carrier, Link};
use self::nat::{NatKind, Protocol};
pub(crate) use self::station::Clock;
use self::station::{Sockets, Station};
use self::story::Story;
use self::topology::Topology;
pub(crate) use self::topology::{Family, INTERNET, NetworkId};

/// A machine with UDP sockets: 0 is its main one, others open when they first send. What it sends
/// to `TUNNEL` goes over a TCP connection: in order, whole, and also where UDP is blocked.
pub(crate) trait Host {
    /// A datagram came in on `socket`.
    fn handle_datagram(&mut self, now: Time, socket: u16, from: SocketAddr, bytes: &[u8]);
    /// The moment `poll_timeout` named has come.
    fn handle_timeout(&mut self, now: Time);
    /// The next datagram to send.
    fn poll_transmit(&mut self, now: Time) -> Option<Transmit>;
    /// When to call `handle_timeout`.
    fn poll_timeout(&mut self) -> Option<Time>;
    /// The machine itself, for `World::with_host`.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// A datagram to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Transmit {
    pub(crate) socket: u16,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// One host of the world.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct HostId(usize);

/// A datagram as it arrived: at which socket, from whom, what.
pub(crate) type Heard = (u16, SocketAddr, Vec<u8>);

/// How much was sent somewhere.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Traffic {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

pub(crate) struct World {
    seed: u64,
    rng: ChaCha8Rng,
    now: Time,
    sequence: u64,
    events: BTreeMap<(Time, u64), Event>,
    topology: Topology,
    stations: Vec<Station>,
    pairs: BTreeMap<(HostId, HostId), Carrier>,
    sent: BTreeMap<IpAddr, Traffic>,
    delivered: BTreeMap<(HostId, HostId), Traffic>,
    story: Story,
    taps: BTreeMap<HostId, Vec<Heard>>,
}

enum Event {
    Wake(HostId),
    /// A datagram has left its sender's side and stands before its receiver's gateways.
    Meet(NetworkId, Datagram),
    Deliver(HostId, Datagram),
}

/// A datagram under way, with its ends as they look where it is.
#[derive(Clone)]
struct Datagram {
    sender: HostId,
    protocol: Protocol,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl World {
    /// An empty Internet.
    pub(crate) fn new(seed: u64) -> Self {
        World {
            seed,
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: Time::ZERO,
            sequence: 0,
            events: BTreeMap::new(),
            topology: Topology::new(),
            stations: Vec::new(),
            pairs: BTreeMap::new(),
            sent: BTreeMap::new(),
            delivered: BTreeMap::new(),
            story: Story::new(),
            taps: BTreeMap::new(),
        }
    }

    /// A home or office network behind a NAT (and a firewall for IPv6) on `outer`.
    pub(crate) fn nat(&mut self, outer: NetworkId, kind: NatKind) -> NetworkId {
        let seed = self.rng.next_u64();
        self.topology.add_network(outer, kind, seed, [192, 168])
    }

    /// A carrier's network (100.64.0.0/10) behind a NAT on the Internet.
    pub(crate) fn carrier(&mut self, kind: NatKind) -> NetworkId {
        let seed = self.rng.next_u64();
        self.topology.add_network(INTERNET, kind, seed, [100, 64])
    }

    /// The gateway of `network` forgets all mappings, as after a flush or a restart.
    pub(crate) fn rebind(&mut self, network: NetworkId) {
        self.story.milestone(self.now, format_args!("{network:?} forgets its mappings"));
        self.topology.nat_mut(network).rebind();
    }

    /// The outer IPv4 address of the gateway of `network`.
    pub(crate) fn outer_address(&mut self, network: NetworkId) -> IpAddr {
        self.topology.nat_mut(network).address().into()
    }

    /// Adds a host; its machine is told the addresses of its main socket.
    pub(crate) fn add<H: Host + 'static>(
        &mut self,
        name: &str,
        network: NetworkId,
        family: Family,
        machine: impl FnOnce(&[SocketAddr]) -> H,
    ) -> HostId {
        let id = HostId(self.stations.len());
        let addresses = self.topology.join(id, network, family);
        self.insert(name, network, addresses, Sockets::main());
        let machine = machine(&self.addresses(id));
        self.restart(id, machine);
        id
    }

    /// Adds a host to the Internet whose sockets are bound to `locals`, in their order.
    pub(crate) fn add_at<H: Host + 'static>(&mut self, name: &str, locals: &[SocketAddr], machine: H) -> HostId {
        let id = HostId(self.stations.len());
        let mut addresses: Vec<IpAddr> = locals.iter().map(SocketAddr::ip).collect();
        addresses.sort_unstable();
        addresses.dedup();
        self.topology.settle(id, INTERNET, &addresses);
        self.insert(name, INTERNET, addresses, Sockets::at(locals));
        self.restart(id, machine);
        id
    }

    fn insert(&mut self, name: &str, network: NetworkId, addresses: Vec<IpAddr>, sockets: Sockets) {
        let half = Link::with_delay(DEFAULT_DELAY);
        let station = Station {
            name: name.to_owned(),
            machine: None,
            network,
            addresses,
            sockets,
            clock: Clock::default(),
            uplink: Carrier::new(half.clone(), self.rng.next_u64()),
            shared_uplink: None,
            downlink: Carrier::new(half, self.rng.next_u64()),
            wake: None,
            asleep_until: Time::ZERO,
            wakes_at: (Time::ZERO, 0),
        };
        self.stations.push(station);
    }

    /// Ends a host's machine without a word; its addresses stay.
    pub(crate) fn crash(&mut self, id: HostId) {
        self.tell(id, "crashes");
        self.station(id).machine = None;
    }

    /// Starts a machine on a host, in place of the one before.
    pub(crate) fn restart<H: Host + 'static>(&mut self, id: HostId, machine: H) {
        self.tell(id, "starts");
        self.station(id).machine = Some(Box::new(machine));
        self.drain(id);
    }

    /// Moves a host to another network; it hears of it only through the test. Its new addresses.
    pub(crate) fn roam(&mut self, id: HostId, network: NetworkId, family: Family) -> Vec<SocketAddr> {
        self.topology.leave(id);
        let addresses = self.topology.join(id, network, family);
        let station = self.station(id);
        station.network = network;
        station.addresses = addresses;
        self.tell(id, "moves");
        self.addresses(id)
    }

    /// A host hears nothing and does nothing for `span`, then all its timers are late.
    pub(crate) fn suspend(&mut self, id: HostId, span: Duration) {
        self.tell(id, "falls asleep");
        self.station(id).asleep_until = self.now + span;
    }

    /// Gives a host a clock of its own.
    pub(crate) fn set_clock(&mut self, id: HostId, clock: Clock) {
        self.station(id).clock = clock;
        self.drain(id);
    }

    /// Shapes what a host sends.
    pub(crate) fn uplink(&mut self, id: HostId, link: Link) {
        self.tell(id, format!("sends over {link:?}"));
        self.station(id).uplink.reshape(link);
    }

    /// From now on a host sends over the uplink of another, together with it.
    pub(crate) fn share_uplink(&mut self, id: HostId, of: HostId) {
        self.station(id).shared_uplink = Some(of);
    }

    /// Shapes what a host receives.
    pub(crate) fn downlink(&mut self, id: HostId, link: Link) {
        self.tell(id, format!("receives over {link:?}"));
        self.station(id).downlink.reshape(link);
    }

    /// Shapes, in both directions, what passes between two hosts, on top of their own links.
    pub(crate) fn between(&mut self, a: HostId, b: HostId, link: &Link) {
        for pair in [(a, b), (b, a)] {
            let carrier = Carrier::new(link.clone(), self.rng.next_u64());
            self.pairs.insert(pair, carrier);
        }
    }

    /// Shapes what passes from one host to another, on top of their own links.
    pub(crate) fn one_way(&mut self, from: HostId, to: HostId, link: &Link) {
        let carrier = Carrier::new(link.clone(), self.rng.next_u64());
        self.pairs.insert((from, to), carrier);
    }

    /// Lets `act` use the machine of a host, then sends what it has to send.
    ///
    /// Panics when the host has crashed or its machine is no `T`.
    pub(crate) fn with_host<T: 'static, R>(&mut self, id: HostId, act: impl FnOnce(&mut T) -> R) -> R {
        let station = self.station(id);
        let machine = station.machine.as_mut().expect("a running host");
        let machine = machine.as_any_mut().downcast_mut().expect("a machine of this type");
        let result = act(machine);
        self.drain(id);
        result
    }

    /// Runs for `span`.
    pub(crate) fn run(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// Runs until `end`.
    pub(crate) fn run_until(&mut self, end: Time) {
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `holds`, or for `limit`; whether it came to hold.
    pub(crate) fn wait_for(&mut self, limit: Duration, mut holds: impl FnMut(&mut World) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if holds(self) {
                return true;
            }
            if !self.step(end) {
                self.now = end;
                return holds(self);
            }
        }
    }

    /// Keeps a copy of everything a host hears from now on.
    pub(crate) fn tap(&mut self, id: HostId) {
        self.taps.insert(id, Vec::new());
    }

    /// What was heard since the tap began.
    pub(crate) fn heard(&mut self, id: HostId) -> Vec<Heard> {
        self.taps.remove(&id).unwrap_or_default()
    }

    /// The time of the world.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// The time on a host's clock.
    pub(crate) fn now_at(&mut self, id: HostId) -> Time {
        let now = self.now;
        self.station(id).clock.local(now)
    }

    /// The addresses of a host's main socket, or of all its bound ones.
    pub(crate) fn addresses(&mut self, id: HostId) -> Vec<SocketAddr> {
        self.station(id).locals()
    }

    /// The first address of a host's main socket.
    pub(crate) fn address(&mut self, id: HostId) -> SocketAddr {
        *self.addresses(id).first().expect("every host has an address")
    }

    /// All that hosts sent to `address`, wherever it ended.
    pub(crate) fn sent_to(&self, address: IpAddr) -> Traffic {
        self.sent.get(&address).copied().unwrap_or_default()
    }

    /// All that `receiver` received from `sender` without anyone between them.
    pub(crate) fn delivered(&self, sender: HostId, receiver: HostId) -> Traffic {
        self.delivered.get(&(sender, receiver)).copied().unwrap_or_default()
    }

    /// Adds a line of the test's own to the story.
    pub(crate) fn note(&mut self, line: &str) {
        self.story.milestone(self.now, line);
    }

    /// What happened, with the seed that makes it happen again.
    pub(crate) fn story(&self) -> String {
        format!("MEIPO_SEED={} tells this story again:\n{}", self.seed, self.story)
    }

    /// A number that differs between two runs unless they were the same.
    pub(crate) fn trace(&self) -> u64 {
        self.story.trace()
    }

    /// As [`World::trace`], but for the bytes of the datagrams: keys of QUIC come from the system, not from the seed.
    pub(crate) fn shape(&self) -> u64 {
        self.story.shape()
    }

    /// Lets the next event up to `end` happen; `false` when there is none.
    fn step(&mut self, end: Time) -> bool {
        let Some(entry) = self.events.first_entry() else {
            return false;
        };
        if entry.key().0 > end {
            return false;
        }
        let ((now, _), event) = entry.remove_entry();
        self.now = now;
        match event {
            Event::Wake(id) => self.wake(id),
            Event::Meet(network, datagram) => self.meet(network, &datagram),
            Event::Deliver(receiver, datagram) => self.deliver(receiver, &datagram),
        }
        true
    }

    fn station(&mut self, id: HostId) -> &mut Station {
        self.stations.get_mut(id.0).expect("ids come from add")
    }

    fn tell(&mut self, id: HostId, what: impl std::fmt::Display) {
        let station = self.stations.get(id.0).expect("ids come from add");
        self.story.milestone(self.now, format_args!("{} {:?} {what}", station.name, station.addresses));
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.events.insert((at.max(self.now), self.sequence), event);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
    }
}

/// The socket that stands for a TCP connection between two hosts' main addresses.
pub(crate) const TUNNEL: u16 = u16::MAX;

/// The port of a host's main socket.
const MAIN_PORT: u16 = 5000;

/// From a host to where the networks meet, and from there to a host: 40 ms there and back.
const DEFAULT_DELAY: Duration = Duration::from_millis(10);
