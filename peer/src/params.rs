//! Every tunable constant of the peer program, with its unit and its reason.

use std::time::Duration;

use meipo::units::Bitrate;

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

/// Shortest side of a test pattern in pixels: one macroblock.
pub const PATTERN_MIN_SIDE: u16 = 16;

/// Longest side of a test pattern in pixels: what the encoder takes.
pub const PATTERN_MAX_SIDE: u16 = 4096;

/// Most pictures a second of a test pattern: what the encoder takes.
pub const PATTERN_MAX_RATE: u16 = 120;

/// Longest time between two key frames of the test pattern: whoever missed all requests still sees it.
pub const PATTERN_KEY_INTERVAL: Duration = Duration::from_secs(10);

/// Rate of the test sound: speech at its best with a copy of each packet in the next.
pub const PATTERN_SOUND_RATE: Bitrate = Bitrate::from_kilobits(32);

/// Packets in a hundred that the test sound is protected against.
pub const PATTERN_EXPECTED_LOSS: u8 = 10;

// ── Commands ────────────────────────────────────────────────────────────────────────────────────

/// Rate of each peer's pictures in the demo: three of them leave two cores enough to do other things.
pub const DEMO_BITRATE: Bitrate = Bitrate::from_kilobits(400);

/// How long a file waits for those who are in the room already.
pub const READY_PATIENCE: Duration = Duration::from_secs(5);

/// How long after our welcome everybody who was there has been introduced: both come in one flight.
pub const READY_GRACE: Duration = Duration::from_millis(200);

/// How often it is asked whether everybody is connected.
pub const READY_INTERVAL: Duration = Duration::from_millis(50);

/// How long the rendezvous may be silent at the start before the person is told.
pub const UNREACHABLE_AFTER: Duration = Duration::from_secs(10);

/// Frames read ahead of a file: a second of pictures and sound.
pub const READ_AHEAD: usize = 64;

/// Ticks that may wait for an encoder: beyond it pictures are left out, so that delay does not grow.
pub const ENCODER_BACKLOG: usize = 2;

/// Jobs that may wait for the thread that decodes or records: three seconds of eight participants.
pub const WORKER_BACKLOG: usize = 2048;

/// How long a key frame is awaited before it is asked for again.
pub const KEY_FRAME_PATIENCE: Duration = Duration::from_millis(300);

/// Longest row of lost packets of sound that is concealed: beyond 100 ms it is silence anyway.
pub const MAX_CONCEALED: u32 = 5;

/// Latencies above this mean that clocks do not agree.
pub const MAX_LATENCY: Duration = Duration::from_secs(60);

/// How often statistics are told.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How often plain lines tell statistics: every this many reports.
pub const PLAIN_STATS_EVERY: u32 = 5;

/// Lines of the live table's log: more than any terminal shows.
pub const BOARD_LOG: usize = 200;

/// How often the live table is drawn, and keys are read.
pub const BOARD_TICK: Duration = Duration::from_millis(150);

/// How long a recording waits for further tracks to be announced before its file is begun.
pub const ANNOUNCEMENT_WAIT: Duration = Duration::from_millis(300);

/// How often recordings are written out: at most so much is lost when this program is killed, beside
/// [`CLUSTER_SPAN`].
pub const RECORDING_FLUSH: Duration = Duration::from_millis(500);

/// How often recordings are looked after.
pub const RECORDING_TICK: Duration = Duration::from_millis(100);

/// Longest name of a participant in a file's name, in bytes: file systems take 255 in all.
pub const MAX_FILE_STEM: usize = 100;

/// Files of one participant that are tried before giving up on finding a free name.
pub const MAX_PARTS: u32 = 9999;
