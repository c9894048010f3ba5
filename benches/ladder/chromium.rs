//! Two pages in two Chromiums, one on each host, over `RTCPeerConnection` with its defaults. Offers and answers go through
//! this program; only media is on the link.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use data_encoding::BASE64;
use meipo::net::clock::Clock;
use meipo::units::Time;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use crate::browser::{Browser, Sound};
use crate::call::{Call, Report, figure};
use crate::emulator::Emulator;
use crate::programs::Programs;
use crate::quality::Shown;

/// A page that sends and a page that receives.
pub(crate) struct ChromiumCall {
    sender: Browser,
    receiver: Browser,
    clock: Clock,
    reports: u32,
    folder: TempDir,
}

impl ChromiumCall {
    /// Lets both pages call each other.
    pub(crate) fn start(emulator: &Emulator, programs: &Programs) -> Result<Self, String> {
        let folder = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
        make_material(programs, folder.path())?;
        let voice = folder.path().join("voice.wav");
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/ladder/chromium/page.html");
        let mut sender = Browser::open(&emulator.near, &page, Sound::File(&voice))?;
        let mut receiver = Browser::open(&emulator.far, &page, Sound::File(&voice))?;
        let pictures = format!("file://{}", folder.path().join("pictures.yuv").display());
        let offer = sender.evaluate(&format!("offer({})", Value::from(pictures)))?;
        let answer = receiver.evaluate(&format!("answer({offer})"))?;
        sender.evaluate(&format!("accept({answer})"))?;
        Ok(ChromiumCall { sender, receiver, clock: Clock::start(), reports: 0, folder })
    }

    /// Waits for the next whole second; `false` if it lies beyond `limit`.
    fn wait(&mut self, limit: Duration) -> bool {
        let now = self.clock.now();
        let passed = now.since(Time::ZERO);
        // A page that answered late does not get two reports at once.
        self.reports = (self.reports + 1).max(u32::try_from(passed.as_secs()).unwrap_or(u32::MAX));
        let until_next = (Time::ZERO + PERIOD * self.reports).since(now);
        let (_never, tick) = std::sync::mpsc::channel::<()>();
        let _ = tick.recv_timeout(until_next.min(limit));
        until_next < limit
    }

    /// Writes a picture the receiver has kept into a file; `drawn` tells which one was drawn at which millisecond.
    fn fetch(&mut self, nth: usize, drawn: &BTreeMap<u64, u32>) -> Result<Shown, String> {
        let (millis, width, height, planes): (u64, u32, u32, String) =
            read(self.receiver.evaluate(&format!("tell({nth})"))?)?;
        let planes = BASE64.decode(planes.as_bytes()).map_err(|error| format!("a kept picture: {error}"))?;
        let frame = *drawn.get(&millis).ok_or_else(|| format!("no picture was drawn at {millis} ms"))?;
        let file = self.folder.path().join(format!("kept-{nth}.yuv"));
        fs::write(&file, planes).map_err(|error| format!("{}: {error}", file.display()))?;
        // When `peer/examples/material.rs` has drawn it.
        let unix_us = u64::from(frame) * 1_000_000 / RATE;
        Ok(Shown { file, size: (width, height), frame, unix_us })
    }
}

impl Call for ChromiumCall {
    fn wait_for_pictures(&mut self, limit: Duration) -> Result<(), String> {
        let end = self.clock.now() + limit;
        while self.clock.now() < end && self.wait(limit) {
            let report = self.receiver.evaluate("report()")?;
            if figure(&report, "pictures").is_some_and(|pictures| pictures > 0.0) {
                return Ok(());
            }
        }
        Err("no pictures".to_owned())
    }

    fn next_report(&mut self, limit: Duration) -> Option<Report> {
        if !self.wait(limit) {
            return None;
        }
        let report = self.receiver.evaluate("report()").ok()?;
        let number = |name| figure(&report, name).unwrap_or_default();
        let estimate = self.sender.evaluate("estimate()").ok()?;
        Some(Report {
            received_kbps: number("kbps"),
            estimate_kbps: estimate.as_f64(),
            pictures: number("pictures"),
            width: number("width"),
            latency_ms: figure(&report, "latency_ms"),
            buffer_ms: figure(&report, "sound_buffer_ms"),
            freezes_total: number("freezes"),
            freeze_ms_total: number("freeze_ms"),
            concealed_ms_total: figure(&report, "concealed_ms"),
        })
    }

    fn shown(&mut self, since_unix_us: u64) -> Result<Vec<Shown>, String> {
        let drawn: BTreeMap<u64, u32> = read::<Vec<_>>(self.sender.evaluate("[...drawn]")?)?.into_iter().collect();
        let millis: Vec<u64> = read(self.receiver.evaluate("kept.map((picture) => picture.millis)")?)?;
        let since = millis.iter().position(|millis| millis * 1000 >= since_unix_us).unwrap_or(millis.len());
        (since..millis.len()).map(|nth| self.fetch(nth, &drawn)).collect()
    }
}

/// What a page has said.
fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("a page says {error}"))
}

/// The pictures and the voice of the test pattern, as files a page can take.
fn make_material(programs: &Programs, folder: &Path) -> Result<(), String> {
    let mut command = Command::new(programs.example("material"));
    let status = command.arg(folder).stdin(Stdio::null()).status().map_err(|error| format!("material: {error}"))?;
    if status.success() { Ok(()) } else { Err("the material cannot be made".to_owned()) }
}

const PERIOD: Duration = Duration::from_secs(1);
/// Pictures a second.
const RATE: u64 = 30;
