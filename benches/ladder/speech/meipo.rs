//! Our side: two times `peer call`, as a person runs it in a pipe.

use std::time::Duration;

use serde_json::Value;

use super::Voice;
use super::sound_server::{FAR_EAR, FAR_MICROPHONE, NEAR_EAR, NEAR_MICROPHONE, SoundServer};
use crate::call::figure;
use crate::emulator::{Emulator, Host};
use crate::process::Process;
use crate::programs::Programs;
use crate::room::Room;

/// One who speaks, one who listens, and the rendezvous that has introduced them.
pub(super) struct MeipoVoice {
    listener: Process,
    _speaker: Process,
    _room: Room,
    concealed_ms: Option<f64>,
}

impl MeipoVoice {
    /// Returns once the speaker can be heard over a direct path.
    pub(super) fn start(emulator: &Emulator, programs: &Programs, server: &SoundServer) -> Result<Self, String> {
        let room = Room::open(emulator, programs)?;
        let call = |host: &Host, name: &str, microphone: &str, loudspeaker: &str| {
            let mut command = room.peer(host, name);
            command.args(["call", room.link(), "--raw", "--microphone", microphone, "--speaker", loudspeaker]);
            command.env("PULSE_SERVER", server.address());
            Process::start(command)
        };
        let speaker = call(&emulator.near, "alice", NEAR_MICROPHONE, NEAR_EAR);
        let mut listener = call(&emulator.far, "bob", FAR_MICROPHONE, FAR_EAR);
        let is_direct = |event: &Value| {
            event["event"] == "stats" && event["path"] == "direct" && figure(event, "frames") > Some(0.0)
        };
        let found = listener.look_for(PATIENCE, is_direct);
        found.ok_or_else(|| format!("nobody is heard\n{}", listener.story()))?;
        Ok(MeipoVoice { listener, _speaker: speaker, _room: room, concealed_ms: None })
    }
}

impl Voice for MeipoVoice {
    fn concealed_ms(&mut self) -> Option<f64> {
        while let Some(stats) = self.listener.look_for(Duration::ZERO, |event| event["event"] == "stats") {
            self.concealed_ms = figure(&stats, "concealed_ms").or(self.concealed_ms);
        }
        self.concealed_ms
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
