//! What waits to be sent to one peer: sound first, then pictures in order, each until its deadline.
//!
//! A frame that cannot leave in time is dropped whole, and with it every frame that needs it, so that the network never
//! carries what nobody can use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::params::{KEY_FRAME_AFTER_DROP, MAX_QUEUED_FRAMES, SUPERSEDED_AFTER};
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

/// How much the next thing to send matters; what matters more is less.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rank {
    /// Sound.
    Sound,
    /// A picture that needs no other.
    Key,
    /// A picture that others need; or what is sent again, whose time is up sooner.
    Base,
    /// A picture that none needs.
    Enhancement,
    /// Parity.
    Repair,
    /// What goes only when nothing else does.
    Idle,
}

/// When something is to be sent, beside what waits for others.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Urgency {
    /// First by this.
    pub rank: Rank,
    /// Then by this.
    pub deadline: Time,
    /// What has begun goes on before its like begins.
    pub is_fresh: bool,
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

    /// Puts a frame in line, of use until `deadline`. A key frame takes the place of its track's that have waited for long.
    pub fn push(&mut self, packets: Packets, class: Class, deadline: Time) {
        let header = packets.first().map(|packet| packet.header);
        if let Some(header) = header.filter(|header| header.kind == FrameKind::Key && class == Class::Picture) {
            self.supersede(header.track, deadline);
        }
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

    /// The next packet of a class to send.
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
            queued.sent += 1;
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

    /// How much the next packet matters.
    pub fn urgency(&self) -> Option<Urgency> {
        let sound = self.sound.front().map(|queued| queued.urgency(Rank::Sound));
        sound.or_else(|| self.pictures.front().map(|queued| queued.urgency(queued.rank())))
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

    /// Whether a key frame of this track waits to be sent, or to be sent to its end.
    pub fn has_key(&self, track: TrackId) -> bool {
        let is_key = |header: Header| header.track == track && header.kind == FrameKind::Key;
        self.pictures.iter().any(|queued| queued.header().is_some_and(is_key))
    }

    /// Who lags behind and will be shown a picture that needs no other is not shown those before it.
    fn supersede(&mut self, track: TrackId, deadline: Time) {
        let is_old = |queued: &Queued| queued.sent == 0 && queued.header().is_some_and(|header| header.track == track);
        let oldest = self.pictures.iter().find_map(|queued| is_old(queued).then_some(queued.deadline));
        if oldest.is_none_or(|oldest| deadline.since(oldest) < SUPERSEDED_AFTER) {
            return;
        }
        let (old, kept): (VecDeque<Queued>, _) = std::mem::take(&mut self.pictures).into_iter().partition(is_old);
        self.pictures = kept;
        old.into_iter().for_each(|queued| self.note_dropped(Some(queued)));
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

    fn rank(&self) -> Rank {
        match self.header() {
            Some(header) if header.kind == FrameKind::Key => Rank::Key,
            Some(header) if header.temporal_layer > 0 => Rank::Enhancement,
            Some(_) | None => Rank::Base,
        }
    }

    fn urgency(&self, rank: Rank) -> Urgency {
        Urgency { rank, deadline: self.deadline, is_fresh: self.sent == 0 }
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

    #[test]
    fn a_key_frame_takes_the_place_of_what_has_waited_for_long_and_of_nothing_else() {
        let waits_for = |waited: std::time::Duration| {
            let mut queue = SendQueue::new();
            queue.push(frame(1, 1, 10), Class::Picture, SOON);
            queue.push(frame(1, 2, 10), Class::Picture, SOON + std::time::Duration::from_millis(1));
            queue.push(frame(3, 1, 10), Class::Picture, SOON);
            assert!(!queue.has_key(TrackId(1)));
            queue.push(frame(1, 0, 10), Class::Picture, SOON + waited);
            assert!(queue.has_key(TrackId(1)) && !queue.has_key(TrackId(3)));
            sent(&mut queue, Time::ZERO)
        };
        assert_eq!(waits_for(SUPERSEDED_AFTER), [(3, 1), (1, 0)]);
        let sooner = SUPERSEDED_AFTER - std::time::Duration::from_micros(1);
        assert_eq!(waits_for(sooner), [(1, 1), (1, 2), (3, 1), (1, 0)]);
    }

    #[test]
    fn sound_matters_most_then_key_frames_then_what_others_need() {
        let urgency = |packets: Packets, class| {
            let mut queue = SendQueue::new();
            queue.push(packets, class, SOON);
            queue.urgency().unwrap()
        };
        let upper = |packets: Packets| -> Packets {
            let layer =
                |packet: &Packet| Packet { header: Header { temporal_layer: 1, ..packet.header }, ..packet.clone() };
            packets.iter().map(layer).collect()
        };
        let order = [
            urgency(frame(2, 0, 10), Class::Sound),
            urgency(frame(1, 0, 10), Class::Picture),
            urgency(frame(1, 1, 10), Class::Picture),
            urgency(upper(frame(1, 1, 10)), Class::Picture),
        ];
        assert!(order.is_sorted_by(|one, other| one < other), "{order:?}");
    }

    #[test]
    fn what_has_begun_goes_on_and_what_is_due_sooner_goes_first() {
        let mut begun = SendQueue::new();
        begun.push(frame(1, 1, 3000), Class::Picture, SOON);
        let fresh = begun.urgency();
        assert!(next(&mut begun, Time::ZERO).is_some());
        assert!(begun.urgency() < fresh);
        let mut later = SendQueue::new();
        later.push(frame(1, 1, 3000), Class::Picture, LATE);
        assert!(fresh < later.urgency());
    }
}
