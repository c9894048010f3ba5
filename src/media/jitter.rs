//! Jitter buffer: whole frames of one track arrive unevenly and leave in order, evenly, each once.
//!
//! When a frame is due is the playout clock's to say, in a [`Pace`]. A frame that is not there when a later one is due is lost;
//! frames that need it are withheld until decoding can start again. A released frame never returns, and what comes too late is
//! dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Frame;
use super::playout::{Pace, Playout, Sense};
use crate::params::{
    KEY_ASKED_AFTER, MAX_WAITING_FRAMES, PLAYOUT_GRACE, PLAYOUT_REBASE, PLAYOUT_SETTLE, PLAYOUT_STALE,
};
use crate::units::{CaptureTime, FrameNumber, Time};

/// What leaves the buffer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Released {
    /// A frame that can be decoded.
    Frame(Frame),
    /// Frames that will not come, or came and cannot be decoded: this many in a row.
    Lost(u32),
}

/// Orders and times the frames of one track.
#[derive(Debug)]
pub struct Jitter {
    playout: Playout,
    waiting: BTreeMap<FrameNumber, Waiting>,
    /// The number to leave next; `None` until a first key frame came.
    next: Option<FrameNumber>,
    /// When that came.
    began: Time,
    /// Frames that left and can be referred to: the last 255, as far back as `Frame::needs` reaches.
    decodable: BTreeSet<FrameNumber>,
    /// How far capture times step back in decode order (B-frames).
    reorder: Duration,
    /// The latest capture time that left since the last key frame that did.
    newest_left: CaptureTime,
    /// The number after the last frame, once the sender has named it.
    end: Option<(FrameNumber, Time)>,
    wants_key: bool,
    /// The missing picture for which a key frame has been asked though its repetition may still come.
    asked_for: Option<FrameNumber>,
}

#[derive(Debug)]
struct Waiting {
    frame: Frame,
    arrived: Time,
}

impl Jitter {
    /// An empty buffer.
    pub fn new(playout: Playout) -> Self {
        Jitter {
            playout,
            waiting: BTreeMap::new(),
            next: None,
            began: Time::ZERO,
            decodable: BTreeSet::new(),
            reorder: Duration::ZERO,
            newest_left: CaptureTime::from_micros(0),
            end: None,
            wants_key: false,
            asked_for: None,
        }
    }

    /// Takes a whole frame. One that is too late, or known, is dropped.
    pub fn push(&mut self, frame: Frame, now: Time) {
        if self.next.is_some_and(|next| frame.number < next) || self.waiting.contains_key(&frame.number) {
            return;
        }
        if self.next.is_none() && !frame.is_key() {
            self.wants_key = true;
            return;
        }
        if self.asked_for == Some(frame.number) {
            // It has come after all; what was asked for in its stead is not needed if nobody was told yet.
            self.wants_key = false;
        }
        self.observe(&frame);
        if self.next.is_none() {
            self.next = Some(frame.number);
            self.began = now;
        }
        self.waiting.insert(frame.number, Waiting { frame, arrived: now });
        if self.waiting.len() > MAX_WAITING_FRAMES {
            self.waiting.pop_first();
        }
    }

    /// The sender says that `end` frames were all.
    pub fn handle_end(&mut self, end: FrameNumber, now: Time) {
        self.end = Some((end, now));
    }

    /// What leaves now; call until `None`.
    pub fn poll(&mut self, pace: Pace, now: Time) -> Option<Released> {
        let due = self.due(pace)?;
        let next = self.next?;
        if due > now {
            self.ask_in_time(next, pace, now);
            return None;
        }
        let Some(first) = self.waiting.first_entry() else {
            return self.close_gap_at_end(next);
        };
        let number = *first.key();
        if number > next {
            self.next = Some(number);
            self.wants_key |= !first.get().frame.is_key();
            return Some(Released::Lost(number.0 - next.0));
        }
        let frame = first.remove().frame;
        self.next = number.next();
        self.newest_left = latest(self.newest_left, frame.is_key(), frame.captured);
        if !self.can_decode(&frame) || self.is_stale(due, pace, now) && !self.is_awaited(&frame, pace, now) {
            self.wants_key |= frame.temporal_layer == 0;
            return Some(Released::Lost(1));
        }
        self.remember(&frame);
        Some(Released::Frame(frame))
    }

    /// When something leaves next if nothing more arrives.
    pub fn poll_timeout(&self, pace: Pace) -> Option<Time> {
        self.due(pace)
    }

    /// Whether decoding cannot go on without a new key frame; asking resets the answer.
    pub fn take_wants_key(&mut self) -> bool {
        std::mem::take(&mut self.wants_key)
    }

    /// Whether every frame up to the end the sender named has left.
    pub fn is_finished(&self) -> bool {
        self.end.is_some_and(|(end, _)| self.next.is_none_or(|next| next >= end))
    }

    /// Learns how far capture times step back in decode order, in which a frame that was repaired late does not. Only frames
    /// since a key frame count: a key frame is earlier than what left before it where the sender begins again in the past,
    /// as for somebody who looks again, and that says nothing of the frames after it.
    fn observe(&mut self, frame: &Frame) {
        let seen = |waiting: &Waiting| (waiting.frame.is_key(), waiting.frame.captured);
        let before = self.waiting.range(..frame.number).map(|(_, waiting)| seen(waiting));
        let before = before.fold(self.newest_left, |newest, (is_key, captured)| latest(newest, is_key, captured));
        let after = self.waiting.range(frame.number..).map(|(_, waiting)| seen(waiting));
        let after = after.take_while(|(is_key, _)| !is_key).map(|(_, captured)| captured).min();
        let newest = latest(before, frame.is_key(), frame.captured);
        let back = step_back(newest, after.map_or(frame.captured, |after| after.min(frame.captured)));
        self.reorder = self.reorder.max(back).min(PLAYOUT_REBASE);
    }

    fn due(&self, pace: Pace) -> Option<Time> {
        let next = self.next?;
        let Some((number, waiting)) = self.waiting.first_key_value() else {
            let (end, said) = self.end?;
            return (next < end).then_some(said + self.patience(pace));
        };
        match self.playout {
            Playout::Ordered { .. } if *number == next => Some(Time::ZERO),
            Playout::Ordered { patience } => Some(waiting.arrived + patience),
            Playout::Live { .. } => self.play_time(&waiting.frame, pace),
            Playout::Adaptive { .. } if *number == next || self.can_decode(&waiting.frame) => {
                self.play_time(&waiting.frame, pace)
            }
            Playout::Adaptive { .. } => self.end_of_grace(&waiting.frame, pace),
        }
    }

    /// A missing picture is awaited in the hope of its repetition; half-way through a key frame is asked for, too, so that what
    /// stands still does not do so twice as long.
    fn ask_in_time(&mut self, next: FrameNumber, pace: Pace, now: Time) {
        let Some(first) = self.waiting.values().next().filter(|_| self.asked_for != Some(next)) else { return };
        let play_time = self.play_time(&first.frame, pace).filter(|_| !self.can_decode(&first.frame));
        let is_late = play_time.is_some_and(|at| now.since(at) >= KEY_ASKED_AFTER);
        if is_late && matches!(self.playout, Playout::Adaptive { .. }) {
            self.asked_for = Some(next);
            self.wants_key = true;
        }
    }

    fn play_time(&self, frame: &Frame, pace: Pace) -> Option<Time> {
        pace.due(frame.captured).map(|due| due - self.reorder)
    }

    /// A missing frame without which `first`, the next one there, cannot be decoded is awaited a little longer: until
    /// something that can be decoded is due.
    fn end_of_grace(&self, first: &Frame, pace: Pace) -> Option<Time> {
        let patient = self.play_time(first, pace)? + PLAYOUT_GRACE;
        let decodable = self.waiting.values().find(|waiting| self.can_decode(&waiting.frame));
        let until = decodable.and_then(|waiting| self.play_time(&waiting.frame, pace));
        Some(until.map_or(patient, |until| until.min(patient)))
    }

    /// Whether the frame should have left long ago: nobody wants to hear the past in a hurry. At the beginning it is what
    /// the first pictures that are fresh need.
    fn is_stale(&self, due: Time, pace: Pace, now: Time) -> bool {
        if pace.sense() == Sense::Picture && now.since(self.began) < PLAYOUT_SETTLE {
            return false;
        }
        match self.playout {
            Playout::Live { .. } => now.since(due) > PLAYOUT_REBASE,
            Playout::Adaptive { .. } => now.since(due) > PLAYOUT_STALE,
            Playout::Ordered { .. } => false,
        }
    }

    /// Whether what comes next is of use and needs the frame: a picture that was repaired late is not shown for long, but
    /// without it nothing is until a new key frame.
    fn is_awaited(&self, frame: &Frame, pace: Pace, now: Time) -> bool {
        self.waiting.values().next().is_some_and(|waiting| {
            let due = self.play_time(&waiting.frame, pace);
            waiting.frame.needed() == Some(frame.number) && due.is_some_and(|due| !self.is_stale(due, pace, now))
        })
    }

    fn patience(&self, pace: Pace) -> Duration {
        match self.playout {
            Playout::Live { .. } | Playout::Adaptive { .. } => pace.delay(),
            Playout::Ordered { patience } => patience,
        }
    }

    fn close_gap_at_end(&mut self, next: FrameNumber) -> Option<Released> {
        let (end, _) = self.end?;
        self.next = Some(end);
        Some(Released::Lost(end.0 - next.0))
    }

    fn can_decode(&self, frame: &Frame) -> bool {
        frame.needed().is_none_or(|needed| self.decodable.contains(&needed))
    }

    fn remember(&mut self, frame: &Frame) {
        if frame.is_key() {
            self.wants_key = false;
        }
        self.decodable.insert(frame.number);
        while self.decodable.len() > usize::from(u8::MAX) {
            self.decodable.pop_first();
        }
    }
}

/// The latest capture time since the last key frame, one frame later.
fn latest(before: CaptureTime, is_key: bool, captured: CaptureTime) -> CaptureTime {
    if is_key { captured } else { before.max(captured) }
}

/// How much later than `second` the frame before it was captured.
fn step_back(first: CaptureTime, second: CaptureTime) -> Duration {
    Duration::from_micros(first.as_micros().saturating_sub(second.as_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::playout::{PlayoutClock, Sense};
    use crate::units::TrackId;
    use crate::wire::track::FrameKind;
    use bytes::Bytes;

    const DELAY: Duration = Duration::from_millis(80);

    fn frame(number: u32) -> Frame {
        Frame {
            track: TrackId(1),
            number: FrameNumber(number),
            captured: CaptureTime::from_micros(u64::from(number) * 20_000),
            kind: if number == 0 { FrameKind::Key } else { FrameKind::Delta },
            temporal_layer: 0,
            needs: u8::from(number > 0),
            data: Bytes::new(),
        }
    }

    /// One of four pictures in a second.
    fn slow(number: u32) -> Frame {
        Frame { captured: CaptureTime::from_micros(u64::from(number) * 250_000), ..frame(number) }
    }

    fn key(number: u32) -> Frame {
        Frame { kind: FrameKind::Key, needs: 0, ..frame(number) }
    }

    fn millis(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    /// A buffer with a clock of its own.
    struct Buffer {
        jitter: Jitter,
        clock: PlayoutClock,
    }

    impl Buffer {
        fn new(playout: Playout) -> Self {
            Buffer { jitter: Jitter::new(playout), clock: PlayoutClock::new(playout) }
        }

        fn push(&mut self, frame: Frame, now: Time) {
            self.clock.handle_frame(frame.captured, Sense::Picture, now);
            self.jitter.push(frame, now);
        }

        fn pace(&self) -> Pace {
            self.clock.pace(Sense::Picture)
        }

        fn poll(&mut self, now: Time) -> Option<Released> {
            self.jitter.poll(self.pace(), now)
        }

        fn poll_timeout(&self) -> Option<Time> {
            self.jitter.poll_timeout(self.pace())
        }
    }

    fn live() -> Buffer {
        Buffer::new(Playout::Live { delay: DELAY })
    }

    fn adaptive() -> Buffer {
        Buffer::new(Playout::Adaptive { least: Duration::from_millis(20), most: Duration::from_millis(500) })
    }

    fn drain(buffer: &mut Buffer, now: Time) -> Vec<Released> {
        std::iter::from_fn(|| buffer.poll(now)).collect()
    }

    #[test]
    fn what_waited_while_we_slept_is_not_played() {
        let asleep = Time::ZERO + PLAYOUT_SETTLE;
        let slept = |span: Duration| {
            let mut buffer = live();
            buffer.push(frame(0), Time::ZERO);
            assert!(matches!(buffer.poll(Time::ZERO + DELAY), Some(Released::Frame(_))));
            buffer.push(key(100), asleep);
            drain(&mut buffer, asleep + DELAY + span)
        };
        assert_eq!(key(100).captured.as_micros(), asleep.as_micros());
        assert_eq!(slept(PLAYOUT_REBASE), [Released::Lost(99), Released::Frame(key(100))]);
        assert_eq!(slept(PLAYOUT_REBASE + Duration::from_micros(1)), [Released::Lost(99), Released::Lost(1)]);
    }

    #[test]
    fn who_begins_with_what_was_shown_long_ago_catches_up_and_a_listener_does_not() {
        let begun = |sense: Sense| {
            let mut buffer = adaptive();
            // The first is a second old, and the second is not.
            for number in [0, 50] {
                let frame = if sense == Sense::Sound { key(number) } else { frame(number) };
                let frame = Frame { number: FrameNumber(number / 50), ..frame };
                buffer.clock.handle_frame(frame.captured, sense, millis(1000));
                buffer.jitter.push(frame, millis(1000));
            }
            let pace = buffer.clock.pace(sense);
            std::iter::from_fn(|| buffer.jitter.poll(pace, millis(1020))).collect::<Vec<_>>()
        };
        let is_lost = |released: &Released| matches!(released, Released::Lost(_));
        assert_eq!(begun(Sense::Picture).iter().map(is_lost).collect::<Vec<_>>(), [false, false]);
        assert_eq!(begun(Sense::Sound).iter().map(is_lost).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_picture_repaired_late_is_decoded_for_those_that_need_it() {
        let mut buffer = adaptive();
        buffer.push(slow(0), millis(0));
        assert_eq!(drain(&mut buffer, millis(20)), [Released::Frame(slow(0))]);
        buffer.push(slow(2), millis(500));
        assert_eq!(drain(&mut buffer, millis(790)), []);
        buffer.push(slow(1), millis(800));
        let released = drain(&mut buffer, millis(800));
        assert_eq!(released, [Released::Frame(slow(1)), Released::Frame(slow(2))]);
        assert!(!buffer.jitter.take_wants_key());
        // That it came after a later one does not make those that follow due any earlier.
        buffer.push(slow(3), millis(810));
        assert_eq!(buffer.poll_timeout(), buffer.pace().due(slow(3).captured));
    }

    #[test]
    fn a_key_frame_is_asked_for_while_a_repetition_may_still_come() {
        let mut buffer = adaptive();
        buffer.push(slow(0), millis(0));
        assert_eq!(drain(&mut buffer, millis(20)), [Released::Frame(slow(0))]);
        buffer.push(slow(2), millis(500));
        assert_eq!(drain(&mut buffer, millis(520) + KEY_ASKED_AFTER - Duration::from_micros(1)), []);
        assert!(!buffer.jitter.take_wants_key());
        assert_eq!(drain(&mut buffer, millis(520) + KEY_ASKED_AFTER), []);
        assert!(buffer.jitter.take_wants_key());
        assert_eq!(drain(&mut buffer, millis(530) + KEY_ASKED_AFTER), []);
        assert!(!buffer.jitter.take_wants_key(), "once for each picture");
    }

    #[test]
    fn who_looks_again_sees_what_is_new_though_it_begins_in_the_past() {
        let mut buffer = adaptive();
        let second = |number: u32, captured: u32| Frame { captured: slow(captured).captured, ..frame(number) };
        let again = |number: u32, captured: u32| Frame { captured: slow(captured).captured, ..key(number) };
        buffer.push(slow(0), millis(0));
        buffer.push(slow(1), millis(250));
        assert_eq!(drain(&mut buffer, millis(270)).len(), 2);
        // Nine seconds later: the key frame of the past, which is what the sender has at once, then one of now.
        buffer.push(again(2, 0), millis(9000));
        buffer.push(again(3, 36), millis(9001));
        assert_eq!(drain(&mut buffer, millis(9020)), [Released::Lost(1)]);
        assert_eq!(drain(&mut buffer, millis(9021)), [Released::Frame(again(3, 36))]);
        buffer.push(second(4, 37), millis(9250));
        assert_eq!(buffer.poll_timeout(), buffer.pace().due(slow(37).captured));
        assert_eq!(drain(&mut buffer, millis(9271)), [Released::Frame(second(4, 37))]);
    }

    #[test]
    fn frames_leave_evenly_though_they_came_in_a_burst() {
        let mut buffer = live();
        for number in 0..3 {
            buffer.push(frame(number), millis(100));
        }
        // The last of the burst took the least time: 100 ms − 40 ms.
        assert_eq!(buffer.poll_timeout(), Some(millis(60) + DELAY));
        assert_eq!(drain(&mut buffer, millis(60) + DELAY), [Released::Frame(frame(0))]);
        assert_eq!(drain(&mut buffer, millis(79) + DELAY), []);
        assert_eq!(drain(&mut buffer, millis(80) + DELAY), [Released::Frame(frame(1))]);
    }

    #[test]
    fn a_missing_frame_is_lost_when_the_next_one_is_due_and_what_needs_it_is_withheld() {
        let mut buffer = live();
        buffer.push(frame(0), millis(0));
        buffer.push(frame(2), millis(40));
        buffer.push(key(3), millis(60));
        let released = drain(&mut buffer, millis(60) + DELAY);
        assert_eq!(
            released,
            [Released::Frame(frame(0)), Released::Lost(1), Released::Lost(1), Released::Frame(key(3))]
        );
    }

    #[test]
    fn a_lost_frame_that_others_need_asks_for_a_key_frame_once() {
        let mut buffer = live();
        buffer.push(frame(0), millis(0));
        buffer.push(frame(2), millis(40));
        drain(&mut buffer, millis(40) + DELAY);
        assert!(buffer.jitter.take_wants_key());
        assert!(!buffer.jitter.take_wants_key());
    }

    #[test]
    fn a_lost_frame_of_a_higher_layer_harms_nobody() {
        let mut buffer = live();
        buffer.push(frame(0), millis(0));
        buffer.push(Frame { needs: 2, ..frame(2) }, millis(40));
        let released = drain(&mut buffer, millis(40) + DELAY);
        let last = Frame { needs: 2, ..frame(2) };
        assert_eq!(released, [Released::Frame(frame(0)), Released::Lost(1), Released::Frame(last)]);
    }

    #[test]
    fn nothing_leaves_before_the_first_key_frame() {
        let mut buffer = live();
        buffer.push(frame(5), millis(0));
        assert!(buffer.jitter.take_wants_key());
        assert_eq!(drain(&mut buffer, millis(1000)), []);
    }

    #[test]
    fn a_late_copy_never_returns() {
        let mut buffer = live();
        buffer.push(frame(0), millis(0));
        assert_eq!(drain(&mut buffer, millis(500)).len(), 1);
        buffer.push(frame(0), millis(500));
        assert_eq!(drain(&mut buffer, millis(1000)), []);
    }

    #[test]
    fn after_a_long_pause_frames_are_fresh_again() {
        let mut buffer = live();
        buffer.push(frame(0), millis(0));
        drain(&mut buffer, millis(80));
        buffer.push(frame(1), millis(10_000));
        assert_eq!(buffer.poll_timeout(), Some(millis(10_000) + DELAY));
    }

    #[test]
    fn pictures_sent_out_of_order_of_display_leave_without_waiting_for_it() {
        let mut buffer = live();
        let at = |number, captured| Frame { captured: CaptureTime::from_micros(captured), ..frame(number) };
        buffer.push(at(0, 0), millis(0));
        buffer.push(at(1, 60_000), millis(20));
        buffer.push(at(2, 20_000), millis(40));
        let released = drain(&mut buffer, millis(40) + DELAY);
        assert_eq!(released.len(), 3, "{released:?}");
    }

    #[test]
    fn an_ordered_gap_lasts_as_long_as_patience() {
        let patience = Duration::from_millis(500);
        let mut buffer = Buffer::new(Playout::Ordered { patience });
        buffer.push(frame(0), millis(0));
        assert_eq!(drain(&mut buffer, millis(0)), [Released::Frame(frame(0))]);
        buffer.push(key(2), millis(40));
        assert_eq!(drain(&mut buffer, millis(539)), []);
        assert_eq!(drain(&mut buffer, millis(540)), [Released::Lost(1), Released::Frame(key(2))]);
    }

    #[test]
    fn frames_missing_at_the_end_are_lost_too() {
        let mut buffer = live();
        buffer.push(frame(0), millis(0));
        drain(&mut buffer, millis(80));
        buffer.jitter.handle_end(FrameNumber(4), millis(100));
        assert!(!buffer.jitter.is_finished());
        assert_eq!(drain(&mut buffer, millis(100) + DELAY), [Released::Lost(3)]);
        assert!(buffer.jitter.is_finished());
    }

    #[test]
    fn a_flood_of_waiting_frames_is_bounded() {
        let mut buffer = Buffer::new(Playout::Ordered { patience: Duration::from_secs(60) });
        buffer.push(frame(0), millis(0));
        for number in 2..10_000 {
            buffer.push(frame(number), millis(0));
        }
        assert!(buffer.jitter.waiting.len() <= MAX_WAITING_FRAMES);
    }
}
