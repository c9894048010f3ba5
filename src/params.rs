//! Every tunable constant of the library, with its unit and its reason.

// ── Tracks ──────────────────────────────────────────────────────────────────────────────────────

/// Longest codec string in bytes: the longest in the WebCodecs registry, a full AV1 one, has 29.
pub const MAX_CODEC_LEN: usize = 64;

/// Longest codec description in bytes: an `avcC` with several parameter sets stays below 1 KiB.
pub const MAX_DESCRIPTION_LEN: usize = 4096;

/// Longest side of a picture in pixels: 8K, and what a decoder is told to expect at most.
pub const MAX_PICTURE_SIDE: u16 = 8192;

// ── Trust and links ─────────────────────────────────────────────────────────────────────────────

/// Port of a rendezvous, UDP and TCP, when a link names none: the port of RTMP and RTMFP, which firewalls may know.
pub const DEFAULT_PORT: u16 = 1935;

/// Longest name of a room in bytes: a line of text for people.
pub const MAX_ROOM_NAME_LEN: usize = 64;

/// Digits of a safety number: as many as one side of Signal's, 99 bits.
pub const SAFETY_NUMBER_DIGITS: usize = 30;

/// Digits between two spaces of a safety number: what one breath reads aloud.
pub const SAFETY_NUMBER_GROUP: usize = 5;

/// Rounds of hashing behind a safety number: some 15 ms here, and as much for every trial of a forger.
pub const SAFETY_NUMBER_ROUNDS: u32 = 1 << 16;

// ── STUN ────────────────────────────────────────────────────────────────────────────────────────

/// Bytes of every STUN request of ours: as many as the longest response (IPv6, RFC 5780, with a MAC) has.
pub const STUN_REQUEST_LEN: usize = 104;
