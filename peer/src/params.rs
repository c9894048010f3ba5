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

/// How hard libopus' decoder tries, 0 to 10: from 5 on it conceals with a neural network. That costs 0.7 ms for the first packet
/// of a loss and 0.25 ms for each further one; nothing where nothing is lost.
#[cfg(feature = "libopus")]
pub const OPUS_CONCEALMENT: u8 = 5;

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
pub const TIME_CODE_MIN_WIDTH: u16 = 160;

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

/// Bits for a pixel with which the pattern is left for a smaller one: H.264 in real time blurs it below.
pub const LEAST_BITS_PER_PIXEL: f64 = 0.025;

/// Bits for a pixel that a larger pattern must have before it is drawn: well above, so that an unsteady rate does not swing it.
pub const GOOD_BITS_PER_PIXEL: f64 = 0.035;

/// For how long it must have had them.
pub const STEP_UP_AFTER: Duration = Duration::from_secs(5);

/// Rate of the test sound: speech at its best with a copy of each packet in the next.
pub const PATTERN_SOUND_RATE: Bitrate = Bitrate::from_kilobits(32);

/// Packets in a hundred that the test sound is protected against by its codec; see [`VOICE_EXPECTED_LOSS`].
pub const PATTERN_EXPECTED_LOSS: u8 = VOICE_EXPECTED_LOSS;

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

/// Samples in the 10 ms blocks in which devices and the page give and take sound.
pub const SOUND_BLOCK: usize = 480;

/// Rate of a voice: speech at its best with a copy of each packet in the next.
pub const VOICE_RATE: Bitrate = Bitrate::from_kilobits(32);

/// Packets in a hundred that a voice is protected against by its codec. Losses are made good by copies in later packets, which
/// come only where something is lost; in-band FEC besides takes its bits from speech, loss or none: PESQ was 4.2 on a clean way
/// and 4.05 at 10 % of loss with it, 4.43 on both without.
pub const VOICE_EXPECTED_LOSS: u8 = 0;

/// A microphone whose next block comes later than this after the end of the last one has paused in between.
pub const MICROPHONE_GAP: Duration = Duration::from_millis(40);

/// Least and most sound that may be left of a voice each time a block was taken. Frames come out of the jitter buffer
/// evenly, so only this machine's own unevenness is to be covered: below the least it is stretched, above the most squeezed.
pub const VOICE_SLACK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(15));

/// Blocks after which it is looked at how much of a voice is left: a quarter of a second.
pub const VOICE_REVIEW: u32 = 25;

/// Reviews of which the least counts before a voice is squeezed a little: five seconds. A busy machine, or a virtual one that is
/// not served for a moment, stands still for 20 to 50 ms every few seconds.
pub const VOICE_MEMORY: usize = 20;

/// How much more than the most is squeezed at once: as much as such a moment takes.
pub const VOICE_MARGIN: Duration = Duration::from_millis(40);

/// Most sound of a voice that waits to be heard; what is older is not heard at all.
pub const VOICE_QUEUE: Duration = Duration::from_millis(100);

/// Frames of a voice after which a loss is forgotten: ten seconds. Until then copies are waited for.
pub const VOICE_LOSS_MEMORY: u32 = 500;

/// How long the beginning and the end of a voice are faded, so that neither clicks.
pub const VOICE_FADE: Duration = Duration::from_millis(5);

/// Sound tracks of one peer that are decoded: microphone, screen, and one each to spare.
pub const MAX_VOICES_PER_PEER: usize = 4;

/// How far a person's volume can be turned up.
pub const MAX_VOLUME: f32 = 2.0;

/// Loudest sample of a mix: a little below full scale, so that no converter behind us clips.
pub const LIMITER_CEILING: f32 = 0.97;

/// How fast the limiter lets go: by this factor each block, so in about half a second after a shout.
pub const LIMITER_RELEASE: f32 = 1.02;

/// Loudness in decibels (root mean square, below full scale) that is shown as no level at all: a quiet room.
pub const LEVEL_FLOOR_DB: f32 = -60.0;

/// How much of a level is left after each block: it rises at once and falls within half a second.
pub const LEVEL_FALL: f32 = 0.95;

/// Latencies above this mean that clocks do not agree.
pub const MAX_LATENCY: Duration = Duration::from_secs(60);

/// What microphone, codec and speaker add to the delay of sound at both ends together: 20 ms of a packet, 6.5 ms of Opus'
/// lookahead, 10 ms of each device. Only the opinion score counts with it.
pub const SOUND_EDGE_DELAY: Duration = Duration::from_millis(46);

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

// ── A call in a terminal ────────────────────────────────────────────────────────────────────────

/// Blocks of sound that wait in the sound server for the loudspeaker: four, so that a machine that stands still for 25 ms
/// makes no gap.
pub const CALL_PLAYBACK_BLOCKS: u32 = 4;

/// Frames of our voice that may wait to be sent: 200 ms, and what is older is not worth hearing.
pub const CALL_FRAMES: usize = 20;

/// How long the sound server may take to answer before it counts as gone.
pub const DEVICE_PATIENCE: Duration = Duration::from_secs(3);

/// How often devices are looked after.
pub const DEVICE_CHECK: Duration = Duration::from_secs(1);

/// How long a device may neither give nor want a block before it counts as lost: one that another program has kept asleep
/// takes two seconds to wake up.
pub const DEVICE_SILENCE: Duration = Duration::from_secs(3);

/// How long after a device was lost, or was not to be had, it is tried again.
pub const DEVICE_RETRY: Duration = Duration::from_secs(2);

/// How often meters are told: faster than an eye follows is of no use.
pub const METERS_EVERY: Duration = Duration::from_millis(100);

/// How often the screen is drawn and keys are read: a key that opens the microphone must not eat the first syllable.
pub const SCREEN_TICK: Duration = Duration::from_millis(40);

/// How long after the space bar went down it is still held, where a terminal tells nothing of its release: until a held key
/// begins to repeat (660 ms on X11), and from one repetition to the next.
pub const HOLD_PATIENCE: (Duration, Duration) = (Duration::from_millis(750), Duration::from_millis(200));

/// Level above which somebody is marked as speaking: half way from a quiet room to full scale, in decibels.
pub const SPEAKING_LEVEL: f32 = 0.4;

/// How far the capture time of a block may be from where the last one ended before there was a pause between them.
pub const CAPTURE_CLOCK_GAP: Duration = Duration::from_millis(40);

/// How slowly capture times follow the system's clock: by this part of the difference with each block, which evens out
/// what the sound server hands over in one go and still follows a device that is 200 ppm off to within a millisecond.
pub const CAPTURE_CLOCK_PULL: i64 = 64;

// ── Chat ────────────────────────────────────────────────────────────────────────────────────────

/// Lines of chat that are kept, and handed to those who come later.
pub const CHAT_HISTORY: usize = 200;

/// Longest line of chat in bytes: with every character escaped it still fits what can be said at once.
pub const CHAT_MAX_TEXT: usize = 4000;

/// Lines a second that we say on average, and at once.
pub const CHAT_RATE: (u64, u64) = (5, 20);

/// Messages a second that are taken of each peer on average, and at once: a history of longest lines takes 200.
pub const SAID_RATE: (u64, u64) = (20, 250);

/// How far in the future a line may claim to have been said, in milliseconds: clocks differ, but a line must not stay
/// last for ever.
pub const MAX_CHAT_AHEAD_MS: u64 = 60_000;

/// How long one peer may take to hand over the next piece of its history before another is asked.
pub const HISTORY_PATIENCE: Duration = Duration::from_secs(5);

// ── Files ───────────────────────────────────────────────────────────────────────────────────────

/// Bytes of a file that a page reads and puts away at once: a WebSocket message that holds up sound for under a millisecond.
pub const FILE_BLOCK: u64 = 64 * 1024;

/// Bytes of one file that may be on their way: four such files fill the window that bulk to one peer has.
pub const FILE_WINDOW: u64 = 256 * 1024;

/// Files between two people that may be on their way at a time, in each direction.
pub const FILE_MAX_TRANSFERS: usize = 4;

/// Files that one person may offer at a time.
pub const FILE_MAX_OFFERS: usize = 32;

/// What one person may say about files in a second on average, and at once: each block that was put away is worth a word,
/// and so this allows 25 megabytes a second.
pub const FILE_SAID_RATE: (u64, u64) = (400, 400);

/// Longest name of a file in bytes: file systems take 255, and a browser adds to it where there is one of that name.
pub const FILE_MAX_NAME: usize = 200;

// ── The page ────────────────────────────────────────────────────────────────────────────────────

/// How long a page may take to say hello.
pub const PAGE_HELLO: Duration = Duration::from_secs(5);

/// Connections to the page's port that may be open without having said hello: a browser opens six at once.
pub const PAGE_MOST_STRANGERS: usize = 16;

/// Wrong tokens after which nobody is let in any more: a person errs less often, and a guess of 128 bits needs more.
pub const PAGE_MOST_REFUSALS: u32 = 1000;

/// Longest text of a page in bytes: a line of chat with every character escaped.
pub const PAGE_MAX_TEXT: usize = 32 * 1024;

/// Longest message of a page in bytes that is read at all: twice the largest picture that can be sent.
pub const PAGE_MAX_MESSAGE: usize = 1 << 20;

/// Messages of a page that may wait for the call: half a second of pictures and sound.
pub const PAGE_BACKLOG: usize = 64;

/// Texts that may wait for a page: a joining page is told of 32 people, their tracks and 200 lines of chat at once.
pub const PAGE_TEXTS: usize = 2000;

/// Blocks of sound that may wait for a page: 100 ms, and what is older is not worth hearing.
pub const PAGE_SOUND_BLOCKS: usize = 10;

/// Bytes of pictures that may wait for a page: 100 ms of sixteen people at 2 Mbit/s, or one large key frame.
pub const PAGE_PICTURE_BYTES: usize = 512 * 1024;

/// Bytes that may wait inside the system's socket to the page: what waits there cannot be dropped any more.
pub const PAGE_SOCKET_BUFFER: u32 = 64 * 1024;

/// How long the program waits at its end for a page that is told goodbye to hear it.
pub const PAGE_GOODBYE: Duration = Duration::from_secs(1);

/// How long a page that has lost its place, while the program goes on, may take to hear it: a busy browser stalls for
/// seconds.
pub const PAGE_FAREWELL: Duration = Duration::from_secs(30);

/// Pages that lost their place and are still known: one tries again for some seconds, and a person opens few in them.
pub const PAGE_MOST_FORMER: usize = 64;

/// Tracks that a page may show at a time: camera, microphone, screen and its sound, twice over.
pub const PAGE_MOST_TRACKS: usize = 8;

/// How far a page's clock may be from ours before its capture times are taken to be of another clock.
pub const PAGE_CLOCK_ERROR: Duration = Duration::from_secs(2);

/// Rate below which pictures are not worth sending: sound has what there is.
pub const PICTURES_REST_BELOW: Bitrate = Bitrate::from_kilobits(40);

/// Temporal layers a page is asked for: half of the pictures can be left out for those who cannot take all.
pub const PAGE_LAYERS: u8 = 2;

/// Sound blocks between two reports of levels: ten a second.
pub const LEVELS_EVERY: u32 = 10;

/// Blocks of sound by which the page's sound may be behind before the rest is left out: after a machine slept nobody wants
/// to hear the past.
pub const PAGE_SOUND_BEHIND: u32 = 20;
