//! Two tiny machines that prove the world: one that pings, and one that tells others how they look.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use meipo::units::Time;

use crate::world::{Host, HostId, Transmit, World};

/// Pings whom it is told to, answers every ping, and remembers who answered its own.
#[derive(Debug, Default)]
pub(crate) struct Pinger {
    planned: BTreeMap<Time, Vec<Transmit>>,
    outbox: VecDeque<Transmit>,
    /// Answers: when, on which socket, from whom.
    pub(crate) pongs: Vec<(Time, u16, SocketAddr)>,
    /// Pings of others.
    pub(crate) pings: Vec<(Time, SocketAddr)>,
    /// How a mirror saw this host, newest last.
    pub(crate) reflections: Vec<SocketAddr>,
    /// When the timeouts came.
    pub(crate) woken: Vec<Time>,
}

impl Pinger {
    /// Sends one ping at `at`.
    pub(crate) fn ping(&mut self, at: Time, socket: u16, to: SocketAddr) {
        self.plan(at, socket, to, vec![PING]);
    }

    /// Pings `to` five times a second for three seconds from `at` on.
    pub(crate) fn punch(&mut self, at: Time, to: SocketAddr) {
        for nth in 0..15 {
            self.ping(at + Duration::from_millis(200) * nth, 0, to);
        }
    }

    /// Sends `count` pings of `len` bytes, one each `interval`.
    pub(crate) fn stream(&mut self, at: Time, to: SocketAddr, len: usize, interval: Duration, count: u32) {
        for nth in 0..count {
            let mut bytes = vec![PING];
            bytes.resize(len, 0);
            self.plan(at + interval * nth, 0, to, bytes);
        }
    }

    /// Asks a mirror how it sees this host.
    pub(crate) fn reflect(&mut self, at: Time, mirror: SocketAddr) {
        self.plan(at, 0, mirror, vec![WHO_AM_I]);
    }

    /// Sends something that is neither a ping nor an answer.
    pub(crate) fn say(&mut self, at: Time, to: SocketAddr, bytes: Vec<u8>) {
        self.plan(at, 0, to, bytes);
    }

    fn plan(&mut self, at: Time, socket: u16, to: SocketAddr, bytes: Vec<u8>) {
        self.planned.entry(at).or_default().push(Transmit { socket, to, bytes });
    }
}

impl Host for Pinger {
    fn handle_datagram(&mut self, now: Time, socket: u16, from: SocketAddr, bytes: &[u8]) {
        match bytes {
            [PING, ..] => {
                self.pings.push((now, from));
                let bytes = vec![PONG];
                self.outbox.push_back(Transmit { socket, to: from, bytes });
            }
            [PONG, ..] => self.pongs.push((now, socket, from)),
            [YOU_ARE, text @ ..] => {
                let text = str::from_utf8(text).expect("a mirror writes text");
                self.reflections.push(text.parse().expect("a mirror writes an address"));
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.woken.push(now);
        while let Some(entry) = self.planned.first_entry().filter(|entry| *entry.key() <= now) {
            self.outbox.extend(entry.remove());
        }
    }

    fn poll_transmit(&mut self, _now: Time) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        self.planned.keys().next().copied()
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// Tells whoever asks which address it sees, from the socket that was asked.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    outbox: VecDeque<Transmit>,
}

impl Host for Mirror {
    fn handle_datagram(&mut self, _now: Time, socket: u16, from: SocketAddr, bytes: &[u8]) {
        if let [WHO_AM_I] = bytes {
            let mut bytes = vec![YOU_ARE];
            bytes.extend(from.to_string().bytes());
            self.outbox.push_back(Transmit { socket, to: from, bytes });
        }
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn poll_transmit(&mut self, _now: Time) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        None
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// Adds a mirror at 198.51.100.1:1935, and a second address and port for RFC 5780.
pub(crate) fn add_mirror(world: &mut World) -> HostId {
    let locals = MIRRORS.map(|text| text.parse().expect("an address"));
    world.add_at("mirror", &locals, Mirror::default())
}

/// How `mirror` sees `host` now.
pub(crate) fn reflection(world: &mut World, host: HostId, mirror: &str) -> Option<SocketAddr> {
    let mirror = mirror.parse().expect("an address");
    let now = world.now();
    let before = world.with_host(host, |pinger: &mut Pinger| {
        pinger.reflect(now, mirror);
        pinger.reflections.len()
    });
    let has_come = |world: &mut World| world.with_host(host, |pinger: &mut Pinger| pinger.reflections.len() > before);
    world.wait_for(Duration::from_secs(1), has_come);
    world.with_host(host, |pinger: &mut Pinger| pinger.reflections.get(before).copied())
}

/// Where a mirror listens.
pub(crate) const MIRRORS: [&str; 4] =
    ["198.51.100.1:1935", "198.51.100.1:1936", "198.51.100.2:1935", "198.51.100.2:1936"];

const PING: u8 = b'?';
const PONG: u8 = b'!';
const WHO_AM_I: u8 = b'w';
const YOU_ARE: u8 = b'a';
