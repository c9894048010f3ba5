//! Our side: the programs as a person runs them, except that `peer watch` also keeps pictures (`peer/examples/look.rs`). The
//! rendezvous is on the near host, beside the publisher.

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::call::{Call, Report, figure};
use crate::emulator::Emulator;
use crate::process::Process;
use crate::programs::Programs;
use crate::quality::{Shown, kept};
use crate::room::Room;

/// A publisher, a watcher and the rendezvous that has introduced them.
pub(crate) struct MeipoCall {
    watcher: Process,
    publisher: Process,
    _room: Room,
    pictures: TempDir,
    frames: Option<f64>,
    estimate_kbps: Option<f64>,
}

impl MeipoCall {
    /// Lets both join a room.
    pub(crate) fn start(emulator: &Emulator, programs: &Programs) -> Result<Self, String> {
        let room = Room::open(emulator, programs)?;
        let mut publish = room.peer(&emulator.near, "alice");
        publish.args(["publish", room.link(), "--test-pattern", "640x480@30", "--bitrate", "1200k", "--hue", "200"]);
        let pictures = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
        let mut watch = room.run(&emulator.far, &programs.example("look"), "bob");
        watch.args([room.link(), "--keep"]).arg(pictures.path());
        let (publisher, watcher) = (Process::start(publish), Process::start(watch));
        let (frames, estimate_kbps) = (None, None);
        Ok(MeipoCall { watcher, publisher, _room: room, pictures, frames, estimate_kbps })
    }

    /// The publisher's latest opinion, of which nobody waits for more.
    fn note_estimate(&mut self) {
        let is_stats = |event: &Value| event["event"] == "stats";
        while let Some(stats) = self.publisher.look_for(Duration::ZERO, is_stats) {
            self.estimate_kbps = figure(&stats, "estimate_kbps").or(self.estimate_kbps);
        }
    }

    /// How wide the publisher says its pictures are now.
    fn width(&self) -> f64 {
        let tracks = self.watcher.seen().iter().rev().filter(|event| event["event"] == "track");
        tracks.filter_map(|track| figure(track, "width")).next().unwrap_or_default()
    }
}

impl Call for MeipoCall {
    fn wait_for_pictures(&mut self, limit: Duration) -> Result<(), String> {
        let is_direct = |event: &Value| {
            event["event"] == "stats" && event["path"] == "direct" && figure(event, "latency_ms").is_some()
        };
        let found = self.watcher.look_for(limit, is_direct);
        found.map(drop).ok_or_else(|| format!("no pictures directly\n{}", self.watcher.story()))
    }

    fn next_report(&mut self, limit: Duration) -> Option<Report> {
        let stats = self.watcher.look_for(limit, |event| event["event"] == "stats")?;
        self.note_estimate();
        let number = |name| figure(&stats, name).unwrap_or_default();
        let frames = number("frames");
        let new = frames - self.frames.replace(frames).unwrap_or(frames);
        Some(Report {
            received_kbps: number("received_kbps"),
            estimate_kbps: self.estimate_kbps,
            // All that is not sound; what sound is missing makes this a little less than it is.
            pictures: figure(&stats, "pictures_per_second").unwrap_or((new - SOUNDS_PER_SECOND).max(0.0)),
            width: self.width(),
            latency_ms: figure(&stats, "latency_ms"),
            buffer_ms: figure(&stats, "jitter_buffer_ms"),
            freezes_total: number("freezes"),
            freeze_ms_total: number("freeze_ms"),
            concealed_ms_total: figure(&stats, "concealed_ms"),
        })
    }

    fn shown(&mut self, since_unix_us: u64) -> Result<Vec<Shown>, String> {
        kept(self.pictures.path(), since_unix_us)
    }
}

const SOUNDS_PER_SECOND: f64 = 50.0;
