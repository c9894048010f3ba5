//! One host in the world: its machine, its addresses, its sockets, its clock and its links.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use meipo::units::Time;

use super::link::Carrier;
use super::nat::Protocol;
use super::topology::NetworkId;
use super::{Host, HostId, MAIN_PORT, TUNNEL};

pub(crate) struct Station {
    pub(crate) name: String,
    /// `None` after a crash.
    pub(crate) machine: Option<Box<dyn Host>>,
    pub(crate) network: NetworkId,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) sockets: Sockets,
    pub(crate) clock: Clock,
    pub(crate) uplink: Carrier,
    /// Whose uplink it sends over, if not its own.
    pub(crate) shared_uplink: Option<HostId>,
    pub(crate) downlink: Carrier,
    pub(crate) wake: Option<Time>,
    pub(crate) asleep_until: Time,
    /// How often the machine was woken at this very moment.
    pub(crate) wakes_at: (Time, u32),
}

impl Station {
    /// The address a datagram from `socket` to `to` comes from, or `None` without one of its family.
    pub(crate) fn source(&mut self, socket: u16, to: IpAddr) -> Option<SocketAddr> {
        let Bound { address, port } = self.sockets.open(socket);
        let mut candidates = address.into_iter().chain(self.addresses.iter().copied());
        let address = candidates.find(|address| address.is_ipv4() == to.is_ipv4())?;
        Some(SocketAddr::new(address, port))
    }

    /// The socket that hears what arrives at `local`, if the host is awake and still has that address.
    pub(crate) fn hearing(&self, now: Time, protocol: Protocol, local: SocketAddr) -> Option<u16> {
        let is_listening = self.asleep_until <= now && self.addresses.contains(&local.ip());
        match (is_listening, protocol) {
            (false, _) => None,
            (true, Protocol::Udp) => self.sockets.receiver(local),
            (true, Protocol::Tcp) => self.sockets.receiver(local).map(|_| TUNNEL),
        }
    }

    /// The addresses of the main socket, or of every socket that is bound to one.
    pub(crate) fn locals(&self) -> Vec<SocketAddr> {
        let bound = self.sockets.0.values();
        let own = |bound: &Bound| match bound.address {
            Some(address) => vec![SocketAddr::new(address, bound.port)],
            None if bound.port == MAIN_PORT => {
                self.addresses.iter().map(|ip| SocketAddr::new(*ip, MAIN_PORT)).collect()
            }
            None => Vec::new(),
        };
        bound.flat_map(own).collect()
    }

    /// Counts a wake at `now` and says how many there were at this moment.
    pub(crate) fn count_wake(&mut self, now: Time) -> u32 {
        let (moment, count) = self.wakes_at;
        self.wakes_at = (now, if moment == now { count + 1 } else { 1 });
        self.wakes_at.1
    }
}

/// The open sockets of a host; a socket opens when it first sends, the main one at once.
#[derive(Debug)]
pub(crate) struct Sockets(BTreeMap<u16, Bound>);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// `None` is any address of the host.
    address: Option<IpAddr>,
    port: u16,
}

impl Sockets {
    /// Only the main socket, on every address.
    pub(crate) fn main() -> Self {
        let main = Bound { address: None, port: MAIN_PORT };
        Sockets(BTreeMap::from([(0, main)]))
    }

    /// One socket for each of `locals`, in their order.
    pub(crate) fn at(locals: &[SocketAddr]) -> Self {
        let bound = locals.iter().map(|local| Bound { address: Some(local.ip()), port: local.port() });
        Sockets((0..).zip(bound).collect())
    }

    /// Which socket receives what is sent to `local`.
    pub(crate) fn receiver(&self, local: SocketAddr) -> Option<u16> {
        let hears = |bound: &Bound| bound.port == local.port() && bound.address.is_none_or(|own| own == local.ip());
        self.0.iter().find(|(_, bound)| hears(bound)).map(|(socket, _)| *socket)
    }

    fn open(&mut self, socket: u16) -> Bound {
        // The tunnel has the numbers of the main socket, in TCP.
        let socket = if socket == TUNNEL { 0 } else { socket };
        let fresh = Bound { address: None, port: MAIN_PORT + socket };
        *self.0.entry(socket).or_insert(fresh)
    }
}

/// The clock of one host: when it began to count, and how fast it runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    pub(crate) start: Time,
    /// Microseconds gained in a second.
    pub(crate) drift_ppm: i32,
}

impl Clock {
    /// What the clock shows at `now` of the world.
    pub(crate) fn local(self, now: Time) -> Time {
        let elapsed = u128::from(now.as_micros().saturating_sub(self.start.as_micros()));
        let local = elapsed * self.rate() / MILLION;
        Time::from_micros(u64::try_from(local).expect("a run is shorter than half a million years"))
    }

    /// The first moment of the world at which the clock shows `local`.
    pub(crate) fn global(self, local: Time) -> Time {
        let elapsed = (u128::from(local.as_micros()) * MILLION).div_ceil(self.rate());
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.start + Duration::from_micros(elapsed)
    }

    fn rate(self) -> u128 {
        u128::try_from(1_000_000 + i64::from(self.drift_ppm)).expect("no clock runs backwards")
    }
}

const MILLION: u128 = 1_000_000;
