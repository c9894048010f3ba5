//! What happens, on stderr: text for people or JSON for machines, filtered by `RUST_LOG`.

use std::io::{IsTerminal, stderr};

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging for the whole process.
///
/// # Errors
/// When `RUST_LOG` holds no filter, or something logs already.
pub fn start(is_json: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()
        .map_err(|_| anyhow!(BAD_FILTER))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = if is_json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_ansi(stderr().is_terminal()).try_init()
    };
    started.map_err(anyhow::Error::from_boxed)
}

const BAD_FILTER: &str =
    "the variable RUST_LOG holds no log filter; write for example RUST_LOG=debug or RUST_LOG=meipo=debug";
