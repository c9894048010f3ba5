//! Two hosts and the bad network between them.
//!
//! Each host is a network namespace with one TUN device. What one sends is read here, delayed, lost and reordered as the
//! link says, and written to the other. Nothing else connects them, so nothing can go around.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use meipo::net::clock::Clock;
use meipo::units::Time;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::rungs::{Rung, way};
use crate::world::link::{Carrier, Link};

/// The two hosts, removed when dropped.
pub(crate) struct Emulator {
    /// Where media comes from.
    pub(crate) near: Host,
    /// Where it is watched.
    pub(crate) far: Host,
    directions: [Arc<Direction>; 2],
}

/// One of the two hosts.
#[derive(Debug)]
pub(crate) struct Host {
    namespace: String,
    /// Its only address, other than loopback.
    pub(crate) address: &'static str,
}

struct Direction {
    clock: Clock,
    carrier: Mutex<Carrier>,
    sent_bytes: AtomicU64,
}

impl Emulator {
    /// Two hosts with a clean link between them, or `None` without the rights to make them.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        remove_leftovers();
        let near = Host::new("near", "10.77.0.1");
        let far = Host::new("far", "10.77.0.2");
        let directions = [Arc::new(Direction::new()), Arc::new(Direction::new())];
        let emulator = Emulator { near, far, directions };
        let [near, far] = [&emulator.near, &emulator.far].map(|host| Arc::new(host.device()));
        for (direction, from, to) in [(0, &near, &far), (1, &far, &near)] {
            if let Some(direction) = emulator.directions.get(direction) {
                direction.start(from.clone(), to.clone());
            }
        }
        Some(emulator)
    }

    /// The same chances from the beginning, on a clean link.
    pub(crate) fn rewind(&self, seed: u64) {
        for (direction, seed) in self.directions.iter().zip([seed * 2, seed * 2 + 1]) {
            *direction.carrier() = Carrier::new(way(), seed);
        }
    }

    /// Changes both directions; what is under way stays under way.
    pub(crate) fn reshape(&self, link: &Link) {
        for direction in &self.directions {
            direction.carrier().reshape(link.clone());
        }
    }

    /// Changes the link as the rung says while `measure` runs.
    pub(crate) fn during<R>(&self, rung: &Rung, span: Duration, measure: impl FnOnce() -> R) -> R {
        let (done, is_done) = mpsc::channel::<()>();
        let changes = rung.changes(span);
        let clock = Clock::start();
        thread::scope(|scope| {
            scope.spawn(move || {
                for (at, link) in changes {
                    let left = at.saturating_sub(clock.now().since(Time::ZERO));
                    if is_done.recv_timeout(left) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                    self.reshape(&link);
                }
                let _ = is_done.recv();
            });
            let result = measure();
            drop(done);
            result
        })
    }

    /// Bytes of IP packets the near host has sent so far, whatever became of them.
    pub(crate) fn sent_bytes(&self) -> u64 {
        let [forth, _] = &self.directions;
        forth.sent_bytes.load(Ordering::Relaxed)
    }
}

impl Host {
    fn new(name: &str, address: &'static str) -> Self {
        let namespace = format!("{}{name}", prefix(std::process::id()));
        ip(&["netns", "add", &namespace]);
        let host = Host { namespace, address };
        host.ip("link set lo up");
        host
    }

    /// Its end of the link.
    fn device(&self) -> SyncDevice {
        let device = self.enter(|| DeviceBuilder::new().name(DEVICE).mtu(MTU).build_sync());
        let device = device.expect("root makes a TUN device");
        self.ip(&format!("address add {}/24 dev {DEVICE}", self.address));
        // An address of the device's own would say hello by itself.
        self.ip(&format!("link set dev {DEVICE} addrgenmode none up"));
        self.ip(&format!("route add default dev {DEVICE}"));
        device
    }

    /// Runs `act` on a thread of this host: what it opens there is this host's, wherever it goes.
    pub(crate) fn enter<R: Send>(&self, act: impl FnOnce() -> R + Send) -> R {
        let namespace = File::open(Path::new("/run/netns").join(&self.namespace)).expect("the namespace exists");
        let inside = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).expect("root enters a namespace");
            act()
        };
        thread::scope(|scope| scope.spawn(inside).join().expect("the thread inside does not panic"))
    }

    /// A program on this host, which ends at the latest when the bench does.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "setpriv", "--pdeathsig", "KILL"]).arg(program);
        command
    }

    fn ip(&self, args: &str) {
        let words: Vec<&str> = ["-n", &self.namespace].into_iter().chain(args.split_whitespace()).collect();
        ip(&words);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        remove(&self.namespace);
    }
}

impl Direction {
    fn new() -> Self {
        Direction { clock: Clock::start(), carrier: Mutex::new(Carrier::new(way(), 0)), sent_bytes: AtomicU64::new(0) }
    }

    /// Begins to carry. The threads end with the process.
    fn start(self: &Arc<Self>, from: Arc<SyncDevice>, to: Arc<SyncDevice>) {
        let (sender, flying) = mpsc::channel();
        let [taking, giving] = [self.clone(), self.clone()];
        thread::spawn(move || taking.take(&from, &sender));
        thread::spawn(move || deliver(giving.clock, &to, &flying));
    }

    /// Decides about each packet the moment it is sent.
    fn take(&self, from: &SyncDevice, flying: &Sender<(Time, Vec<u8>)>) {
        let mut buffer = vec![0; usize::from(MTU)];
        while let Ok(len) = from.recv(&mut buffer) {
            let arrivals = self.carrier().carry(self.clock.now(), len);
            self.sent_bytes.fetch_add(len as u64, Ordering::Relaxed);
            for at in arrivals {
                let packet = buffer.get(..len).unwrap_or_default().to_vec();
                if flying.send((at, packet)).is_err() {
                    return;
                }
            }
        }
    }

    fn carrier(&self) -> MutexGuard<'_, Carrier> {
        self.carrier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands over each packet when its time has come.
fn deliver(clock: Clock, to: &SyncDevice, flying: &Receiver<(Time, Vec<u8>)>) {
    let mut waiting = BTreeMap::new();
    for number in 0_u64.. {
        let now = clock.now();
        while let Some(entry) = waiting.first_entry().filter(|entry: &Entry<'_>| entry.key().0 <= now) {
            // A host that is gone takes nothing, and nobody is left to tell.
            let _ = to.send(&entry.remove());
        }
        let until_next = waiting.first_key_value().map_or(IDLE, |((at, _), _)| at.since(clock.now()));
        match flying.recv_timeout(until_next) {
            Ok((at, packet)) => _ = waiting.insert((at, number), packet),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

type Entry<'a> = std::collections::btree_map::OccupiedEntry<'a, (Time, u64), Vec<u8>>;

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip can be run");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {error}", args.join(" "));
}

fn remove(namespace: &str) {
    let result = Command::new("ip").args(["netns", "delete", namespace]).stderr(Stdio::null()).status();
    result.expect("ip can be run");
}

/// Removes what a killed run has left behind.
fn remove_leftovers() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

fn prefix(pid: u32) -> String {
    format!("{PREFIX}{pid}-")
}

/// That of the tests with NATs too, which leave alone what a living process has made.
const PREFIX: &str = "meipo";
const DEVICE: &str = "wan";
const MTU: u16 = 1500;
const IDLE: Duration = Duration::from_secs(1);
