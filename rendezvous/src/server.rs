//! Runs a rendezvous.

use anyhow::bail;

use crate::config::Config;

/// Runs a rendezvous until it is told to stop.
///
/// # Errors
/// When it cannot listen, or its identity cannot be read or made.
pub async fn run(_config: Config) -> anyhow::Result<()> {
    bail!("not built yet")
}
