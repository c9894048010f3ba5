//! What every bench has in common: its options, the machine it ran on, and how figures become lines.

use std::fs;

/// How long to measure, and for whom the figures are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// A glance instead of a measurement.
    pub(crate) is_quick: bool,
    /// For a program: one JSON object instead of a table.
    pub(crate) is_json: bool,
}

impl Options {
    /// Reads the command line; what cargo adds to it is passed over.
    pub(crate) fn read() -> Self {
        let has = |name: &str| std::env::args().any(|argument| argument == name);
        Options { is_quick: has("--quick"), is_json: has("--json") }
    }
}

/// One bench's figures.
#[derive(Debug)]
pub(crate) struct Report {
    title: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<(String, Vec<f64>)>,
    notes: Vec<String>,
}

impl Report {
    /// A table without rows.
    pub(crate) fn new(title: &'static str, columns: &[&'static str]) -> Self {
        Report { title, columns: columns.to_vec(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row: a figure for each column.
    pub(crate) fn row(&mut self, name: impl Into<String>, figures: impl Into<Vec<f64>>) {
        self.rows.push((name.into(), figures.into()));
    }

    /// Adds a line below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints everything.
    pub(crate) fn print(&self, options: Options) {
        if options.is_json {
            return println!("{}", self.to_json());
        }
        println!("{}\n{}", self.title, machine());
        let name_len = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let heads: String = self.columns.iter().map(|column| format!("  {column:>14}")).collect();
        println!("{:name_len$}{heads}", "");
        for (name, figures) in &self.rows {
            let figures: String = figures.iter().map(|figure| format!("  {figure:>14.2}")).collect();
            println!("{name:name_len$}{figures}");
        }
        for note in &self.notes {
            println!("{note}");
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let row = |(name, figures): &(String, Vec<f64>)| {
            let figures =
                self.columns.iter().zip(figures).map(|(column, figure)| ((*column).to_owned(), (*figure).into()));
            serde_json::json!({ "name": name, "figures": figures.collect::<serde_json::Map<_, _>>() })
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        serde_json::json!({ "title": self.title, "machine": machine(), "rows": rows, "notes": self.notes })
    }
}

/// Kernel and cores.
fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    format!("kernel {}, {cores} cores, {}", kernel.trim(), model.unwrap_or("unknown processor"))
}
