//! Chance that a seed makes the same again.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// The seeds a test runs with: the first `count`, or only the one in `MEIPO_SEED`.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("MEIPO_SEED") {
        Ok(seed) => vec![seed.parse().expect("MEIPO_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

/// A number below `limit`, each as likely as the others.
pub(super) fn below(rng: &mut ChaCha8Rng, limit: u16) -> u16 {
    let scaled = (u64::from(rng.next_u32()) * u64::from(limit)) >> 32;
    u16::try_from(scaled).expect("below a u16")
}

/// A number from 0 up to but not including 1.
pub(super) fn fraction(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

/// Whether something with this probability happens.
pub(super) fn chance(rng: &mut ChaCha8Rng, share: f64) -> bool {
    fraction(rng) < share
}
