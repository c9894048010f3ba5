//! The figures as text, as JSON, and as a table in `benches/README.md`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Outcome;
use crate::call::Plan;
use crate::options::Contender;
use crate::readme;
use crate::rows::Rows;
use crate::rungs::Rung;
use crate::table::cell;

/// Everything that was heard.
#[derive(Debug)]
pub(super) struct Table {
    plan: Plan,
    rows: Rows<Outcome>,
}

impl Table {
    /// Without rows.
    pub(super) fn new(plan: Plan) -> Self {
        Table { plan, rows: Rows::new() }
    }

    /// Adds what became of a contender's speech on a rung.
    pub(super) fn add(&mut self, rung: &Rung, contender: Contender, outcome: Outcome) {
        self.rows.add(rung, contender, outcome);
    }

    /// Prints everything.
    pub(super) fn print(&self, is_json: bool) {
        if is_json {
            return println!("{}", self.to_json());
        }
        println!("{}", self.title());
        println!("{:10} {:15}{}", "rung", "", COLUMNS.map(|(name, _, _)| format!("{name:>17}")).concat());
        for (rung, outcomes) in self.rows.iter() {
            outcomes.iter().for_each(|(contender, outcome)| println!("{}", line(rung, *contender, outcome)));
        }
    }

    /// Writes the table between its two markers.
    pub(super) fn update_readme(&self) -> Result<(), String> {
        readme::replace("speech", &self.to_markdown())
    }

    fn title(&self) -> String {
        let [span, settle] = [self.plan.span, self.plan.settle].map(|span| span.as_secs());
        format!("{span} s a rung after {settle} s to settle.")
    }

    fn to_markdown(&self) -> String {
        let mut text = format!("{}\n\n", self.title());
        text += &format!("| rung | |{}\n", COLUMNS.map(|(name, _, _)| format!(" {name} |")).concat());
        text += &format!("|---|---|{}\n", "---|".repeat(COLUMNS.len()));
        for (rung, outcomes) in self.rows.iter() {
            let mut title = rung.title;
            for (contender, outcome) in outcomes {
                let cells = COLUMNS.map(|(_, of, places)| format!(" {} |", cell(of(outcome), places)));
                text += &format!("| {} | {} |{}\n", std::mem::take(&mut title), contender.name(), cells.concat());
            }
        }
        text
    }

    fn to_json(&self) -> Value {
        let outcome = |(contender, outcome): (&Contender, &Outcome)| {
            let figures = COLUMNS.map(|(name, of, _)| (name.to_owned(), json!(of(outcome))));
            let utterances = &outcome.scores.utterances;
            json!({ "contender": contender.name(), "figures": Map::from_iter(figures), "utterances": utterances })
        };
        let rung = |(rung, outcomes): &(Rung, BTreeMap<Contender, Outcome>)| {
            let contenders: Vec<Value> = outcomes.iter().map(outcome).collect();
            json!({ "rung": rung.name, "title": rung.title, "contenders": contenders })
        };
        let rungs: Vec<Value> = self.rows.iter().map(rung).collect();
        let Plan { settle, span } = self.plan;
        json!({ "seconds": span.as_secs(), "settle_seconds": settle.as_secs(), "rungs": rungs })
    }
}

/// One contender on one rung, as a line of text.
pub(super) fn line(rung: &Rung, contender: Contender, outcome: &Outcome) -> String {
    let cells = COLUMNS.map(|(_, of, places)| format!("{:>17}", cell(of(outcome), places)));
    format!("{:10} {:15}{}", rung.name, contender.name(), cells.concat())
}

/// A column: its name, its figure, and how many places are shown.
type Column = (&'static str, fn(&Outcome) -> Option<f64>, usize);

const COLUMNS: [Column; 6] = [
    ("MOS-LQO", |outcome| Some(outcome.scores.mean), 2),
    ("worst", |outcome| Some(outcome.scores.worst), 2),
    ("utterances", |outcome| Some(outcome.scores.utterances.len() as f64), 0),
    ("mouth to ear ms", |outcome| outcome.scores.delay_ms, 0),
    ("concealed %", |outcome| outcome.concealed_percent, 2),
    ("wire kbit/s", |outcome| Some(outcome.wire_kbps), 0),
];
