//! What waits to be sent to one peer: sound first, then pictures in order, each until its deadline.
//!
//! A frame that cannot leave in time is dropped whole, and with it every frame that needs it, so that the network never
//! carries what nobody can use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::params::{KEY_FRAME_AFTER_DROP, MAX_QUEUED_FRAMES};
use crate::units::{FrameNumber, Time, TrackId};
use crate::wire::packet::{Header, Packet};
use crate::wire::track::FrameKind;

/// The packets of one frame; shared by all peers it goes to.
pub type Packets = Arc<[Packet]>;

/// Frames on their way to one peer.
#[derive(Debug, Default)]
pub struct SendQueue {
    sound: VecDeque<Queued>,
    pictures: VecDeque<Queued>,
    /// Frames that were dropped, as far back as others may need them.
    dropped: BTreeMap<TrackId, BTreeSet<FrameNumber>>,
    dropped_frames: u64,
    /// A track of which nothing can be sent before its next key frame.
    lacks_key: Option<TrackId>,
    key_asked: Option<Time>,
}

/// The next packet of a frame.
#[derive(Clone, Debug)]
pub struct Next {
    /// All packets of the frame. Sound goes whole.
    pub packets: Packets,
    /// Which of them is next.
    pub index: usize,
}

/// Which of the two lines a frame stands in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// Goes first.
    Sound,
    /// Goes when no sound waits.
    Picture,
}

#[derive(Debug)]
struct Queued {
    packets: Packets,
    sent: usize,
    deadline: Time,
}

impl SendQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a frame in line, of use until `deadline`.
    pub fn push(&mut self, packets: Packets, class: Class, deadline: Time) {
        let line = match class {
            Class::Sound => &mut self.sound,
            Class::Picture => &mut self.pictures,
        };
        line.push_back(Queued { packets, sent: 0, deadline });
        if line.len() > MAX_QUEUED_FRAMES {
            let oldest = line.pop_front();
            self.note_dropped(oldest);
        }
    }

    /// The next packet of a class to send; a sound is taken whole.
    pub fn poll(&mut self, class: Class, now: Time) -> Option<Next> {
        loop {
            let line = match class {
                Class::Sound => &mut self.sound,
                Class::Picture => &mut self.pictures,
            };
            let queued = line.front_mut()?;
            let is_orphan = queued.needs_any(&self.dropped);
            if (is_orphan || queued.deadline < now) && queued.sent == 0 {
                let hopeless = line.pop_front();
                let header = hopeless.as_ref().and_then(Queued::header);
                if let Some(header) = header.filter(|header| is_orphan && header.temporal_layer == 0) {
                    self.lacks_key = Some(header.track);
                }
                self.note_dropped(hopeless);
                continue;
            }
            let next = Next { packets: queued.packets.clone(), index: queued.sent };
            queued.sent = if class == Class::Sound { queued.packets.len() } else { queued.sent + 1 };
            if queued.sent >= queued.packets.len() {
                line.pop_front();
            }
            return Some(next);
        }
    }

    /// Whether sound waits.
    pub fn has_sound(&self) -> bool {
        !self.sound.is_empty()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.sound.is_empty() && self.pictures.is_empty()
    }

    /// A track whose pictures all need one that was dropped: without a new key frame its receiver sees nothing more, and has
    /// no packet from which to learn so. Named rarely: the others get that key frame too.
    pub fn take_lacks_key(&mut self, now: Time) -> Option<TrackId> {
        let has_rested = self.key_asked.is_none_or(|asked| now.since(asked) >= KEY_FRAME_AFTER_DROP);
        let track = self.lacks_key.take_if(|_| has_rested)?;
        self.key_asked = Some(now);
        Some(track)
    }

    /// Frames dropped because their deadline had passed, or one they need had.
    pub fn dropped_frames(&self) -> u64 {
        self.dropped_frames
    }

    fn note_dropped(&mut self, queued: Option<Queued>) {
        let Some(header) = queued.as_ref().and_then(Queued::header) else { return };
        self.dropped_frames += 1;
        let dropped = self.dropped.entry(header.track).or_default();
        dropped.insert(header.frame);
        while dropped.len() > usize::from(u8::MAX) {
            dropped.pop_first();
        }
    }
}

impl Queued {
    fn header(&self) -> Option<Header> {
        self.packets.first().map(|packet| packet.header)
    }

    fn needs_any(&self, dropped: &BTreeMap<TrackId, BTreeSet<FrameNumber>>) -> bool {
        let Some(header) = self.header() else { return false };
        if header.kind == FrameKind::Key || header.needs == 0 {
            return false;
        }
        let needed = FrameNumber(header.frame.0.saturating_sub(u32::from(header.needs)));
        dropped.get(&header.track).is_some_and(|dropped| dropped.contains(&needed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Frame, packetize::packetize};
    use crate::units::CaptureTime;
    use bytes::Bytes;

    fn frame(track: u16, number: u32, len: usize) -> Packets {
        let frame = Frame {
            track: TrackId(track),
            number: FrameNumber(number),
            captured: CaptureTime::default(),
            kind: if number == 0 { FrameKind::Key } else { FrameKind::Delta },
            temporal_layer: 0,
            needs: u8::from(number > 0),
            data: Bytes::from(vec![0; len]),
        };
        packetize(&frame).unwrap().into()
    }

    fn next(queue: &mut SendQueue, now: Time) -> Option<(u16, u32)> {
        let next = queue.poll(Class::Sound, now).or_else(|| queue.poll(Class::Picture, now))?;
        let header = next.packets[next.index].header;
        Some((header.track.0, header.frame.0))
    }

    fn sent(queue: &mut SendQueue, now: Time) -> Vec<(u16, u32)> {
        std::iter::from_fn(|| next(queue, now)).collect()
    }

    const SOON: Time = Time::from_millis(100);
    const LATE: Time = Time::from_millis(101);

    #[test]
    fn sound_overtakes_a_picture_that_is_half_sent() {
        let mut queue = SendQueue::new();
        queue.push(frame(1, 0, 3000), Class::Picture, SOON);
        assert!(next(&mut queue, Time::ZERO).is_some());
        queue.push(frame(2, 0, 100), Class::Sound, SOON);
        assert_eq!(sent(&mut queue, Time::ZERO), [(2, 0), (1, 0), (1, 0)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_frame_goes_until_its_deadline_and_not_a_moment_longer() {
        let mut queue = SendQueue::new();
        queue.push(frame(1, 0, 10), Class::Picture, SOON);
        queue.push(frame(1, 0, 10), Class::Picture, SOON);
        assert!(next(&mut queue, SOON).is_some());
        assert!(next(&mut queue, LATE).is_none());
        assert_eq!(queue.dropped_frames(), 1);
    }

    #[test]
    fn what_needs_a_dropped_frame_is_dropped_until_the_next_key_frame() {
        let mut queue = SendQueue::new();
        queue.push(frame(1, 1, 10), Class::Picture, SOON);
        queue.push(frame(1, 2, 10), Class::Picture, LATE);
        queue.push(frame(1, 3, 10), Class::Picture, LATE);
        queue.push(frame(1, 0, 10), Class::Picture, LATE);
        queue.push(frame(1, 5, 10), Class::Picture, LATE);
        assert_eq!(sent(&mut queue, LATE), [(1, 0), (1, 5)]);
    }

    #[test]
    fn a_receiver_that_gets_nothing_any_more_is_given_a_key_frame_now_and_then() {
        let mut queue = SendQueue::new();
        queue.push(frame(1, 1, 10), Class::Picture, SOON);
        assert!(queue.poll(Class::Picture, LATE).is_none());
        assert_eq!(queue.take_lacks_key(LATE), None, "nothing needs the dropped frame yet");
        for number in 2..4 {
            queue.push(frame(1, number, 10), Class::Picture, LATE);
        }
        assert!(queue.poll(Class::Picture, LATE).is_none());
        assert_eq!(queue.take_lacks_key(LATE), Some(TrackId(1)));
        queue.push(frame(1, 4, 10), Class::Picture, LATE);
        assert!(queue.poll(Class::Picture, LATE).is_none());
        let rested = LATE + KEY_FRAME_AFTER_DROP;
        assert_eq!(queue.take_lacks_key(rested - std::time::Duration::from_micros(1)), None);
        assert_eq!(queue.take_lacks_key(rested), Some(TrackId(1)));
    }

    #[test]
    fn a_frame_that_has_begun_is_finished() {
        let mut queue = SendQueue::new();
        queue.push(frame(1, 0, 2000), Class::Picture, SOON);
        assert!(next(&mut queue, SOON).is_some());
        assert!(next(&mut queue, LATE).is_some());
    }

    #[test]
    fn a_receiver_that_takes_nothing_holds_a_bounded_queue() {
        let mut queue = SendQueue::new();
        for number in 0..10_000 {
            queue.push(frame(1, number, 10), Class::Picture, SOON);
        }
        assert_eq!(queue.pictures.len(), MAX_QUEUED_FRAMES);
    }
}
