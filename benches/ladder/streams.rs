//! The same pictures, each group of them one QUIC stream: how media over QUIC is commonly done. Without sound.

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::call::{Call, Report, figure};
use crate::emulator::Emulator;
use crate::process::Process;
use crate::programs::Programs;
use crate::quality::{Shown, kept};

/// A sender and a receiver of streams.
pub(crate) struct StreamCall {
    receiver: Process,
    _sender: Process,
    pictures: TempDir,
}

impl StreamCall {
    /// Lets the sender connect to the receiver.
    pub(crate) fn start(emulator: &Emulator, programs: &Programs) -> Result<Self, String> {
        let pictures = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
        let program = programs.example("stream_per_gop");
        let mut command = emulator.far.command(&program);
        command.args(["receive", &format!("{}:4433", emulator.far.address)]).arg(pictures.path());
        let mut receiver = Process::start(command);
        let listening = receiver.look_for(PATIENCE, |event| event["event"] == "listening");
        let id = listening.and_then(|event| event.get("id").and_then(Value::as_str).map(str::to_owned));
        let id = id.ok_or_else(|| format!("the receiver does not listen\n{}", receiver.story()))?;
        let mut command = emulator.near.command(&program);
        command.args(["send", &format!("{}:4433", emulator.far.address), &id]);
        Ok(StreamCall { receiver, _sender: Process::start(command), pictures })
    }
}

impl Call for StreamCall {
    fn wait_for_pictures(&mut self, limit: Duration) -> Result<(), String> {
        let has_pictures = |event: &Value| figure(event, "pictures").is_some_and(|pictures| pictures > 0.0);
        let found = self.receiver.look_for(limit, has_pictures);
        found.map(drop).ok_or_else(|| format!("no pictures\n{}", self.receiver.story()))
    }

    fn next_report(&mut self, limit: Duration) -> Option<Report> {
        let stats = self.receiver.look_for(limit, |event| event["event"] == "stats")?;
        let number = |name| figure(&stats, name).unwrap_or_default();
        Some(Report {
            received_kbps: number("received_kbps"),
            pictures: number("pictures"),
            width: WIDTH,
            latency_ms: figure(&stats, "latency_ms"),
            freezes_total: number("freezes"),
            freeze_ms_total: number("freeze_ms"),
            ..Report::default()
        })
    }

    fn shown(&mut self, since_unix_us: u64) -> Result<Vec<Shown>, String> {
        kept(self.pictures.path(), since_unix_us)
    }
}

const WIDTH: f64 = 640.0;
const PATIENCE: Duration = Duration::from_secs(10);
