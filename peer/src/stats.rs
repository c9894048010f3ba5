//! How it goes with a peer, as the program tells it each second: one flat record, whose names are those of the JSON.

use std::time::Duration;

use meipo::node::PeerStats;
use meipo::path::PathKind;
use meipo::units::PeerId;
use serde::Serialize;

use crate::events::text_or_null;

/// How it goes with a peer. Counters count since the connection began, rates are those of the last second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// With whom.
    #[serde(serialize_with = "text_or_null")]
    pub peer: Option<PeerId>,
    /// What the peer calls itself.
    pub name: String,
    /// `direct`, `relayed` or `tunnelled`; null before a way is known.
    pub path: Option<&'static str>,
    /// Media sent to the peer in the last second, kilobits.
    pub sent_kbps: u64,
    /// Media received from the peer in the last second, kilobits.
    pub received_kbps: u64,
    /// Share of the peer's packets lost on the way in the last second, 0 to 1.
    pub loss: f64,
    /// Round-trip time in milliseconds; null before it is measured.
    pub rtt_ms: Option<f64>,
    /// Frames of sound and pictures received whole and in time.
    pub frames: u64,
    /// Frames that did not come in time, or need one that did not.
    pub frames_lost: u64,
    /// Times the pictures stood still.
    pub freezes: u64,
    /// How long they stood still in all, milliseconds.
    pub freeze_ms: u64,
    /// Longest time between two media packets of the peer, milliseconds.
    pub longest_gap_ms: u64,
    /// From capture to decoded picture (or sound), mean of the last second, milliseconds; null where it cannot be known.
    pub latency_ms: Option<f64>,
    /// The same of sound alone, for `mos`; not told.
    #[serde(skip)]
    pub sound_latency_ms: Option<f64>,
    /// How long frames are held back to be played evenly, milliseconds.
    pub jitter_buffer_ms: u64,
    /// How fast may be sent to the peer, kilobits a second.
    pub estimate_kbps: u64,
    /// How long packets to the peer wait on the way, milliseconds.
    pub queue_ms: u64,
    /// Share of what was sent to the peer that is parity, copies and repetitions, 0 to 1.
    pub parity_share: f64,
    /// Share of the frames of the last second that were missing in spite of all repair, 0 to 1.
    pub loss_after_repair: f64,
    /// Sound of the peer that had to be made up, in all, milliseconds.
    pub concealed_ms: u64,
    /// Mean opinion score of the last second's sound, 1 to 4.5 (ITU-T G.107); null while nothing comes.
    pub mos: Option<f64>,
    /// Frames that came whole and still could not be decoded.
    pub decode_errors: u64,
    /// Frames of codecs that only a browser decodes; they are received and counted.
    pub undecodable: u64,
}

impl Stats {
    /// What the library counted; what decoding adds stays empty.
    pub fn new(peer: PeerId, stats: &PeerStats) -> Self {
        Stats {
            peer: Some(peer),
            name: stats.name.clone(),
            path: stats.path.map(PathKind::as_str),
            sent_kbps: kilobits(stats.sent_bits),
            received_kbps: kilobits(stats.received_bits),
            loss: (stats.loss * 10_000.0).round() / 10_000.0,
            rtt_ms: stats.rtt.map(|rtt| tenths(rtt.as_secs_f64() * 1000.0)),
            frames: stats.frames,
            frames_lost: stats.frames_lost,
            freezes: stats.freezes,
            freeze_ms: millis(stats.freeze_time),
            longest_gap_ms: millis(stats.longest_gap),
            jitter_buffer_ms: millis(stats.jitter_delay),
            concealed_ms: millis(stats.concealed),
            estimate_kbps: kilobits(stats.estimate_bits),
            queue_ms: millis(stats.queue_delay),
            parity_share: (stats.repair_share * 1000.0).round() / 1000.0,
            ..Stats::default()
        }
    }
}

fn kilobits(bits: u64) -> u64 {
    bits.saturating_add(500) / 1000
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Rounded to one digit behind the point.
pub(crate) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
