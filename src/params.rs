//! Every tunable constant of the library, with its unit and its reason.

// ── Tracks ──────────────────────────────────────────────────────────────────────────────────────

/// Longest codec string in bytes: the longest in the WebCodecs registry, a full AV1 one, has 29.
pub const MAX_CODEC_LEN: usize = 64;

/// Longest codec description in bytes: an `avcC` with several parameter sets stays below 1 KiB.
pub const MAX_DESCRIPTION_LEN: usize = 4096;

/// Longest side of a picture in pixels: 8K, and what a decoder is told to expect at most.
pub const MAX_PICTURE_SIDE: u16 = 8192;
