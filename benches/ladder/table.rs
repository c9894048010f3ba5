//! The figures as text, as JSON, and as a table in `benches/README.md`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::call::{Outcome, Plan, Second, Summary};
use crate::options::Contender;
use crate::readme;
use crate::rows::Rows;
use crate::rungs::Rung;

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Table {
    plan: Plan,
    rows: Rows<Outcome>,
}

impl Table {
    /// Without rows.
    pub(crate) fn new(plan: Plan) -> Self {
        Table { plan, rows: Rows::new() }
    }

    /// Adds what a contender did on a rung.
    pub(crate) fn add(&mut self, rung: &Rung, contender: Contender, outcome: Outcome) {
        self.rows.add(rung, contender, outcome);
    }

    /// What was measured on a rung.
    pub(crate) fn outcomes(&self, rung: &Rung) -> Option<&BTreeMap<Contender, Outcome>> {
        self.rows.of(rung)
    }

    /// How long was measured.
    pub(crate) fn plan(&self) -> Plan {
        self.plan
    }

    /// Prints everything.
    pub(crate) fn print(&self, is_json: bool) {
        if is_json {
            return println!("{}", self.to_json());
        }
        println!("{} s a rung after {} s to settle; × is ours over theirs", self.seconds(), self.plan.settle.as_secs());
        println!("{:10} {:15}{}", "rung", "", COLUMNS.map(|(name, _, _)| format!("{name:>14}")).concat());
        for (rung, outcomes) in self.rows.iter() {
            for (contender, outcome) in outcomes {
                println!("{}", line(rung, *contender, &outcome.summary));
            }
            for (name, ratios) in ratios(outcomes) {
                let cells = ratios.map(|ratio| format!("{:>14}", cell(ratio, 2))).concat();
                println!("{:10} {:15}{cells}", rung.name, format!("× {name}"));
            }
        }
    }

    /// Writes the table between its two markers.
    pub(crate) fn update_readme(&self) -> Result<(), String> {
        readme::replace("ladder", &self.to_markdown())
    }

    fn to_markdown(&self) -> String {
        let mut text = format!("{} s a rung after {} s to settle.\n\n", self.seconds(), self.plan.settle.as_secs());
        text += &format!("| rung | |{}\n", COLUMNS.map(|(name, _, _)| format!(" {name} |")).concat());
        text += &format!("|---|---|{}\n", "---|".repeat(COLUMNS.len()));
        for (rung, outcomes) in self.rows.iter() {
            let mut title = format!("[{}](ladder/plots/{}.svg)", rung.title, rung.name);
            for (contender, outcome) in outcomes {
                let cells = COLUMNS.map(|(_, of, places)| format!(" {} |", cell(of(&outcome.summary), places)));
                text += &format!("| {} | {} |{}\n", std::mem::take(&mut title), contender.name(), cells.concat());
            }
            for (name, ratios) in ratios(outcomes) {
                let cells = ratios.map(|ratio| format!(" {} |", cell(ratio, 2)));
                text += &format!("| | × {name} |{}\n", cells.concat());
            }
        }
        text
    }

    fn to_json(&self) -> Value {
        let outcome = |(contender, outcome): (&Contender, &Outcome)| {
            let figures = COLUMNS.map(|(name, of, _)| (name.to_owned(), json!(of(&outcome.summary))));
            let seconds: Vec<Value> = outcome.seconds.iter().map(second).collect();
            json!({ "contender": contender.name(), "figures": Map::from_iter(figures), "seconds": seconds })
        };
        let rung = |(rung, outcomes): &(Rung, BTreeMap<Contender, Outcome>)| {
            let ratios = ratios(outcomes).into_iter().map(|(name, ratios)| {
                let ratios =
                    COLUMNS.into_iter().zip(ratios).map(|((name, _, _), ratio)| (name.to_owned(), json!(ratio)));
                (name.to_owned(), Value::from(Map::from_iter(ratios)))
            });
            let ratios: Map<String, Value> = ratios.collect();
            let contenders: Vec<Value> = outcomes.iter().map(outcome).collect();
            json!({ "rung": rung.name, "title": rung.title, "contenders": contenders, "ratios": ratios })
        };
        let rungs: Vec<Value> = self.rows.iter().map(rung).collect();
        json!({ "seconds": self.seconds(), "settle_seconds": self.plan.settle.as_secs(), "rungs": rungs })
    }

    fn seconds(&self) -> u64 {
        self.plan.span.as_secs()
    }
}

/// One contender on one rung, as a line of text.
pub(crate) fn line(rung: &Rung, contender: Contender, summary: &Summary) -> String {
    let cells = COLUMNS.map(|(_, of, places)| format!("{:>14}", cell(of(summary), places)));
    format!("{:10} {:15}{}", rung.name, contender.name(), cells.concat())
}

/// Ours over each other's, where both have the figure and theirs is not nothing.
fn ratios(outcomes: &BTreeMap<Contender, Outcome>) -> Vec<(&'static str, [Option<f64>; COLUMNS.len()])> {
    let Some(ours) = outcomes.get(&Contender::Meipo) else { return Vec::new() };
    let others = outcomes.iter().filter(|(contender, _)| **contender != Contender::Meipo);
    let ratio = |of: fn(&Summary) -> Option<f64>, theirs: &Summary| {
        of(&ours.summary).zip(of(theirs)).filter(|(_, theirs)| *theirs > 0.0).map(|(ours, theirs)| ours / theirs)
    };
    let others =
        others.map(|(contender, theirs)| (contender.name(), COLUMNS.map(|(_, of, _)| ratio(of, &theirs.summary))));
    others.collect()
}

/// A figure, if there is one, with so many places.
pub(crate) fn cell(figure: Option<f64>, places: usize) -> String {
    figure.map_or("–".to_owned(), |figure| format!("{figure:.places$}"))
}

fn second(second: &Second) -> Value {
    let report = &second.report;
    json!({
        "at_s": second.at_s,
        "wire_kbps": second.wire_kbps,
        "received_kbps": report.received_kbps,
        "estimate_kbps": report.estimate_kbps,
        "pictures": report.pictures,
        "latency_ms": report.latency_ms,
        "buffer_ms": report.buffer_ms,
        "freezes": report.freezes_total,
        "freeze_ms": report.freeze_ms_total,
        "concealed_ms": report.concealed_ms_total,
    })
}

/// A column: its name, its figure, and how many places are shown.
type Column = (&'static str, fn(&Summary) -> Option<f64>, usize);

const COLUMNS: [Column; 14] = [
    ("concealed %", |summary| summary.concealed_percent, 2),
    ("frozen %", |summary| Some(summary.frozen_percent), 2),
    ("freezes", |summary| Some(summary.freezes), 0),
    ("pictures/s", |summary| Some(summary.pictures_per_second), 1),
    ("width", |summary| Some(summary.width), 0),
    ("PSNR dB", |summary| summary.quality.map(|quality| quality.psnr_db), 1),
    ("SSIM", |summary| summary.quality.map(|quality| quality.ssim), 3),
    ("kbit/s", |summary| Some(summary.received_kbps), 0),
    ("wire kbit/s", |summary| Some(summary.wire_kbps), 0),
    ("latency ms", |summary| summary.latency_ms, 0),
    ("worst ms", |summary| summary.latency_most_ms, 0),
    ("buffer ms", |summary| summary.buffer_ms, 0),
    ("recovery s", |summary| summary.recovery_s, 1),
    ("wire ÷ media", |summary| Some(summary.wire_kbps / summary.received_kbps.max(1.0)), 2),
];
