//! What happens inside, on stderr: text for people or JSON for machines, filtered by `RUST_LOG`.

use std::io::{IsTerminal, stderr};

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::args::Options;
use crate::output::Style;

/// Starts logging for the whole process.
///
/// # Errors
/// When `RUST_LOG` holds no filter, or something logs already.
pub fn start(options: &Options) -> anyhow::Result<()> {
    let level = match options.verbose {
        // It would be written across the table, which shows what matters.
        0 if Style::choose(options) == Style::Table => LevelFilter::OFF,
        0 => LevelFilter::WARN,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter =
        EnvFilter::builder().with_default_directive(level.into()).from_env().map_err(|_| anyhow!(BAD_FILTER))?;
    let filter = if options.verbose == 0 && std::env::var_os(EnvFilter::DEFAULT_ENV).is_none() {
        filter.add_directive(QUIET.parse()?)
    } else {
        filter
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = if options.log_json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_ansi(stderr().is_terminal()).try_init()
    };
    started.map_err(anyhow::Error::from_boxed)
}

/// It calls the end of every connection an error, its own included.
const QUIET: &str = "pulseaudio=off";

const BAD_FILTER: &str =
    "the variable RUST_LOG holds no log filter; write for example RUST_LOG=debug or RUST_LOG=meipo=debug";
