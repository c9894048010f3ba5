//! One person and several listeners, behind one narrow uplink of the near host's: does each get the same, and the sound whole?

use std::time::Duration;

use meipo::units::Bitrate;
use serde_json::Value;

use crate::call::{Plan, figure};
use crate::emulator::Emulator;
use crate::process::Process;
use crate::programs::Programs;
use crate::readme;
use crate::room::Room;
use crate::rungs::{QUEUE, way};

/// What the listeners of one uplink got, the least of them and the most.
struct Row {
    uplink: Bitrate,
    /// What the near host put on the link.
    wire: Bitrate,
    kbps: [f64; 2],
    pictures: [f64; 2],
    /// Share of the time in which sound was concealed, in per cent.
    concealed: [f64; 2],
    frozen: [f64; 2],
    latency_ms: [f64; 2],
}

/// Measures with so many listeners behind each uplink.
pub(crate) fn run(listeners: u8, plan: Plan, is_for_readme: bool, emulator: &Emulator) -> Result<(), String> {
    let programs = Programs::build()?;
    let mut table = format!(
        "{listeners} listeners, {} s an uplink after {} s to settle; the least and the most that any of them got.\n\n\
         | uplink kbit/s | used | kbit/s | pictures/s | sound concealed % | frozen % | latency ms |\n\
         |---|---|---|---|---|---|---|\n",
        plan.span.as_secs(),
        plan.settle.as_secs(),
    );
    for kilobits in UPLINKS {
        let row = measure(listeners, Bitrate::from_kilobits(kilobits), plan, emulator, &programs)?;
        table += &row.to_markdown();
    }
    println!("{table}");
    if is_for_readme { readme::replace("group", &table) } else { Ok(()) }
}

fn measure(
    listeners: u8,
    uplink: Bitrate,
    plan: Plan,
    emulator: &Emulator,
    programs: &Programs,
) -> Result<Row, String> {
    emulator.rewind(1);
    let room = Room::open(emulator, programs)?;
    let mut publish = room.peer(&emulator.near, "alice");
    publish.args(["publish", room.link(), "--test-pattern", "640x480@30", "--bitrate", "1200k", "--hue", "200"]);
    let _publisher = Process::start(publish);
    emulator.reshape(&way().bottleneck(uplink, QUEUE));
    let watch = |nth: u8| {
        let mut watch = room.peer(&emulator.far, &format!("listener {nth}"));
        watch.args(["watch", room.link()]);
        Process::start(watch)
    };
    let mut watchers: Vec<Process> = (0..listeners).map(watch).collect();
    for watcher in &mut watchers {
        let has_pictures = |event: &Value| is_of_alice(event) && figure(event, "latency_ms").is_some();
        let found = watcher.look_for(START_LIMIT, has_pictures);
        found.ok_or_else(|| format!("no pictures\n{}", watcher.story()))?;
    }
    let settled: Vec<Value> = watchers.iter_mut().filter_map(|watcher| stats(watcher, plan.settle).pop()).collect();
    let bytes = emulator.sent_bytes();
    // All are listened to at the same time; what the others say meanwhile waits.
    let first = watchers.iter_mut().map(|watcher| stats(watcher, plan.span)).next().unwrap_or_default();
    let wire = Bitrate::of(emulator.sent_bytes() - bytes, plan.span);
    let others = watchers.iter_mut().skip(1).map(|watcher| stats(watcher, Duration::ZERO));
    let all: Vec<Vec<Value>> = std::iter::once(first).chain(others).collect();
    let a_second = |name: &str| -> Vec<f64> {
        let since = |(seconds, before): (&Vec<Value>, &Value)| {
            let of = |event: &Value| figure(event, name).unwrap_or_default();
            let last = seconds.last().map_or(0.0, of);
            (last - of(before)) / seconds.len().max(1) as f64
        };
        all.iter().zip(&settled).map(since).collect()
    };
    let mean = |name: &str| -> Vec<f64> {
        let of = |seconds: &Vec<Value>| {
            let sum: f64 = seconds.iter().filter_map(|event| figure(event, name)).sum();
            sum / seconds.len().max(1) as f64
        };
        all.iter().map(of).collect()
    };
    Ok(Row {
        uplink,
        wire,
        kbps: ends(&mean("received_kbps")),
        pictures: ends(&a_second("frames")).map(|frames| frames - SOUNDS),
        concealed: ends(&a_second("concealed_ms")).map(|millis| millis / 10.0),
        frozen: ends(&a_second("freeze_ms")).map(|millis| millis / 10.0),
        latency_ms: ends(&mean("latency_ms")),
    })
}

/// What a listener says each second of the one who speaks.
fn stats(watcher: &mut Process, span: Duration) -> Vec<Value> {
    watcher.collect(span).into_iter().filter(is_of_alice).collect()
}

fn is_of_alice(event: &Value) -> bool {
    event["event"] == "stats" && event["name"] == "alice"
}

/// The least and the most.
fn ends(values: &[f64]) -> [f64; 2] {
    [f64::min, f64::max].map(|end| values.iter().copied().reduce(end).unwrap_or_default())
}

impl Row {
    fn to_markdown(&self) -> String {
        let cell = |[least, most]: [f64; 2], places: usize| format!("{least:.places$} … {most:.places$}");
        format!(
            "| {} | {:.0} % | {} | {} | {} | {} | {} |\n",
            self.uplink.as_bits() / 1000,
            100.0 * self.wire.as_bits() as f64 / self.uplink.as_bits() as f64,
            cell(self.kbps, 0),
            cell(self.pictures, 1),
            cell(self.concealed, 2),
            cell(self.frozen, 2),
            cell(self.latency_ms, 0),
        )
    }
}

/// Kilobits a second: what a household far from the exchange, an old one and a better one can send.
const UPLINKS: [u64; 3] = [1200, 2000, 4000];
/// Frames of a second that are sound; the others are pictures.
const SOUNDS: f64 = 50.0;
const START_LIMIT: Duration = Duration::from_secs(40);
