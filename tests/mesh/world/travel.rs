//! The way of one datagram: out of its machine, to where the networks meet, into its receiver.

use std::net::SocketAddr;

use meipo::units::Time;

use super::link::{Arrivals, Carrier};
use super::nat::Protocol;
use super::topology::NetworkId;
use super::{Datagram, Event, HostId, TUNNEL, Transmit, World};

impl World {
    /// Wakes a machine whose timeout has come, unless it asked for another time since.
    pub(super) fn wake(&mut self, id: HostId) {
        let now = self.now;
        let station = self.station(id);
        if station.wake != Some(now) {
            return;
        }
        station.wake = None;
        if station.asleep_until > now {
            let later = station.asleep_until;
            station.wake = Some(later);
            self.schedule(later, Event::Wake(id));
            return;
        }
        let wakes = station.count_wake(now);
        assert!(wakes < MAX_WAKES, "{} asks to be woken without end at {now}", station.name);
        let local = station.clock.local(now);
        if let Some(machine) = &mut station.machine {
            machine.handle_timeout(local);
        }
        self.drain(id);
    }

    /// Sends all a machine has to send and notes when it wants to be woken.
    pub(super) fn drain(&mut self, id: HostId) {
        let now = self.now;
        loop {
            let station = self.station(id);
            let local = station.clock.local(now);
            let Some(machine) = &mut station.machine else {
                station.wake = None;
                return;
            };
            let Some(transmit) = machine.poll_transmit(local) else {
                break;
            };
            self.send(id, transmit);
        }
        let station = self.station(id);
        let timeout = station.machine.as_mut().and_then(|machine| machine.poll_timeout());
        let wake = timeout.map(|local| station.clock.global(local).max(now));
        if wake == station.wake {
            return;
        }
        station.wake = wake;
        if let Some(at) = wake {
            self.schedule(at, Event::Wake(id));
        }
    }

    fn send(&mut self, sender: HostId, transmit: Transmit) {
        let Transmit { socket, to, bytes } = transmit;
        let now = self.now;
        let traffic = self.sent.entry(to.ip()).or_default();
        traffic.packets += 1;
        traffic.bytes += bytes.len() as u64;
        let station = self.station(sender);
        let network = station.network;
        let source = station.source(socket, to.ip());
        let mut datagram = Datagram {
            sender,
            protocol: if socket == TUNNEL { Protocol::Tcp } else { Protocol::Udp },
            from: source.unwrap_or(to),
            to,
            bytes,
        };
        if source.is_none() {
            return self.lose(&datagram, "no address of this family");
        }
        let Datagram { protocol, from, .. } = datagram;
        let (network, from) = match self.topology.ascend(now, protocol, network, from, to) {
            Ok(meeting) => meeting,
            Err(refusal) => return self.lose(&datagram, &format!("{refusal:?}")),
        };
        datagram.from = from;
        let owner = self.station(sender).shared_uplink.unwrap_or(sender);
        let arrivals = carry(&mut self.station(owner).uplink, now, &datagram);
        if arrivals.is_lost() {
            return self.lose(&datagram, "lost on the uplink");
        }
        for at in arrivals {
            self.schedule(at, Event::Meet(network, datagram.clone()));
        }
    }

    /// Takes a datagram from where the networks meet through the receiver's gateways and links.
    pub(super) fn meet(&mut self, network: NetworkId, datagram: &Datagram) {
        let now = self.now;
        let Datagram { sender, protocol, .. } = *datagram;
        let (receiver, local) = match self.topology.descend(now, protocol, network, datagram.from, datagram.to) {
            Ok(arrival) => arrival,
            Err(refusal) => return self.lose(datagram, &format!("{refusal:?}")),
        };
        let mut moments: Vec<_> = match self.pairs.get_mut(&(sender, receiver)) {
            Some(carrier) => carry(carrier, now, datagram).collect(),
            None => vec![now],
        };
        // The access link comes last and takes copies in the order in which they reach it.
        moments.sort_unstable();
        let downlink = &mut self.station(receiver).downlink;
        let arrivals: Vec<_> = moments.into_iter().flat_map(|at| carry(downlink, at, datagram)).collect();
        if arrivals.is_empty() {
            return self.lose(datagram, "lost on the way");
        }
        for at in arrivals {
            let mut datagram = datagram.clone();
            datagram.to = local;
            self.schedule(at, Event::Deliver(receiver, datagram));
        }
    }

    /// Hands a datagram to its receiver's machine.
    pub(super) fn deliver(&mut self, receiver: HostId, datagram: &Datagram) {
        let now = self.now;
        let Datagram { from, to, bytes, .. } = datagram;
        let station = self.station(receiver);
        let socket = station.hearing(now, datagram.protocol, *to);
        let local_time = station.clock.local(now);
        let (Some(socket), Some(machine)) = (socket, station.machine.as_mut()) else {
            return self.lose(datagram, "nobody listens");
        };
        machine.handle_datagram(local_time, socket, *from, bytes);
        if let Some(tap) = self.taps.get_mut(&receiver) {
            tap.push((socket, *from, bytes.clone()));
        }
        let traffic = self.delivered.entry((datagram.sender, receiver)).or_default();
        traffic.packets += 1;
        traffic.bytes += bytes.len() as u64;
        let line = format!("{from} → {to}, {} bytes", bytes.len());
        self.story.datagram(now, line, bytes);
        self.drain(receiver);
    }

    fn lose(&mut self, datagram: &Datagram, why: &str) {
        let Datagram { sender, to, bytes, .. } = datagram;
        let name = &self.station(*sender).name;
        let line = format!("{name} → {to}, {} bytes: {why}", bytes.len());
        self.story.datagram(self.now, line, bytes);
    }
}

fn carry(carrier: &mut Carrier, now: Time, datagram: &Datagram) -> Arrivals {
    let len = ip_len(datagram.to, &datagram.bytes);
    match datagram.protocol {
        Protocol::Udp => carrier.carry(now, len),
        Protocol::Tcp => carrier.carry_in_stream(now, len),
    }
}

/// The length of the IP packet around a datagram.
fn ip_len(to: SocketAddr, bytes: &[u8]) -> usize {
    let headers = if to.is_ipv4() { 28 } else { 48 };
    bytes.len() + headers
}

/// A machine that wakes itself this often in one moment does not let time pass.
const MAX_WAKES: u32 = 10_000;
