//! The rendezvous, and a relay of its own, as hosts of the world.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use meipo::limits::Limits;
use meipo::net::clock::Clock;
use meipo::net::quic_config::{QuicConfig, QuicRole};
use meipo::net::rendezvous_machine::{Port, RendezvousMachine, RendezvousMachineConfig, RendezvousStats, Sending};
use meipo::path::synthetic::Synthetic;
use meipo::relay::{Relay, RelayLimits, Verdict};
use meipo::units::{PeerId, Time};
use meipo::wire::relay::RelayKey;

use super::peer::{SEGMENTS, TUNNEL_END, identity};
use super::{Host, HostId, TUNNEL, Transmit, World};

/// What a rendezvous is made of.
#[derive(Clone, Debug)]
pub(crate) struct RendezvousConfig {
    pub(crate) limits: Limits,
    pub(crate) is_relay: bool,
    pub(crate) relays: Vec<(SocketAddr, RelayKey)>,
    /// Another in every process: a rendezvous that starts anew remembers nothing but its identity.
    pub(crate) process: u8,
}

impl Default for RendezvousConfig {
    fn default() -> Self {
        // All peers of a test may sit behind one NAT.
        let limits = Limits { peers_per_address: 100, handshakes_per_minute: 1000, ..Limits::default() };
        RendezvousConfig { limits, is_relay: true, relays: Vec::new(), process: 1 }
    }
}

/// The rendezvous with its two addresses and its tunnels.
pub(crate) struct Rendezvous {
    machine: RendezvousMachine,
    tunnels: BTreeMap<SocketAddr, u64>,
    ends: BTreeMap<u64, SocketAddr>,
    outbox: VecDeque<Transmit>,
    buffer: Vec<u8>,
}

impl Rendezvous {
    pub(crate) fn new(config: RendezvousConfig) -> Self {
        let identity = identity(IDENTITY);
        let quic = QuicConfig::new(identity.clone(), QuicRole::Rendezvous, config.limits.idle);
        let machine_config = RendezvousMachineConfig {
            identity,
            limits: config.limits,
            relays: config.relays,
            is_relay: config.is_relay,
            stun_alternate: Some(address(ALTERNATE)),
            seed: [config.process; 32],
        };
        let quic = quic.with_seed([config.process; 32]);
        Rendezvous {
            machine: RendezvousMachine::with_quic(machine_config, quic, Clock::start()),
            tunnels: BTreeMap::new(),
            ends: BTreeMap::new(),
            outbox: VecDeque::new(),
            buffer: Vec::new(),
        }
    }

    /// Who it is; the same after every restart.
    pub(crate) fn id() -> PeerId {
        identity(IDENTITY).id()
    }

    pub(crate) fn address() -> SocketAddr {
        address(MAIN)
    }

    pub(crate) fn address_v6() -> SocketAddr {
        address(MAIN_V6)
    }

    /// Puts a rendezvous on the Internet.
    pub(crate) fn open(world: &mut World, config: RendezvousConfig) -> HostId {
        let locals = [MAIN, ALTERNATE, MAIN_V6].map(address);
        world.add_at("rendezvous", &locals, Rendezvous::new(config))
    }

    pub(crate) fn stats(&self) -> RendezvousStats {
        self.machine.stats()
    }

    /// The tunnel a datagram came by, opened, ended or refused as its bytes ask.
    fn tunnel(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<u64> {
        match (bytes, self.tunnels.get(&from).copied()) {
            ([], _) => {
                let number = self.ends.last_key_value().map_or(1, |(last, _)| last + 1);
                self.tunnels.insert(from, number);
                self.ends.insert(number, from);
                self.outbox.push_back(Transmit { socket: TUNNEL, to: from, bytes: Vec::new() });
                None
            }
            ([TUNNEL_END], _) => {
                self.tunnels.remove(&from);
                None
            }
            (_, None) => {
                self.outbox.push_back(Transmit { socket: TUNNEL, to: from, bytes: vec![TUNNEL_END] });
                None
            }
            (_, Some(number)) => Some(number),
        }
    }
}

impl Host for Rendezvous {
    fn handle_datagram(&mut self, now: Time, socket: u16, from: SocketAddr, bytes: &[u8]) {
        let (port, from) = match socket {
            TUNNEL => match self.tunnel(from, bytes) {
                Some(number) => (Port::Main, Synthetic::Tunnel(number).address()),
                None => return,
            },
            ALTERNATE_SOCKET => (Port::Alternate, from),
            _ => (Port::Main, from),
        };
        let (ends, outbox) = (&self.ends, &mut self.outbox);
        let forward = |bytes: &[u8], to| outbox.extend(transmit(ends, Port::Main, to, bytes));
        self.machine.handle_batch((port, from), None, bytes, bytes.len(), now, forward);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.machine.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Transmit> {
        if self.outbox.is_empty()
            && let Some(sending) = self.machine.poll_transmit(&mut self.buffer, SEGMENTS, now)
        {
            let Sending { port, to, segment, .. } = sending;
            let size = segment.unwrap_or(self.buffer.len()).max(1);
            let datagrams = self.buffer.chunks(size).filter_map(|bytes| transmit(&self.ends, port, to, bytes));
            self.outbox.extend(datagrams);
        }
        self.outbox.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        self.machine.poll_timeout()
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

fn transmit(ends: &BTreeMap<u64, SocketAddr>, port: Port, to: SocketAddr, bytes: &[u8]) -> Option<Transmit> {
    let bytes = bytes.to_vec();
    match (Synthetic::of(to), port) {
        (Some(Synthetic::Tunnel(number)), _) => {
            let to = *ends.get(&number)?;
            Some(Transmit { socket: TUNNEL, to, bytes })
        }
        (Some(Synthetic::Peer(_) | Synthetic::Rendezvous), _) => None,
        (None, Port::Alternate) => Some(Transmit { socket: ALTERNATE_SOCKET, to, bytes }),
        // The sockets that only the doctor's questions come to.
        (None, Port::OtherPort | Port::OtherAddress) => None,
        (None, Port::Main) if to.is_ipv6() => Some(Transmit { socket: V6_SOCKET, to, bytes }),
        (None, Port::Main) => Some(Transmit { socket: 0, to, bytes }),
    }
}

/// A relay that is no rendezvous.
pub(crate) struct LoneRelay {
    machine: Relay,
    clock: Clock,
    outbox: VecDeque<Transmit>,
}

impl LoneRelay {
    /// Puts a relay on the Internet.
    pub(crate) fn open(world: &mut World) -> HostId {
        world.add_at("relay", &[address(LONE_RELAY)], LoneRelay::new())
    }

    pub(crate) fn new() -> Self {
        let machine = Relay::new(LoneRelay::key(), RelayLimits::default(), [9; 32]);
        LoneRelay { machine, clock: Clock::start(), outbox: VecDeque::new() }
    }

    pub(crate) fn key() -> RelayKey {
        RelayKey::from_bytes([8; 32])
    }

    pub(crate) fn address() -> SocketAddr {
        address(LONE_RELAY)
    }
}

impl Host for LoneRelay {
    fn handle_datagram(&mut self, now: Time, _socket: u16, from: SocketAddr, bytes: &[u8]) {
        let unix = self.clock.unix_micros(now) / 1_000_000;
        let outbox = &mut self.outbox;
        self.machine.handle_batch(now, unix, from, bytes, bytes.len(), |run, verdict| {
            let sent = match verdict {
                Verdict::Forward { to } => Some((run.to_vec(), to)),
                Verdict::Answer(bytes, to) => Some((bytes, to)),
                Verdict::Drop(_) => None,
            };
            outbox.extend(sent.map(|(bytes, to)| Transmit { socket: 0, to, bytes }));
        });
    }

    fn handle_timeout(&mut self, now: Time) {
        self.machine.handle_timeout(now);
    }

    fn poll_transmit(&mut self, _now: Time) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        self.machine.poll_timeout()
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Whose key is that of the rendezvous.
pub(crate) const IDENTITY: u64 = 0x7265_6e64;
const MAIN: &str = "198.51.100.1:1935";
const ALTERNATE: &str = "198.51.100.2:1936";
const MAIN_V6: &str = "[2001:db8:ffff::1]:1935";
const LONE_RELAY: &str = "198.51.100.9:1935";
const ALTERNATE_SOCKET: u16 = 1;
const V6_SOCKET: u16 = 2;
