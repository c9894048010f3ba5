//! Pictures of others on their way to the page: each track has a lane, and each lane knows whether the page can go on.
//!
//! Tracks and frames go in, messages for the page come out. When the page has no room for a picture, everything up to the
//! next key frame is left out: it could not be decoded.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use meipo::media::{Frame, Track};
use meipo::units::{PeerId, Time, TrackId};

use super::message::picture_message;
use crate::codec::avc::{AvcConfig, AvcError, UnitKind, kind_of};
use crate::codec::family;
use crate::params::KEY_FRAME_PATIENCE;

/// All lanes to one page.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: BTreeMap<(PeerId, TrackId), Lane>,
    next: u32,
}

#[derive(Debug)]
struct Lane {
    number: u32,
    epoch_unix_us: u64,
    /// Where parameter sets and lengths stand apart from pictures (MP4, Matroska).
    avc: Option<AvcConfig>,
    waits_for_key: bool,
    asked: Option<Time>,
}

impl Lanes {
    /// A peer announces pictures: the number of their lane. Sound has none.
    ///
    /// # Errors
    /// When the track's description is no H.264.
    pub fn handle_track(&mut self, peer: PeerId, track: &Track) -> Result<Option<u32>, AvcError> {
        if track.kind.is_audio() {
            return Ok(None);
        }
        let is_avc = matches!(family(&track.codec), "avc1" | "avc3") && !track.description.is_empty();
        let avc = is_avc.then(|| AvcConfig::parse(&track.description)).transpose()?;
        let next = self.next;
        let lane = self.lanes.entry((peer, track.id)).or_insert(Lane {
            number: next,
            epoch_unix_us: 0,
            avc: None,
            waits_for_key: true,
            asked: None,
        });
        (lane.epoch_unix_us, lane.avc) = (track.epoch_unix_us, avc);
        let number = lane.number;
        if number == next {
            self.next = next.wrapping_add(1);
        }
        Ok(Some(number))
    }

    /// The message that carries a frame; `None` if it has no lane, or could not be decoded there.
    pub fn message(&mut self, peer: PeerId, frame: &Frame) -> Option<Bytes> {
        let lane = self.lanes.get_mut(&(peer, frame.track))?;
        if lane.waits_for_key && !frame.is_key() {
            return None;
        }
        lane.waits_for_key = false;
        let captured = lane.epoch_unix_us.saturating_add(frame.captured.as_micros());
        let converted = match &lane.avc {
            Some(config) => Some(annex_b(config, &frame.data)?),
            None => None,
        };
        let data = converted.as_deref().unwrap_or(&frame.data);
        Some(picture_message(lane.number, frame.is_key(), frame.temporal_layer, captured, data))
    }

    /// Nothing can be decoded before the next key frame; whether it is to be asked for now.
    pub fn needs_key(&mut self, peer: PeerId, track: TrackId, now: Time) -> bool {
        let Some(lane) = self.lanes.get_mut(&(peer, track)) else { return false };
        lane.waits_for_key = true;
        let is_recent = |asked: Time| now.since(asked) < KEY_FRAME_PATIENCE;
        if lane.asked.is_some_and(is_recent) {
            return false;
        }
        lane.asked = Some(now);
        true
    }

    /// Lanes that have waited for a key frame for too long: it is to be asked for again.
    pub fn overdue(&mut self, now: Time) -> Vec<(PeerId, TrackId)> {
        let mut overdue = Vec::new();
        for (key, lane) in &mut self.lanes {
            if lane.waits_for_key && lane.asked.is_some_and(|asked| now.since(asked) >= AGAIN) {
                lane.asked = Some(now);
                overdue.push(*key);
            }
        }
        overdue
    }

    /// A track has ended.
    pub fn handle_track_ended(&mut self, peer: PeerId, track: TrackId) {
        self.lanes.remove(&(peer, track));
    }

    /// A peer is gone.
    pub fn handle_peer_left(&mut self, peer: PeerId) {
        self.lanes.retain(|(of, _), _| *of != peer);
    }

    /// Another page has come: what it must know of lanes, each of which it can only begin at a key frame, to be asked for now.
    pub fn restart(&mut self, now: Time) -> Vec<(u32, PeerId, TrackId)> {
        let begin = |(key, lane): (&(PeerId, TrackId), &mut Lane)| {
            lane.waits_for_key = true;
            // If the sender does not answer because it answered somebody else just now, it is asked again.
            lane.asked = Some(now);
            (lane.number, key.0, key.1)
        };
        self.lanes.iter_mut().map(begin).collect()
    }
}

/// A request, or its answer, may be lost on the way.
const AGAIN: Duration = Duration::from_secs(1);

/// Puts start codes in the place of lengths, and the parameter sets before a key frame.
fn annex_b(config: &AvcConfig, data: &[u8]) -> Option<Vec<u8>> {
    let units = config.units(data).ok()?;
    let is_key = units.iter().any(|unit| kind_of(unit) == UnitKind::KeySlice);
    let sets = config.parameter_sets().iter().filter(|_| is_key).map(AsRef::as_ref);
    let mut stream = Vec::with_capacity(data.len() + 64);
    for unit in sets.chain(units) {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(unit);
    }
    Some(stream)
}

#[cfg(test)]
mod tests {
    use meipo::media::{FrameKind, TrackKind, TrackSource};
    use meipo::units::{CaptureTime, FrameNumber};

    use super::*;

    #[test]
    fn a_lane_begins_at_a_key_frame_and_carries_the_time_of_day() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.handle_track(ALICE, &track(1)).unwrap(), Some(0));
        assert_eq!(lanes.handle_track(ALICE, &track(2)).unwrap(), Some(1));
        assert_eq!(lanes.handle_track(ALICE, &track(1)).unwrap(), Some(0), "it is announced again");
        assert_eq!(lanes.message(ALICE, &frame(2, FrameKind::Delta)), None);
        let message = lanes.message(ALICE, &frame(2, FrameKind::Key)).unwrap();
        assert_eq!(message, picture_message(1, true, 0, 1_000_005, b"bytes"));
        assert!(lanes.message(ALICE, &frame(2, FrameKind::Delta)).is_some());
    }

    #[test]
    fn after_a_picture_was_left_out_nothing_goes_before_a_key_frame_which_is_asked_for_now_and_then() {
        let mut lanes = Lanes::default();
        lanes.handle_track(ALICE, &track(1)).unwrap();
        lanes.message(ALICE, &frame(1, FrameKind::Key)).unwrap();
        assert!(lanes.needs_key(ALICE, TrackId(1), Time::ZERO));
        assert_eq!(lanes.message(ALICE, &frame(1, FrameKind::Delta)), None);
        assert!(!lanes.needs_key(ALICE, TrackId(1), Time::from_millis(299)));
        assert_eq!(lanes.overdue(Time::from_millis(999)), []);
        assert_eq!(lanes.overdue(Time::from_millis(1000)), [(ALICE, TrackId(1))]);
        assert!(lanes.message(ALICE, &frame(1, FrameKind::Key)).is_some());
        assert_eq!(lanes.overdue(Time::from_millis(9000)), []);
    }

    #[test]
    fn a_page_that_takes_over_begins_at_key_frames_too() {
        let mut lanes = Lanes::default();
        lanes.handle_track(ALICE, &track(1)).unwrap();
        lanes.message(ALICE, &frame(1, FrameKind::Key)).unwrap();
        assert_eq!(lanes.restart(Time::ZERO), [(0, ALICE, TrackId(1))]);
        assert_eq!(lanes.message(ALICE, &frame(1, FrameKind::Delta)), None);
        assert_eq!(
            lanes.overdue(Time::ZERO + AGAIN),
            [(ALICE, TrackId(1))],
            "a request that was not answered is repeated"
        );
    }

    #[test]
    fn what_lies_in_files_with_lengths_goes_with_start_codes() {
        let mut lanes = Lanes::default();
        let set = [0x67, 0x42, 0xc0, 0x1e];
        let record = [&[1, 0x42, 0xc0, 0x1e, 0xff, 0xe0][..], &[0]].concat();
        let described = Track { codec: "avc1.42c01e".to_owned(), description: record.into(), ..track(1) };
        lanes.handle_track(ALICE, &described).unwrap();
        let data = [&[0, 0, 0, 4][..], &set].concat();
        let message = lanes.message(ALICE, &Frame { data: data.into(), ..frame(1, FrameKind::Key) }).unwrap();
        assert_eq!(message[16..], [&[0, 0, 0, 1][..], &set].concat());
    }

    fn track(id: u16) -> Track {
        Track {
            id: TrackId(id),
            kind: TrackKind::Video { width: 64, height: 64, millihertz: 0 },
            source: TrackSource::Camera,
            codec: "vp8".to_owned(),
            description: Bytes::new(),
            epoch_unix_us: 1_000_000,
        }
    }

    fn frame(track: u16, kind: FrameKind) -> Frame {
        Frame {
            track: TrackId(track),
            number: FrameNumber(0),
            captured: CaptureTime::from_micros(5),
            kind,
            temporal_layer: 0,
            needs: 0,
            data: Bytes::from_static(b"bytes"),
        }
    }

    const ALICE: PeerId = PeerId::from_bytes([1; 32]);
}
