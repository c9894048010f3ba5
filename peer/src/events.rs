//! What the program tells: one [`Report`] for each thing that happens, as JSON or as a line for people.
//!
//! With `--json` each is one object on one line of standard output, with its kind in `event`.

use std::fmt;

use meipo::media::{Track, TrackKind, TrackSource};
use meipo::units::PeerId;
use serde::{Serialize, Serializer};

pub use crate::call::{Chat, DevicesReport, MicrophoneReport, MouthToEar, PresenceReport};
pub use crate::stats::Stats;
pub(crate) use crate::stats::tenths;

/// One line of output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What happened.
    #[serde(flatten)]
    pub report: Report,
    /// Who of the demo's peers tells it; absent elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Report {
    /// We are in the room.
    Joined(Joined),
    /// A peer can be spoken to.
    PeerJoined(PeerJoined),
    /// A peer is gone.
    PeerLeft(PeerLeft),
    /// The host has decided something, or we learn of what it decided before.
    Rules(RulesReport),
    /// A peer announces a track, or changes it.
    Track(TrackReport),
    /// A track has ended.
    TrackEnded(TrackEnded),
    /// Media takes another way to a peer.
    Path(PathReport),
    /// How it goes with a peer; each second for each.
    Stats(Stats),
    /// A recording has begun.
    Recording(Recording),
    /// The rendezvous cannot be reached; calls go on.
    RendezvousLost(RendezvousLost),
    /// The rendezvous is there again.
    RendezvousBack,
    /// A room was opened for you, and this is its link (`demo` only).
    Invite(Invite),
    /// The page is served and can be opened (`join` only).
    Page(PageReport),
    /// Somebody said something in writing (`call` only).
    Chat(Chat),
    /// How somebody is: muted, hand raised (`call` only).
    Presence(PresenceReport),
    /// Our microphone was switched off or on (`call` only).
    Microphone(MicrophoneReport),
    /// Microphone and loudspeaker are open (`call` only).
    Devices(DevicesReport),
    /// How old a peer's voice is when it is heard; each second for each (`call` only).
    MouthToEar(MouthToEar),
    /// Something went wrong that a person should know; the program goes on.
    Error(ErrorReport),
}

/// We are in the room.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Joined {
    /// Our own id.
    #[serde(serialize_with = "text")]
    pub id: PeerId,
    /// Our own name.
    pub name: String,
    /// What people call the room.
    pub room: String,
    /// Whether we are a host of the room.
    pub host: bool,
    /// Our address and port as the rendezvous sees them.
    pub observed: String,
}

/// A peer can be spoken to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerJoined {
    /// Its id.
    #[serde(serialize_with = "text")]
    pub peer: PeerId,
    /// What it calls itself.
    pub name: String,
    /// Thirty digits that both of you see alike, unless somebody sits between you.
    pub safety_number: String,
    /// Whether it is a host of the room.
    pub host: bool,
}

/// A peer is gone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerLeft {
    /// Its id.
    #[serde(serialize_with = "text")]
    pub peer: PeerId,
    /// What it called itself.
    pub name: String,
    /// `left` if it said so, `lost` if it fell silent, `removed` if the host has put it out.
    pub reason: &'static str,
}

/// What holds in the room because its host wants it so.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RulesReport {
    /// Whether nobody but hosts may be heard.
    pub muted: bool,
    /// Whether nobody new is let in.
    pub locked: bool,
    /// Who was put out.
    #[serde(serialize_with = "texts")]
    pub removed: Vec<PeerId>,
    /// Whether our own sound goes to nobody.
    pub silenced: bool,
}

/// A peer announces a track, or changes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrackReport {
    /// Whose.
    #[serde(serialize_with = "text")]
    pub peer: PeerId,
    /// What the peer calls itself.
    pub name: String,
    /// The track's number, unique within its peer.
    pub track: u16,
    /// Codec string of the WebCodecs registry, such as `avc1.42c01e` or `opus`.
    pub codec: String,
    /// What it shows: `camera`, `microphone`, `screen`, `file` or `test-pattern`.
    pub source: &'static str,
    /// Sound or pictures, and their shape.
    #[serde(flatten)]
    pub shape: Shape,
}

/// Sound or pictures, and their shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Shape {
    /// Sound.
    Audio {
        /// Samples a second.
        sample_rate: u32,
        /// 1 for mono, 2 for stereo.
        channels: u8,
    },
    /// Pictures.
    Video {
        /// Pixels a line.
        width: u16,
        /// Lines.
        height: u16,
        /// Pictures a second; null when unknown.
        frame_rate: Option<f64>,
    },
}

/// A track has ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrackEnded {
    /// Whose.
    #[serde(serialize_with = "text")]
    pub peer: PeerId,
    /// What the peer calls itself.
    pub name: String,
    /// The track's number.
    pub track: u16,
}

/// Media takes another way to a peer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathReport {
    /// To whom.
    #[serde(serialize_with = "text")]
    pub peer: PeerId,
    /// What the peer calls itself.
    pub name: String,
    /// `direct`, `relayed` or `tunnelled`.
    pub kind: &'static str,
    /// Round-trip time in milliseconds; null before it is measured.
    pub rtt_ms: Option<f64>,
    /// `ipv4` or `ipv6`; null where a relay hides it.
    pub address_family: Option<&'static str>,
}

/// A recording has begun.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recording {
    /// Of whom.
    #[serde(serialize_with = "text")]
    pub peer: PeerId,
    /// What the peer calls itself.
    pub name: String,
    /// Where it is kept.
    pub file: String,
}

/// The rendezvous cannot be reached; calls go on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RendezvousLost {
    /// What happened.
    pub reason: String,
    /// Whether it has refused us, so that we do not try again.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// A room was opened for you.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Invite {
    /// The link to it. Whoever has it can enter.
    pub link: String,
}

/// The page can be opened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PageReport {
    /// Its address, with a token that is good once.
    pub url: String,
}

/// Something went wrong that a person should know.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorReport {
    /// What.
    pub message: String,
    /// With whom, if with a peer.
    #[serde(serialize_with = "text_or_null", skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerId>,
    /// What that peer calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl TrackReport {
    /// The report of `track`, announced by `peer`.
    pub fn new(peer: PeerId, name: String, track: &Track) -> Self {
        let shape = match track.kind {
            TrackKind::Audio { sample_rate, channels } => Shape::Audio { sample_rate, channels },
            TrackKind::Video { width, height, millihertz } => {
                let frame_rate = (millihertz > 0).then(|| f64::from(millihertz) / 1000.0);
                Shape::Video { width, height, frame_rate }
            }
        };
        let source = match track.source {
            TrackSource::Camera => "camera",
            TrackSource::Microphone => "microphone",
            TrackSource::Screen => "screen",
            TrackSource::File => "file",
            TrackSource::TestPattern => "test-pattern",
        };
        TrackReport { peer, name, track: track.id.0, codec: track.codec.clone(), source, shape }
    }
}

/// A line for people, without time and without colour.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Joined(it) => write!(f, "you are {} in {}", it.name, it.room),
            Report::PeerJoined(it) => write!(f, "{} is here; safety number {}", it.name, it.safety_number),
            Report::PeerLeft(it) if it.reason == "removed" => write!(f, "the host has removed {}", it.name),
            Report::PeerLeft(it) if it.reason == "lost" => write!(f, "{} fell silent", it.name),
            Report::PeerLeft(it) => write!(f, "{} has left", it.name),
            Report::Rules(it) => it.fmt(f),
            Report::Track(it) => write!(f, "{} shows {}", it.name, it.shape.describe(&it.codec, it.source)),
            Report::TrackEnded(it) => write!(f, "track {} of {} has ended", it.track, it.name),
            Report::Path(it) => {
                write!(f, "{} is reached {}", it.name, way(it.kind))?;
                it.address_family.map_or(Ok(()), |family| write!(f, " over {}", family.replace("ip", "IP")))?;
                it.rtt_ms.map_or(Ok(()), |rtt| write!(f, ", round trip {rtt} ms"))
            }
            Report::Stats(it) => it.fmt(f),
            Report::Recording(it) => write!(f, "recording {} into {}", it.name, it.file),
            Report::RendezvousLost(it) if it.is_final => write!(f, "the rendezvous has refused us: {}", it.reason),
            Report::RendezvousLost(it) => write!(f, "the rendezvous is lost ({}); calls go on", it.reason),
            Report::RendezvousBack => f.write_str("the rendezvous is back"),
            Report::Invite(it) => write!(f, "invite others with {}", it.link),
            Report::Page(it) => write!(f, "your call is at {}", it.url),
            Report::Chat(it) => it.fmt(f),
            Report::Presence(it) => it.fmt(f),
            Report::Microphone(it) => it.fmt(f),
            Report::Devices(it) => it.fmt(f),
            Report::MouthToEar(it) => it.fmt(f),
            Report::Error(ErrorReport { message, name: Some(name), .. }) => write!(f, "{name}: {message}"),
            Report::Error(it) => f.write_str(&it.message),
        }
    }
}

impl fmt::Display for RulesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speech = match (self.muted, self.silenced) {
            (true, true) => "the host has muted everyone, you too",
            (true, false) => "everyone but hosts is muted",
            (false, _) => "everyone may speak",
        };
        let door = if self.locked { "the room is locked" } else { "the room is open" };
        write!(f, "{speech}; {door}")
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.0}"));
        write!(
            f,
            "{}: {}, rtt {} ms, {} kbit/s in, {} out, loss {:.1} %, {} frames, {} lost, {} freezes, latency {} ms",
            self.name,
            self.path.unwrap_or("no way yet"),
            number(self.rtt_ms),
            self.received_kbps,
            self.sent_kbps,
            self.loss * 100.0,
            self.frames,
            self.frames_lost,
            self.freezes,
            number(self.latency_ms),
        )
    }
}

impl Shape {
    fn describe(&self, codec: &str, source: &str) -> String {
        match self {
            Shape::Audio { sample_rate, channels } => {
                let channels = if *channels == 1 { "mono".to_owned() } else { format!("{channels} channels") };
                format!("sound ({codec}, {sample_rate} Hz, {channels}) of a {source}")
            }
            Shape::Video { width, height, frame_rate } => {
                let rate = frame_rate.map_or(String::new(), |rate| format!("@{rate}"));
                format!("pictures ({codec}, {width}×{height}{rate}) of a {source}")
            }
        }
    }
}

/// What a kind of path means to a person.
fn way(kind: &str) -> &str {
    match kind {
        "direct" => "directly",
        "relayed" => "through the relay",
        "tunnelled" => "through the tunnel",
        other => other,
    }
}

fn texts<S: Serializer>(ids: &[PeerId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(PeerId::to_string))
}

pub(crate) fn text<S: Serializer>(id: &PeerId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

#[expect(clippy::ref_option, reason = "serde passes the field as it is")]
pub(crate) fn text_or_null<S: Serializer>(id: &Option<PeerId>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use meipo::node::PeerStats;
    use meipo::units::TrackId;
    use serde_json::{Value, json};

    use super::*;

    const ALICE: PeerId = PeerId::from_bytes([1; 32]);

    #[test]
    fn an_event_has_its_kind_and_the_whole_id() {
        let report = Report::PeerLeft(PeerLeft { peer: ALICE, name: "alice".into(), reason: "left" });
        let expected = json!({ "event": "peer-left", "peer": ALICE.to_string(), "name": "alice", "reason": "left" });
        assert_eq!(to_json(report), expected);
    }

    #[test]
    fn a_track_names_the_shape_of_its_kind_only() {
        let mut track = Track {
            id: TrackId(3),
            kind: TrackKind::Video { width: 640, height: 480, millihertz: 29_970 },
            source: TrackSource::TestPattern,
            codec: "avc1.42c01e".into(),
            description: bytes::Bytes::new(),
            epoch_unix_us: 0,
        };
        let video = to_json(Report::Track(TrackReport::new(ALICE, "alice".into(), &track)));
        assert_eq!(
            (&video["kind"], &video["track"], &video["frame_rate"]),
            (&json!("video"), &json!(3), &json!(29.97))
        );
        assert_eq!((&video["source"], video.get("channels")), (&json!("test-pattern"), None));
        track.kind = TrackKind::Audio { sample_rate: 48_000, channels: 1 };
        let audio = to_json(Report::Track(TrackReport::new(ALICE, "alice".into(), &track)));
        assert_eq!((&audio["kind"], &audio["channels"], audio.get("width")), (&json!("audio"), &json!(1), None));
    }

    #[test]
    fn counters_are_integers_and_what_is_unknown_is_null() {
        let stats = PeerStats {
            name: "alice".into(),
            sent_bits: 123_456,
            loss: 1.0 / 3.0,
            frames: 7,
            longest_gap: Duration::from_micros(33_900),
            ..PeerStats::default()
        };
        let json = to_json(Report::Stats(Stats::new(ALICE, &stats)));
        for name in ["sent_kbps", "received_kbps", "frames", "frames_lost", "freezes", "freeze_ms", "longest_gap_ms"] {
            assert!(json[name].is_u64(), "{name}: {json}");
        }
        assert_eq!(
            (&json["sent_kbps"], &json["longest_gap_ms"], &json["loss"]),
            (&json!(123), &json!(33), &json!(0.3333))
        );
        assert_eq!((&json["rtt_ms"], &json["latency_ms"], &json["path"]), (&Value::Null, &Value::Null, &Value::Null));
    }

    #[test]
    fn only_the_demo_says_who_tells() {
        let line = Line { report: Report::RendezvousBack, at: Some("bob".into()) };
        assert_eq!(serde_json::to_value(line).unwrap(), json!({ "event": "rendezvous-back", "at": "bob" }));
        assert_eq!(to_json(Report::RendezvousBack), json!({ "event": "rendezvous-back" }));
    }

    #[test]
    fn rules_say_what_holds_and_who_was_put_out() {
        let report = RulesReport { muted: true, locked: false, removed: vec![ALICE], silenced: true };
        assert_eq!(report.to_string(), "the host has muted everyone, you too; the room is open");
        let expected = json!({
            "event": "rules", "muted": true, "locked": false, "removed": [ALICE.to_string()], "silenced": true,
        });
        assert_eq!(to_json(Report::Rules(report)), expected);
    }

    #[test]
    fn a_person_reads_sentences() {
        let path = PathReport {
            peer: ALICE,
            name: "alice".into(),
            kind: "direct",
            rtt_ms: Some(1.5),
            address_family: Some("ipv6"),
        };
        assert_eq!(Report::Path(path).to_string(), "alice is reached directly over IPv6, round trip 1.5 ms");
    }

    fn to_json(report: Report) -> Value {
        serde_json::to_value(Line { report, at: None }).unwrap()
    }
}
