//! One call over one rung: begin on a clean link, let it settle on the bad one, then look once a second.

use std::time::Duration;

use meipo::net::clock::{Clock, unix_micros_now};
use meipo::units::Time;
use serde_json::Value;

use crate::emulator::Emulator;
use crate::programs::Programs;
use crate::quality::{Quality, Shown};
use crate::rungs::Rung;

/// A call from the near host to the far one, whoever carries it. It ends when dropped.
pub(crate) trait Call {
    /// Waits until pictures come.
    fn wait_for_pictures(&mut self, limit: Duration) -> Result<(), String>;

    /// The next report of the receiver, which makes one each second. Waits at most `limit`.
    fn next_report(&mut self, limit: Duration) -> Option<Report>;

    /// About one a second of the pictures that were drawn since then and shown.
    fn shown(&mut self, since_unix_us: u64) -> Result<Vec<Shown>, String>;
}

/// What a receiver says of the last second, or since its beginning where the name says total.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    /// Media, without what carries it.
    pub(crate) received_kbps: f64,
    /// What the sender believes may be sent.
    pub(crate) estimate_kbps: Option<f64>,
    /// Pictures shown.
    pub(crate) pictures: f64,
    /// Pixels a line: some make pictures smaller when the way is thin.
    pub(crate) width: f64,
    /// From drawing a picture to showing it.
    pub(crate) latency_ms: Option<f64>,
    /// How long sound (pictures, where there is none) is held back.
    pub(crate) buffer_ms: Option<f64>,
    pub(crate) freezes_total: f64,
    pub(crate) freeze_ms_total: f64,
    /// Sound that was invented because it had not come.
    pub(crate) concealed_ms_total: Option<f64>,
}

/// A report and when it came, since the measurement began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Second {
    pub(crate) at_s: f64,
    pub(crate) report: Report,
    /// Everything the sender put on the link, with headers, parity, repetitions and control.
    pub(crate) wire_kbps: f64,
}

/// A measurement.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) seconds: Vec<Second>,
    pub(crate) summary: Summary,
}

/// What it amounts to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    /// Share of the time in which sound was concealed, in per cent.
    pub(crate) concealed_percent: Option<f64>,
    /// Share of the time in which pictures stood still, in per cent.
    pub(crate) frozen_percent: f64,
    pub(crate) freezes: f64,
    pub(crate) pictures_per_second: f64,
    /// Mean of the seconds.
    pub(crate) width: f64,
    /// Of the pictures that were shown.
    pub(crate) quality: Option<Quality>,
    pub(crate) received_kbps: f64,
    pub(crate) wire_kbps: f64,
    /// Median over the seconds.
    pub(crate) latency_ms: Option<f64>,
    /// The worst second.
    pub(crate) latency_most_ms: Option<f64>,
    pub(crate) buffer_ms: Option<f64>,
    /// From when the link is wide again to 85 % of the rate before it narrowed.
    pub(crate) recovery_s: Option<f64>,
}

/// How long what lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) settle: Duration,
    pub(crate) span: Duration,
}

/// Measures a call that has just been started on the clean link.
pub(crate) fn measure(
    call: &mut dyn Call,
    emulator: &Emulator,
    rung: &Rung,
    plan: Plan,
    programs: &Programs,
) -> Result<Outcome, String> {
    call.wait_for_pictures(START_LIMIT)?;
    emulator.reshape(&rung.first());
    let mut before = Watch::new(emulator);
    let settled = before.seconds(call, plan.settle);
    let first = settled.last().map(|second| second.report).ok_or("no report while the call settled")?;
    let mut watch = Watch::new(emulator);
    let begun_unix_us = unix_micros_now();
    let seconds = emulator.during(rung, plan.span, || watch.seconds(call, plan.span));
    if seconds.is_empty() {
        return Err("no report while the call was measured".to_owned());
    }
    let compared = call.shown(begun_unix_us).and_then(|shown| Quality::of(&shown, programs));
    let quality = compared.unwrap_or_else(|message| {
        eprintln!("{}: pictures cannot be compared: {message}", rung.name);
        None
    });
    let summary = Summary { quality, ..summarize(&first, &seconds, rung.widens_at(plan.span)) };
    Ok(Outcome { seconds, summary })
}

/// Counts what is on the link between one report and the next.
struct Watch<'a> {
    emulator: &'a Emulator,
    clock: Clock,
    bytes: u64,
    last_s: f64,
}

impl<'a> Watch<'a> {
    fn new(emulator: &'a Emulator) -> Self {
        Watch { emulator, clock: Clock::start(), bytes: emulator.sent_bytes(), last_s: 0.0 }
    }

    /// All reports of the next `span`.
    fn seconds(&mut self, call: &mut dyn Call, span: Duration) -> Vec<Second> {
        let mut seconds = Vec::new();
        loop {
            let left = span.saturating_sub(self.clock.now().since(Time::ZERO));
            let Some(report) = call.next_report(left) else { return seconds };
            let at_s = self.clock.now().since(Time::ZERO).as_secs_f64();
            let bytes = self.emulator.sent_bytes();
            let wire_kbps = (bytes - self.bytes) as f64 * 8e-3 / (at_s - self.last_s).max(0.1);
            (self.bytes, self.last_s) = (bytes, at_s);
            seconds.push(Second { at_s, report, wire_kbps });
        }
    }
}

fn summarize(first: &Report, seconds: &[Second], widens_at: Option<Duration>) -> Summary {
    let last = seconds.last().map_or(*first, |second| second.report);
    let span_s = seconds.len() as f64;
    let mean = |of: fn(&Second) -> f64| seconds.iter().map(of).sum::<f64>() / span_s;
    let all = |of: fn(&Report) -> Option<f64>| seconds.iter().filter_map(|second| of(&second.report)).collect();
    let latencies: Vec<f64> = all(|report| report.latency_ms);
    let still_ms = 1000.0 * stillness_at_the_end(seconds);
    let concealed = last.concealed_ms_total.zip(first.concealed_ms_total).map(|(last, first)| last - first);
    Summary {
        concealed_percent: concealed.map(|concealed_ms| concealed_ms / span_s / 10.0),
        frozen_percent: (last.freeze_ms_total - first.freeze_ms_total + still_ms) / span_s / 10.0,
        freezes: last.freezes_total - first.freezes_total + f64::from(u8::from(still_ms > 0.0)),
        pictures_per_second: mean(|second| second.report.pictures),
        width: mean(|second| second.report.width),
        quality: None,
        received_kbps: mean(|second| second.report.received_kbps),
        wire_kbps: mean(|second| second.wire_kbps),
        latency_ms: median(&latencies),
        latency_most_ms: latencies.iter().copied().reduce(f64::max),
        buffer_ms: median(&all(|report| report.buffer_ms)),
        recovery_s: widens_at.and_then(|at| recovery(seconds, at.as_secs_f64())),
    }
}

/// A freeze is counted when it ends; for how many seconds has one lasted that has not?
fn stillness_at_the_end(seconds: &[Second]) -> f64 {
    seconds.iter().rev().take_while(|second| second.report.pictures < 1.0).count() as f64
}

/// When the rate is back at 85 % of what it was at first, since the link was widened; what comes is looked at, not what is
/// promised. `None` if it never is.
fn recovery(seconds: &[Second], widened_s: f64) -> Option<f64> {
    let first_third = seconds.iter().filter(|second| second.at_s < widened_s / 2.0);
    let before: Vec<f64> = first_third.map(|second| second.report.received_kbps).collect();
    let wanted = median(&before)? * 0.85;
    let back = seconds.iter().find(|second| second.at_s > widened_s && second.report.received_kbps >= wanted);
    back.map(|second| second.at_s - widened_s)
}

fn median(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| crate::median::median(values.iter().copied()))
}

/// A figure in a report, if it is there.
pub(crate) fn figure(report: &Value, name: &str) -> Option<f64> {
    report.get(name).and_then(Value::as_f64)
}

/// How long a call may take until pictures come over a clean link.
const START_LIMIT: Duration = Duration::from_secs(30);
