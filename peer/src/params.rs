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

// ── Containers ──────────────────────────────────────────────────────────────────────────────────

/// Largest description of tracks in a file, in bytes: fonts and covers lie elsewhere, so this is generous.
pub const MAX_HEADER: u64 = 4 << 20;

/// Largest single frame in a file, in bytes: an 8K key frame at the best quality stays below.
pub const MAX_BLOCK: u64 = 64 << 20;

/// Largest index of an MP4 file (`moov`, `moof`), in bytes: two days of pictures and sound.
pub const MAX_MP4_INDEX: u64 = 256 << 20;

/// Most frames read from one MP4 file: 16 hours of pictures and sound; each takes 64 bytes of memory.
pub const MAX_MP4_SAMPLES: usize = 5_000_000;

/// How long a recording waits for the first frame of each announced track before it writes its header.
pub const HEADER_WAIT: Duration = Duration::from_secs(1);

/// How much media a recording holds back at most before it is written out: half of the two seconds that a killed
/// recorder may lose.
pub const CLUSTER_SPAN: Duration = Duration::from_secs(1);

/// How many bytes a recording holds back at most before they are written out.
pub const CLUSTER_BYTES: usize = 4 << 20;

/// How much sound a decoder needs before it is in step after a jump: 80 ms for Opus (RFC 7845 §4.6).
pub const OPUS_PRE_ROLL: Duration = Duration::from_millis(80);

// ── Test pattern ────────────────────────────────────────────────────────────────────────────────

/// Cells in a line of the time code: 16 pixels each at 640, which is one macroblock.
pub const TIME_CODE_COLUMNS: usize = 40;

/// Lines of cells of the time code.
pub const TIME_CODE_ROWS: usize = 3;

/// Narrowest picture that gets a time code, in pixels: its cells are four pixels wide.
pub const TIME_CODE_MIN_WIDTH: usize = 160;

/// Brightness of a dark and of a bright cell, and how far from them a cell may be and still count: the rest between
/// is left undecided, so that damage is noticed.
pub const TIME_CODE_LEVELS: (u8, u8, u8) = (48, 208, 60);

/// How far apart the bursts in the test sound are.
pub const BURST_PERIOD: Duration = Duration::from_secs(1);

/// How long a burst is: long enough to survive Opus, short enough for its beginning to be sharp.
pub const BURST_LENGTH: Duration = Duration::from_millis(12);

/// How long the voice is silent around a burst, before and after.
pub const BURST_GUARD: Duration = Duration::from_millis(60);
