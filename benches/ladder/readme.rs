//! `benches/README.md`, whose tables are written by those who measure.

use std::fs;

/// Puts `table` between the two markers of this name.
pub(crate) fn replace(name: &str, table: &str) -> Result<(), String> {
    let [begin, end] = ["begin", "end"].map(|side| format!("<!-- {name}: {side} -->"));
    let text = fs::read_to_string(README).map_err(|error| format!("{README}: {error}"))?;
    let (before, rest) = text.split_once(&begin).ok_or_else(|| format!("{README} has no line {begin}"))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| format!("{README} has no line {end}"))?;
    let text = format!("{before}{begin}\n{table}{end}{after}");
    fs::write(README, text).map_err(|error| format!("{README}: {error}"))
}

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/README.md");
