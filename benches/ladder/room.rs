//! A room for our programs: a rendezvous on the near host, and the link with which they join.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::emulator::{Emulator, Host};
use crate::process::Process;
use crate::programs::Programs;

/// An open room; it closes when dropped.
pub(crate) struct Room {
    peer: PathBuf,
    link: String,
    home: TempDir,
    _rendezvous: Process,
}

impl Room {
    /// Returns once the rendezvous listens.
    pub(crate) fn open(emulator: &Emulator, programs: &Programs) -> Result<Self, String> {
        let home = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
        let command = || {
            let mut command = emulator.near.command(programs.path("rendezvous"));
            command.arg("--data-dir").arg(home.path().join("rendezvous"));
            command
        };
        let public = format!("{}:1935", emulator.near.address);
        let mut rendezvous = command();
        rendezvous.args(["--listen", "0.0.0.0:1935", "--json", "--public-addr", &public]);
        let mut rendezvous = Process::start(rendezvous);
        let listening = |event: &Value| event["event"] == "listening";
        rendezvous.look_for(PATIENCE, listening).ok_or_else(|| format!("no rendezvous\n{}", rendezvous.story()))?;
        let link = invite(command(), &public)?;
        Ok(Room { peer: programs.path("peer"), link, home, _rendezvous: rendezvous })
    }

    /// What one joins with.
    pub(crate) fn link(&self) -> &str {
        &self.link
    }

    /// The beginning of a command of somebody on this host.
    pub(crate) fn peer(&self, host: &Host, name: &str) -> Command {
        self.run(host, &self.peer, name)
    }

    /// The same of a program that has the options of `peer`.
    pub(crate) fn run(&self, host: &Host, program: &Path, name: &str) -> Command {
        let mut command = host.command(program);
        command.args(["--json", "--no-port-mapping", "--name", name]);
        command.arg("--identity").arg(self.home.path().join(format!("{name}.pem")));
        command
    }
}

/// The link to a room.
fn invite(mut rendezvous: Command, public: &str) -> Result<String, String> {
    rendezvous.args(["invite", "ladder", "--json", "--public-addr", public]).stderr(Stdio::null());
    let output = rendezvous.output().map_err(|error| format!("rendezvous invite: {error}"))?;
    let invite: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("the invite: {error}"))?;
    let link = invite.get("link").and_then(Value::as_str).map(str::to_owned);
    link.ok_or_else(|| format!("an invite without link: {invite}"))
}

const PATIENCE: Duration = Duration::from_secs(10);
