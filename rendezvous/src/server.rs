//! Runs a rendezvous, or a relay alone.

use anyhow::bail;
use meipo::wire::relay::RelayKey;

use crate::config::Config;

/// Runs a rendezvous until it is told to stop.
///
/// # Errors
/// When it cannot listen, or its identity cannot be read or made.
pub async fn run(_config: Config) -> anyhow::Result<()> {
    bail!("not built yet")
}

/// Runs a relay alone until it is told to stop.
///
/// # Errors
/// When it cannot listen.
pub async fn run_relay(_config: Config, _key: RelayKey) -> anyhow::Result<()> {
    bail!("not built yet")
}
