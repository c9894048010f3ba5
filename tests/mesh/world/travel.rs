//! The way of one datagram: out of its machine, to where the networks meet, into its receiver.

use std::net::SocketAddr;

use super::topology::NetworkId;
use super::{Event, HostId, Transmit, World};

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
        assert!(
            wakes < MAX_WAKES,
            "{} asks to be woken without end at {now}",
            station.name
        );
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
        let wake = timeout.map(|local| station.clock.global(local).max(now).max(station.asleep_until));
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
        let Some(source) = station.source(socket, to.ip()) else {
            return self.lose(sender, to, "no address of this family", &bytes);
        };
        let (network, from) = match self.topology.ascend(now, network, source, to) {
            Ok(meeting) => meeting,
            Err(refusal) => return self.lose(sender, to, &format!("{refusal:?}"), &bytes),
        };
        let arrivals = self.station(sender).uplink.carry(now, ip_len(to, &bytes));
        if arrivals.is_lost() {
            return self.lose(sender, to, "lost on the uplink", &bytes);
        }
        for at in arrivals {
            let bytes = bytes.clone();
            self.schedule(
                at,
                Event::Meet {
                    sender,
                    network,
                    from,
                    to,
                    bytes,
                },
            );
        }
    }

    /// Takes a datagram from where the networks meet through the receiver's gateways and links.
    pub(super) fn meet(
        &mut self,
        sender: HostId,
        network: NetworkId,
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    ) {
        let now = self.now;
        let (receiver, local) = match self.topology.descend(now, network, from, to) {
            Ok(arrival) => arrival,
            Err(refusal) => return self.lose(sender, to, &format!("{refusal:?}"), &bytes),
        };
        let len = ip_len(to, &bytes);
        let mut moments: Vec<_> = match self.pairs.get_mut(&(sender, receiver)) {
            Some(carrier) => carrier.carry(now, len).collect(),
            None => vec![now],
        };
        // The access link comes last and takes datagrams in the order in which they reach it; two
        // copies reach it together.
        moments.sort_unstable();
        let downlink = &mut self.station(receiver).downlink;
        let arrivals: Vec<_> = moments.into_iter().flat_map(|at| downlink.carry(at, len)).collect();
        if arrivals.is_empty() {
            return self.lose(sender, to, "lost on the way", &bytes);
        }
        for at in arrivals {
            let bytes = bytes.clone();
            self.schedule(
                at,
                Event::Deliver {
                    sender,
                    receiver,
                    from,
                    local,
                    bytes,
                },
            );
        }
    }

    pub(super) fn deliver(
        &mut self,
        sender: HostId,
        receiver: HostId,
        from: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
    ) {
        let now = self.now;
        let station = self.station(receiver);
        let socket = station.hearing(now, local);
        let local_time = station.clock.local(now);
        let (Some(socket), Some(machine)) = (socket, station.machine.as_mut()) else {
            return self.lose(sender, local, "nobody listens", bytes);
        };
        machine.handle_datagram(local_time, socket, from, bytes);
        let traffic = self.delivered.entry((sender, receiver)).or_default();
        traffic.packets += 1;
        traffic.bytes += bytes.len() as u64;
        let line = format!("{from} → {local}, {} bytes", bytes.len());
        self.story.datagram(now, line, bytes);
        self.drain(receiver);
    }

    fn lose(&mut self, sender: HostId, to: SocketAddr, why: &str, bytes: &[u8]) {
        let name = &self.station(sender).name;
        let line = format!("{name} → {to}, {} bytes: {why}", bytes.len());
        self.story.datagram(self.now, line, bytes);
    }
}

/// The length of the IP packet around a datagram.
fn ip_len(to: SocketAddr, bytes: &[u8]) -> usize {
    let headers = if to.is_ipv4() { 28 } else { 48 };
    bytes.len() + headers
}

/// A machine that wakes itself this often in one moment does not let time pass.
const MAX_WAKES: u32 = 10_000;
