//! What happens inside, on stderr: text for people or JSON for machines, filtered by `RUST_LOG`.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging for the whole process; `verbose` counts how much more than warnings is asked for.
///
/// # Errors
/// When `RUST_LOG` holds no filter, or something logs already.
pub fn start(verbose: u8, is_json: bool) -> anyhow::Result<()> {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env()?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = if is_json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_ansi(stderr().is_terminal()).try_init()
    };
    started.map_err(anyhow::Error::from_boxed)
}
