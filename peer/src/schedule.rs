//! When the frames of a file are sent: by their capture times, on a clock that never runs back.
//!
//! Each frame is due at a fixed distance from the first one, so that errors of single waits never add up.

use std::time::Duration;

use meipo::media::{Frame, Track, TrackKind};
use meipo::units::{CaptureTime, FrameNumber, TrackId};

/// When frames are due, counted from the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Schedule {
    first: Option<CaptureTime>,
    latest: Duration,
}

impl Schedule {
    /// How long after the first frame this one is due. Frames leave in the order they are decoded, so one that is shown
    /// before its predecessor (a B-frame) is due together with it.
    pub fn due(&mut self, captured: CaptureTime) -> Duration {
        let first = *self.first.get_or_insert(captured);
        let since = captured.as_micros().saturating_sub(first.as_micros());
        self.latest = self.latest.max(Duration::from_micros(since));
        self.latest
    }
}

/// Joins the rounds of a looped file: numbers and times go on where the last round ended.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    lanes: Vec<Lane>,
    /// Added to the times of this round, in microseconds.
    shift: u64,
}

#[derive(Clone, Debug)]
struct Lane {
    id: TrackId,
    next: FrameNumber,
    /// Latest end of a frame, in microseconds.
    end: u64,
    length: u64,
}

impl Rounds {
    /// Before the first round of a file with these tracks.
    pub fn new(tracks: &[Track]) -> Self {
        let lane =
            |track: &Track| Lane { id: track.id, next: FrameNumber::default(), end: 0, length: length_of(track.kind) };
        Rounds { lanes: tracks.iter().map(lane).collect(), shift: 0 }
    }

    /// Gives a frame its number and time over all rounds; `None` after the last number there is.
    pub fn place(&mut self, mut frame: Frame) -> Option<Frame> {
        let shift = self.shift;
        let lane = self.lanes.iter_mut().find(|lane| lane.id == frame.track)?;
        let captured = frame.captured.as_micros().saturating_add(shift);
        frame.captured = CaptureTime::from_micros(captured);
        frame.number = lane.next;
        lane.next = lane.next.next()?;
        lane.end = lane.end.max(captured.saturating_add(lane.length));
        Some(frame)
    }

    /// The file begins again: all tracks together, so that they stay in step.
    pub fn next_round(&mut self) {
        self.shift = self.lanes.iter().map(|lane| lane.end).max().unwrap_or(self.shift);
    }
}

/// How long one frame lasts, in microseconds.
fn length_of(kind: TrackKind) -> u64 {
    match kind {
        TrackKind::Audio { .. } => 20_000,
        TrackKind::Video { millihertz: 0, .. } => 40_000,
        TrackKind::Video { millihertz, .. } => 1_000_000_000 / u64::from(millihertz),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use meipo::media::{FrameKind, TrackSource};

    use super::*;

    #[test]
    fn the_first_frame_is_due_at_once_and_the_others_by_their_distance_from_it() {
        let mut schedule = Schedule::default();
        let due = [70, 90, 110].map(|millis| schedule.due(CaptureTime::from_micros(millis * 1000)).as_millis());
        assert_eq!(due, [0, 20, 40]);
    }

    #[test]
    fn a_frame_shown_before_its_predecessor_does_not_turn_time_back() {
        let mut schedule = Schedule::default();
        let due = [0, 120, 40, 80, 160].map(|millis| schedule.due(CaptureTime::from_micros(millis * 1000)).as_millis());
        assert_eq!(due, [0, 120, 120, 120, 160]);
    }

    #[test]
    fn rounds_go_on_without_a_gap_or_a_step_back() {
        let tracks = [
            track(0, TrackKind::Video { width: 64, height: 64, millihertz: 25_000 }),
            track(1, TrackKind::Audio { sample_rate: 48_000, channels: 1 }),
        ];
        let mut rounds = Rounds::new(&tracks);
        let mut placed = Vec::new();
        for _ in 0..3 {
            for number in 0..5 {
                placed.push(rounds.place(frame(0, number, 40_000)).unwrap());
                placed.push(rounds.place(frame(1, number, 20_000)).unwrap());
            }
            rounds.next_round();
        }
        let of = |track: u16| placed.iter().filter(move |frame| frame.track == TrackId(track));
        let video: Vec<_> = of(0).map(|frame| (frame.number.0, frame.captured.as_micros())).collect();
        assert_eq!(video, (0..15).map(|number| (number, u64::from(number) * 40_000)).collect::<Vec<_>>());
        let starts: Vec<_> = of(1).step_by(5).map(|frame| frame.captured.as_micros()).collect();
        assert_eq!(starts, [0, 200_000, 400_000]);
        assert!(of(1).map(|frame| frame.number.0).eq(0..15));
    }

    fn track(id: u16, kind: TrackKind) -> Track {
        let codec = "vp8".to_owned();
        Track { id: TrackId(id), kind, source: TrackSource::File, codec, description: Bytes::new(), epoch_unix_us: 0 }
    }

    fn frame(track: u16, number: u32, length: u64) -> Frame {
        Frame {
            track: TrackId(track),
            number: FrameNumber(number),
            captured: CaptureTime::from_micros(u64::from(number) * length),
            kind: FrameKind::Key,
            temporal_layer: 0,
            needs: 0,
            data: Bytes::new(),
        }
    }
}
