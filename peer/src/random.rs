//! Randomness of the system, for secrets, tokens and ids.

use anyhow::Context;

/// Bytes nobody can guess.
///
/// # Errors
/// When the system has none.
pub fn bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
    Ok(bytes)
}

/// An id that nobody else has. Without randomness, which a program that has come so far has, it is 0.
pub fn id() -> u64 {
    bytes().map_or(0, u64::from_le_bytes)
}
