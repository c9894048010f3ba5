//! Every tunable constant of the peer program, with its unit and its reason.

use std::time::Duration;

// ── Codecs ──────────────────────────────────────────────────────────────────────────────────────

/// Samples a second of all sound inside the peer: what Opus decodes to and what devices want.
pub const SAMPLE_RATE: u32 = 48_000;

/// Longest packet of sound in bytes: RFC 6716 §3.4 allows 1275 for each 20 ms.
pub const MAX_OPUS_PACKET: usize = 1275;

/// Longest sound in one Opus packet: 120 ms (RFC 6716 §3.2.5).
pub const MAX_OPUS_DURATION: Duration = Duration::from_millis(120);

/// How hard the sound encoder tries, 0 to 10: 10 costs 0.6 ms for 20 ms of sound and concealment needs the quality.
pub const OPUS_COMPLEXITY: u8 = 10;

/// Most temporal layers of pictures: at three, two thirds of the layers can be dropped; more only adds delay to repair.
pub const MAX_TEMPORAL_LAYERS: u8 = 3;

/// Largest encoded picture that is decoded, in bytes: eight times a raw 480p picture, far above any real one.
pub const MAX_ENCODED_PICTURE: usize = 4 << 20;
