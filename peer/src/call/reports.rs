//! What only a call in a terminal tells: who says what, who is muted, which devices there are, how old voices are.

use std::fmt;

use meipo::units::PeerId;
use serde::Serialize;

use super::sound::{Delay, Device};
use crate::codec::OPUS_LOOKAHEAD;
use crate::events::{text, text_or_null};
use crate::params::SAMPLE_RATE;
use crate::stats::{Stats, tenths};

/// Somebody said something in writing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chat {
    /// Who; null if it was us.
    #[serde(serialize_with = "text_or_null")]
    pub peer: Option<PeerId>,
    /// What they called themselves.
    pub name: String,
    /// What.
    pub text: String,
    /// When, by their clock: milliseconds since 1970.
    pub at: u64,
}

/// How somebody is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PresenceReport {
    /// Who.
    #[serde(serialize_with = "text")]
    pub peer: PeerId,
    /// What the peer calls itself.
    pub name: String,
    /// Whether their microphone is off.
    pub muted: bool,
    /// Whether their hand is raised.
    pub hand: bool,
}

/// Whether what is said here is sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MicrophoneReport {
    /// Whether it stays here.
    pub muted: bool,
}

/// The devices are open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DevicesReport {
    /// What is captured; null where there is nothing to capture.
    pub microphone: Option<Device>,
    /// What is played on.
    pub speaker: Option<Device>,
}

/// How old a peer's voice is when it is heard here, and where the time goes. All in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MouthToEar {
    /// Whose voice.
    #[serde(serialize_with = "text_or_null")]
    pub peer: Option<PeerId>,
    /// What the peer calls itself.
    pub name: String,
    /// The peer's microphone, taken to be as slow as ours; null where that is not known.
    pub microphone_ms: Option<f64>,
    /// What the codec looks ahead.
    pub codec_ms: f64,
    /// Half of the round trip.
    pub network_ms: f64,
    /// How long frames are held back so that they are played evenly.
    pub jitter_buffer_ms: f64,
    /// A frame's length, and what is decoded and waits for the loudspeaker.
    pub voice_ms: f64,
    /// Our loudspeaker and the sound server; null where that is not known.
    pub speaker_ms: Option<f64>,
    /// All of it.
    pub total_ms: f64,
}

impl MouthToEar {
    /// Adds the parts up. `None` before the round trip is known.
    pub fn new(stats: &Stats, voice: std::time::Duration, devices: Delay) -> Option<Self> {
        let millis = |span: std::time::Duration| tenths(span.as_secs_f64() * 1000.0);
        let mut found = MouthToEar {
            peer: stats.peer,
            name: stats.name.clone(),
            microphone_ms: devices.microphone.map(millis),
            codec_ms: tenths(f64::from(OPUS_LOOKAHEAD) * 1000.0 / f64::from(SAMPLE_RATE)),
            network_ms: tenths(stats.rtt_ms? / 2.0),
            jitter_buffer_ms: stats.jitter_buffer_ms as f64,
            voice_ms: millis(voice),
            speaker_ms: devices.speaker.map(millis),
            total_ms: 0.0,
        };
        let measured = found.codec_ms + found.network_ms + found.jitter_buffer_ms + found.voice_ms;
        found.total_ms = tenths(measured + found.microphone_ms.unwrap_or(0.0) + found.speaker_ms.unwrap_or(0.0));
        Some(found)
    }
}

impl fmt::Display for MouthToEar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |part: Option<f64>| part.map_or("?".to_owned(), |part| format!("{part:.0}"));
        write!(
            f,
            "{} is heard after {:.0} ms: microphone {}, codec {:.0}, network {:.0}, jitter buffer {:.0}, voice {:.0}, \
             loudspeaker {}",
            self.name,
            self.total_ms,
            known(self.microphone_ms),
            self.codec_ms,
            self.network_ms,
            self.jitter_buffer_ms,
            self.voice_ms,
            known(self.speaker_ms),
        )
    }
}

impl fmt::Display for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}> {}", self.name, self.text)
    }
}

impl fmt::Display for PresenceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let microphone = if self.muted { "is muted" } else { "can be heard" };
        write!(f, "{} {microphone}{}", self.name, if self.hand { " and raises a hand" } else { "" })
    }
}

impl fmt::Display for MicrophoneReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.muted { "your microphone is off" } else { "your microphone is on" })
    }
}

impl fmt::Display for DevicesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.microphone, &self.speaker) {
            (Some(microphone), Some(speaker)) => {
                write!(f, "you speak into {} and hear on {}", microphone.description, speaker.description)
            }
            (None, Some(speaker)) => write!(f, "there is no microphone; you hear on {}", speaker.description),
            (Some(microphone), None) => write!(f, "there is no loudspeaker; you speak into {}", microphone.description),
            (None, None) => f.write_str("there is neither a microphone nor a loudspeaker"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_parts_of_a_delay_make_the_whole() {
        let stats = Stats { name: "alice".into(), rtt_ms: Some(31.0), jitter_buffer_ms: 20, ..Stats::default() };
        let known = Delay { microphone: Some(Duration::from_millis(12)), speaker: Some(Duration::from_millis(25)) };
        let heard = MouthToEar::new(&stats, Duration::from_millis(18), known).unwrap();
        assert_eq!((heard.network_ms, heard.total_ms), (15.5, 97.0));
        let text = heard.to_string();
        assert!(text.starts_with("alice is heard after 97 ms: microphone 12, codec"), "{text}");
        let unknown = MouthToEar::new(&stats, Duration::from_millis(18), Delay::default()).unwrap();
        assert_eq!((unknown.microphone_ms, unknown.total_ms), (None, 60.0));
        assert!(unknown.to_string().ends_with("loudspeaker ?"), "{unknown}");
    }

    #[test]
    fn no_delay_is_stated_before_the_round_trip_is_known() {
        assert_eq!(MouthToEar::new(&Stats::default(), Duration::ZERO, Delay::default()), None);
    }
}
