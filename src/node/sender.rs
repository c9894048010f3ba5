//! Everything that goes to one peer: media in, datagrams out, as fast as the way carries them and repaired as it loses.
//!
//! ```text
//! frames → queue (sound first, deadlines) ─┐
//!                    losses worth repeating ┼→ pace → datagrams → network
//!                                    parity ┘           │
//!          estimate, repair plan ← reports ← history ←──┘
//! ```
//! Sound never waits for the pace, but counts in it. What a report says is lost is sent again if its frame can still use
//! it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::media::parity::protect;
use crate::params::{MAX_BUNDLE, REPEAT_DEADLINE};
use crate::rate::estimate::Estimator;
use crate::rate::history::{History, Loss, News};
use crate::rate::pace::Pace;
use crate::rate::queue::{Class, Next, Packets, SendQueue};
use crate::rate::repair::RepairPlan;
use crate::units::{Bitrate, Time, TrackId};
use crate::wire::feedback::Feedback;
use crate::wire::packet::{HEADER_LEN, Packet};
use crate::wire::repair::{Bundle, PARITY_HEADER_LEN, Parity};

/// What goes to one peer.
#[derive(Debug)]
pub(super) struct Sender {
    queue: SendQueue,
    history: History,
    estimator: Estimator,
    repair: RepairPlan,
    pace: Pace,
    /// The last sounds of each track, newest first.
    sounds: BTreeMap<TrackId, VecDeque<Packets>>,
    parity: VecDeque<Parity>,
    repeats: VecDeque<Repeat>,
    /// Until when the pace holds back what waits.
    held_until: Option<Time>,
    sent: SentBytes,
}

/// A packet to be sent again.
#[derive(Debug)]
struct Repeat {
    packets: Packets,
    index: usize,
    until: Time,
}

/// Bytes sent so far, by what they were for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct SentBytes {
    /// All of them.
    pub(super) total: u64,
    /// Of these, parity, copies and repetitions.
    pub(super) repair: u64,
}

impl SentBytes {
    /// Share of repair in all of it, 0 to 1.
    pub(super) fn repair_share(self) -> f64 {
        if self.total == 0 { 0.0 } else { self.repair as f64 / self.total as f64 }
    }
}

impl Sender {
    /// A sender over a way nothing is known of.
    pub(super) fn new(now: Time) -> Self {
        Sender {
            queue: SendQueue::new(),
            history: History::new(),
            estimator: Estimator::new(now),
            repair: RepairPlan::new(),
            pace: Pace::new(now),
            sounds: BTreeMap::new(),
            parity: VecDeque::new(),
            repeats: VecDeque::new(),
            held_until: None,
            sent: SentBytes::default(),
        }
    }

    /// Puts a frame in line, of use until `deadline`.
    pub(super) fn push(&mut self, packets: Packets, class: Class, deadline: Time) {
        self.queue.push(packets, class, deadline);
    }

    /// The next datagram, if one may go now.
    pub(super) fn poll(&mut self, now: Time) -> Option<Bytes> {
        if let Some(next) = self.queue.poll(Class::Sound, now) {
            return Some(self.send_sound(next, now));
        }
        self.pace.set_rate(self.estimator.rate(), self.estimator.queue(), self.estimator.is_new(), now);
        self.held_until = (!self.pace.may_send(now) && !self.is_empty()).then(|| self.pace.free_at());
        if self.held_until.is_some() {
            return None;
        }
        if let Some(repeat) = self.next_repeat(now) {
            let packet = repeat.packets.get(repeat.index)?.clone();
            return Some(self.send_packet(packet, Some((repeat.packets, repeat.index)), true, now));
        }
        if let Some(parity) = self.parity.pop_front() {
            return Some(self.send_parity(parity, now));
        }
        let next = self.queue.poll(Class::Picture, now)?;
        if next.index + 1 == next.packets.len() {
            let count = self.repair.parity(next.packets.len());
            self.parity.extend(protect(&next.packets, count));
        }
        let packet = next.packets.get(next.index)?.clone();
        Some(self.send_packet(packet, Some((next.packets, next.index)), false, now))
    }

    /// A track that goes on only with a key frame.
    pub(super) fn take_lacks_key(&mut self, now: Time) -> Option<TrackId> {
        self.queue.take_lacks_key(now)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.parity.is_empty() && self.repeats.is_empty()
    }

    /// Whether something may go now.
    pub(super) fn has_due(&self, now: Time) -> bool {
        self.queue.has_sound() || !self.is_empty() && self.pace.may_send(now)
    }

    /// How much of the rate is left for media when repair has taken its share.
    pub(super) fn media_rate(&self) -> Bitrate {
        let share = self.repair.overhead();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a rate")]
        Bitrate::from_bits((self.rate().as_bits() as f64 * 0.95 / (1.0 + share)) as u64)
    }

    /// When something that waits for the pace may go, or [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.held_until.into_iter().chain(self.estimator.poll_timeout()).min()
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        self.held_until = self.held_until.filter(|until| *until > now);
        self.estimator.handle_timeout(now);
    }

    /// A report of the peer's. `rtt` is the path's round-trip time.
    pub(super) fn handle_feedback(&mut self, feedback: &Feedback, rtt: Duration, now: Time) {
        let news = self.history.handle_feedback(feedback);
        self.estimator.handle_news(&news, now);
        self.repair.handle_news(&news, rtt);
        self.repeat(news, now);
    }

    /// Packets take another path from now on.
    pub(super) fn handle_switch(&mut self, now: Time) {
        self.estimator.handle_switch(now);
        self.repair.handle_switch();
    }

    /// How fast may be sent.
    pub(super) fn rate(&self) -> Bitrate {
        self.estimator.rate()
    }

    /// How long packets wait on the way.
    pub(super) fn queue_delay(&self) -> Duration {
        self.estimator.queue()
    }

    /// Bytes sent so far.
    pub(super) fn sent(&self) -> SentBytes {
        self.sent
    }

    /// Frames dropped because they could not leave in time.
    pub(super) fn dropped_frames(&self) -> u64 {
        self.queue.dropped_frames()
    }

    /// Bytes QUIC may have on their way so that it never holds back what goes at this pace.
    pub(super) fn window(&self, rtt: Duration) -> u64 {
        self.pace.rate().bytes_in(rtt * 2 + Duration::from_millis(300))
    }

    fn send_sound(&mut self, next: Next, now: Time) -> Bytes {
        let own: Vec<Packet> = next.packets.to_vec();
        let track = own.first().map(|packet| packet.header.track);
        let copies = self.repair.sound_copies().min(MAX_BUNDLE - 1);
        let recent = track.and_then(|track| self.sounds.get(&track)).into_iter().flatten().take(copies);
        let copied: Vec<Packet> = recent.flat_map(|packets| packets.iter().cloned()).collect();
        if let Some(track) = track {
            let sounds = self.sounds.entry(track).or_default();
            sounds.push_front(next.packets.clone());
            sounds.truncate(MAX_BUNDLE - 1);
        }
        let is_alone = copied.is_empty() && own.len() == 1;
        match own.first() {
            Some(packet) if is_alone => self.send_packet(packet.clone(), None, false, now),
            _ => {
                let repair: usize = copied.iter().map(|packet| packet.payload.len()).sum();
                let mut bundle = Bundle { hop_sequence: 0, packets: own.into_iter().chain(copied).collect() };
                let len = bundle.encode().len();
                bundle.hop_sequence = self.history.handle_sent(len, None, now);
                self.count(len, repair, now);
                bundle.encode()
            }
        }
    }

    fn send_packet(
        &mut self,
        mut packet: Packet,
        origin: Option<(Packets, usize)>,
        is_repair: bool,
        now: Time,
    ) -> Bytes {
        let len = HEADER_LEN + packet.payload.len();
        packet.header.hop_sequence = self.history.handle_sent(len, origin, now);
        self.count(len, if is_repair { len } else { 0 }, now);
        packet.encode()
    }

    fn send_parity(&mut self, mut parity: Parity, now: Time) -> Bytes {
        let len = PARITY_HEADER_LEN + parity.payload.len();
        parity.header.hop_sequence = self.history.handle_sent(len, None, now);
        self.count(len, len, now);
        parity.encode()
    }

    fn count(&mut self, len: usize, repair: usize, now: Time) {
        self.sent.total += len as u64;
        self.sent.repair += repair as u64;
        self.estimator.handle_sent(len, now);
        self.pace.handle_sent(len, now);
    }

    /// What a report says is lost is sent again, once for each time it is lost, while it can be of use.
    fn repeat(&mut self, news: News, now: Time) {
        for Loss { sent, origin, .. } in news.lost {
            let Some((packets, index)) = origin else { continue };
            let until = sent + REPEAT_DEADLINE;
            if self.repair.is_worth_repeating(until.since(now)) {
                self.repeats.push_back(Repeat { packets, index, until });
            }
        }
    }

    fn next_repeat(&mut self, now: Time) -> Option<Repeat> {
        while let Some(repeat) = self.repeats.pop_front() {
            if self.repair.is_worth_repeating(repeat.until.since(now)) {
                return Some(repeat);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;
    use crate::media::packetize::packetize;
    use crate::units::{CaptureTime, FrameNumber};
    use crate::wire::repair::{KIND_BUNDLE, KIND_PARITY};
    use crate::wire::track::FrameKind;

    const LATER: Time = Time::from_millis(1000);
    const RTT: Duration = Duration::from_millis(50);

    fn frame(track: u16, number: u32, len: usize) -> Packets {
        let frame = Frame {
            track: TrackId(track),
            number: FrameNumber(number),
            captured: CaptureTime::default(),
            kind: FrameKind::Key,
            temporal_layer: 0,
            needs: 0,
            data: Bytes::from(vec![1; len]),
        };
        packetize(&frame).unwrap().into()
    }

    fn drain(sender: &mut Sender, now: Time) -> Vec<Bytes> {
        std::iter::from_fn(|| sender.poll(now)).collect()
    }

    /// A report about packets from 0 on: arrived or not.
    fn report(fates: &[bool]) -> Feedback {
        let arrival = |(at, arrived): (usize, &bool)| arrived.then(|| u32::try_from(at).unwrap() * 1000);
        Feedback { first: 0, arrivals: fates.iter().enumerate().map(arrival).collect() }
    }

    #[test]
    fn a_picture_goes_at_once_and_a_large_one_at_the_pace() {
        let mut sender = Sender::new(Time::ZERO);
        sender.push(frame(1, 0, 4000), Class::Picture, LATER);
        assert_eq!(drain(&mut sender, Time::ZERO).len(), 4);
        sender.push(frame(1, 1, 100_000), Class::Picture, LATER);
        let at_once = drain(&mut sender, Time::ZERO).len();
        assert!(at_once < 20, "{at_once}");
        let next = sender.poll_timeout().unwrap();
        assert!(next > Time::ZERO);
        assert!(!drain(&mut sender, next).is_empty());
    }

    #[test]
    fn sound_goes_past_a_picture_that_waits_for_the_pace() {
        let mut sender = Sender::new(Time::ZERO);
        sender.push(frame(1, 0, 100_000), Class::Picture, LATER);
        drain(&mut sender, Time::ZERO);
        sender.push(frame(2, 0, 80), Class::Sound, LATER);
        assert_eq!(drain(&mut sender, Time::ZERO).len(), 1);
    }

    #[test]
    fn a_lost_packet_is_sent_again_while_it_is_of_use() {
        let mut sender = Sender::new(Time::ZERO);
        sender.push(frame(1, 0, 5000), Class::Picture, LATER);
        let sent = drain(&mut sender, Time::ZERO);
        assert_eq!(sent.len(), 5);
        sender.handle_feedback(&report(&[true, false, true, true, true]), RTT, Time::from_millis(60));
        let again = drain(&mut sender, Time::from_millis(60));
        assert_eq!(again.len(), 1);
        let (first, second) = (Packet::decode(&sent[1]).unwrap(), Packet::decode(&again[0]).unwrap());
        assert_eq!(second.payload, first.payload);
        assert_eq!(second.header.hop_sequence, 5, "a repetition is a packet of its own");
        assert!(sender.sent().repair > 0);
    }

    #[test]
    fn a_lost_packet_of_a_frame_that_is_past_is_not_sent_again() {
        let mut sender = Sender::new(Time::ZERO);
        sender.push(frame(1, 0, 5000), Class::Picture, LATER);
        drain(&mut sender, Time::ZERO);
        let late = Time::ZERO + REPEAT_DEADLINE;
        sender.handle_feedback(&report(&[true, false, true, true, true]), RTT, late);
        assert!(drain(&mut sender, late).is_empty());
    }

    #[test]
    fn on_a_lossy_way_sound_carries_copies_and_pictures_parity() {
        let mut sender = Sender::new(Time::ZERO);
        for number in 0..200 {
            sender.push(frame(2, number, 80), Class::Sound, LATER);
        }
        let plain = drain(&mut sender, Time::ZERO);
        assert!(plain.iter().all(|datagram| datagram[0] == 1));
        let fates: Vec<bool> = (0..200).map(|at| at % 4 != 0).collect();
        for _ in 0..4 {
            sender.handle_feedback(&report(&fates), RTT, Time::from_millis(500));
        }
        sender.push(frame(2, 200, 80), Class::Sound, LATER);
        sender.push(frame(1, 0, 3000), Class::Picture, LATER);
        let mut kinds = Vec::new();
        let mut now = Time::from_millis(500);
        while !sender.is_empty() {
            kinds.extend(drain(&mut sender, now).iter().map(|datagram| datagram[0]));
            now = sender.poll_timeout().unwrap().max(now);
        }
        assert_eq!(kinds.first(), Some(&KIND_BUNDLE));
        assert!(kinds.contains(&KIND_PARITY), "{kinds:?}");
    }
}
