//! Every tunable constant of the library, with its unit and its reason.

use std::time::Duration;

// ── Tracks ──────────────────────────────────────────────────────────────────────────────────────

/// Longest codec string in bytes: the longest in the WebCodecs registry, a full AV1 one, has 29.
pub const MAX_CODEC_LEN: usize = 64;

/// Longest codec description in bytes: an `avcC` with several parameter sets stays below 1 KiB.
pub const MAX_DESCRIPTION_LEN: usize = 4096;

/// Longest side of a picture in pixels: 8K, and what a decoder is told to expect at most.
pub const MAX_PICTURE_SIDE: u16 = 8192;

<<<<<<< HEAD
// ── Control messages ────────────────────────────────────────────────────────────────────────────

/// Longest control message in bytes. An introduction with every list full has about 1 KiB.
pub const MAX_MESSAGE_LEN: usize = 16 * 1024;

/// Longest name in bytes: room for 21 Chinese characters.
pub const MAX_NAME_LEN: usize = 64;

/// Most addresses one peer may be said to have: each is probed, so each is work a stranger makes us do.
pub const MAX_CANDIDATES: usize = 8;

/// Most relays offered for one pair of peers.
pub const MAX_RELAYS: usize = 4;

// ── Frames and packets ──────────────────────────────────────────────────────────────────────────

/// Most packets of one frame. With [`MAX_FRAME_LEN`] it bounds what a fragment bomb can take.
pub const MAX_FRAME_PACKETS: usize = 512;

/// Largest frame in bytes: a 1080p key frame at the best quality a call would use.
pub const MAX_FRAME_LEN: usize = 512 * 1024;

/// Bytes of a frame in one packet: with the packet's 24, the AEAD's and QUIC's about 45 and the relay's 8 bytes it fits in
/// 1200, the least every QUIC path carries (RFC 9000 §14), so a change to a narrower path loses nothing.
pub const PACKET_PAYLOAD: usize = 1100;

/// Frames of one peer that may be incomplete at a time.
pub const MAX_PARTIAL_FRAMES: usize = 8;

/// How long a partial frame waits for its missing packets: beyond any deadline of a call, within a recorder's patience.
pub const PARTIAL_FRAME_AGE: Duration = Duration::from_millis(500);

/// Frames of one track remembered as done, so that late copies are known: 2.5 s of sound.
pub const REMEMBERED_FRAMES: usize = 128;

/// Whole frames of one track that may wait for their time: 5 s of sound.
pub const MAX_WAITING_FRAMES: usize = 256;

/// Delay of the jitter buffer for eyes and ears: covers what Wi-Fi does on most days.
pub const PLAYOUT_DELAY: Duration = Duration::from_millis(80);

/// How long a recorder awaits a missing frame.
pub const RECORDING_PATIENCE: Duration = Duration::from_millis(600);

/// A frame later than this means that the sender's clock stood still or jumped: time is counted anew from it.
pub const PLAYOUT_REBASE: Duration = Duration::from_secs(1);
=======
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
>>>>>>> server
