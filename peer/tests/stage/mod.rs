//! What tests of the program play on: rooms on a rendezvous in this process, and peers as processes of their own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use meipo::limits::Limits;
use meipo::link::{Host, Link};
use meipo::net::identity::Identity;
use meipo::net::rendezvous_machine::RendezvousMachineConfig;
use meipo::net::server::{Listen, Server};
use meipo::trust::RoomSecret;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;

/// A rendezvous in this process, and a folder for everything its peers keep.
pub(crate) struct Room {
    pub(crate) link: String,
    pub(crate) folder: TempDir,
    _stop: watch::Sender<u32>,
}

impl Room {
    /// May be called from a test with a runtime of its own, and from one without.
    pub(crate) fn open() -> Self {
        Room::with(Limits::default())
    }

    /// A room on a rendezvous with these limits.
    pub(crate) fn with(limits: Limits) -> Self {
        let identity = Arc::new(Identity::generate().unwrap());
        let config = RendezvousMachineConfig {
            identity: identity.clone(),
            limits,
            relays: Vec::new(),
            is_relay: true,
            stun_alternate: None,
            seed: [7; 32],
        };
        let main = SocketAddr::from(([127, 0, 0, 1], 0));
        let listen = Listen { main, alternate: None, tunnels: false };
        let (stop, stopped) = watch::channel(0);
        let (tell, told) = channel();
        std::thread::spawn(move || {
            Runtime::new().unwrap().block_on(async {
                let server = Server::bind(listen, config).await.unwrap();
                tell.send(server.local_address().unwrap().port()).unwrap();
                server.run(stopped).await
            })
        });
        let link = Room::link_to(told.recv().unwrap(), &identity);
        Room { link, folder: tempfile::tempdir().unwrap(), _stop: stop }
    }

    pub(crate) fn link_to(port: u16, identity: &Identity) -> String {
        let host = Host::Ipv4([127, 0, 0, 1].into());
        let secret = RoomSecret::from_bytes([3; 16]);
        Link::new(host, port, "test", identity.id(), secret).unwrap().to_string()
    }

    pub(crate) fn peer(&self, line: &[&str]) -> Process {
        self.peer_with(line, &[])
    }

    /// A peer with these further variables in its environment.
    pub(crate) fn peer_with(&self, line: &[&str], environment: &[(&str, &Path)]) -> Process {
        let mut command = Command::new(PEER);
        command.args(line).env("XDG_STATE_HOME", self.folder.path()).env_remove("RUST_LOG");
        command.envs(environment.iter().copied());
        Process::start(command)
    }
}

/// A running program; dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    pub(crate) input: Option<ChildStdin>,
    events: Receiver<Value>,
    pub(crate) seen: Vec<Value>,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, events) = channel();
        // The pipe is closed when nobody waits for events any more.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Process { input: child.stdin.take(), child, events, seen: Vec::new() }
    }

    /// The first event, seen or still to come, that `matches`.
    pub(crate) fn wait(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let ends = Instant::now() + PATIENCE;
        if let Some(event) = self.seen.iter().find(|event| matches(event)) {
            return event.clone();
        }
        loop {
            let left = ends.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else { panic!("no {what}; seen: {:#?}", self.seen) };
            self.seen.push(event.clone());
            if matches(&event) {
                return event;
            }
        }
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let ends = Instant::now() + PATIENCE;
        while let Ok(event) = self.events.recv_timeout(ends.saturating_duration_since(Instant::now())) {
            self.seen.push(event);
        }
        assert!(Instant::now() < ends, "it does not end; seen: {:#?}", self.seen);
        self.child.wait().unwrap()
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        self.child.wait().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Reads no more of it, and gives what is left.
    pub(crate) fn hang_up(mut self) -> Orphan {
        let child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        Orphan(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program nobody reads.
pub(crate) struct Orphan(Child);

impl Orphan {
    pub(crate) fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.0.wait()
    }
}

/// The program.
pub(crate) const PEER: &str = env!("CARGO_BIN_EXE_peer");

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
