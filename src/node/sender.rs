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
use crate::params::{
    MAX_BUNDLE, NARROW, PARITY_LEAST, PICTURE_SHARE, PICTURE_SHARE_NARROW, QUEUE_QUIET, REPAIR_CREDIT, ROOMY,
    SOUND_RATE,
};
use crate::rate::bulk::Bulk;
use crate::rate::copies::Copies;
use crate::rate::estimate::{Estimator, NewPath};
use crate::rate::history::{History, Loss, News};
use crate::rate::pace::Pace;
use crate::rate::probe::Prober;
use crate::rate::queue::{Class, Next, Packets, SendQueue};
use crate::rate::repair::RepairPlan;
use crate::rate::repeats::Repeats;
use crate::units::{Bitrate, Time, TrackId, TransferId};
use crate::wire::chunk::CHUNK_HEADER_LEN;
use crate::wire::feedback::Feedback;
use crate::wire::packet::{HEADER_LEN, Packet, wrap_sequence};
use crate::wire::repair::{Bundle, PARITY_HEADER_LEN, Parity};

/// What goes to one peer.
#[derive(Debug)]
pub(super) struct Sender {
    queue: SendQueue,
    history: History,
    estimator: Estimator,
    repair: RepairPlan,
    /// Whether the way carries far more than pictures take, and parity in the room between would spare them delay.
    is_roomy: bool,
    pace: Pace,
    prober: Prober,
    bulk: Bulk,
    /// Whether what is due has been announced and waits to be fetched.
    is_announced: bool,
    /// The last packet of a picture, of which trains are made.
    last_packet: Option<Packet>,
    copies: Copies,
    parity: VecDeque<Parity>,
    repeats: Repeats,
    /// Until when the pace holds back what waits.
    held_until: Option<Time>,
    /// Bytes of repair that pictures may still have: what is lost more often than not is not worth it.
    repair_credit: i64,
    sent: SentBytes,
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
            is_roomy: false,
            pace: Pace::new(now),
            prober: Prober::new(now),
            bulk: Bulk::new(now),
            is_announced: false,
            last_packet: None,
            copies: Copies::default(),
            parity: VecDeque::new(),
            repeats: Repeats::default(),
            held_until: None,
            repair_credit: REPAIR_CREDIT,
            sent: SentBytes::default(),
        }
    }

    /// Puts a frame in line, of use until `deadline`.
    pub(super) fn push(&mut self, packets: Packets, class: Class, deadline: Time) {
        self.queue.push(packets, class, deadline);
    }

    /// The next datagram, if one may go now.
    pub(super) fn poll(&mut self, now: Time) -> Option<Bytes> {
        self.is_announced = false;
        self.repeats.handle_timeout(now);
        if let Some(next) = self.queue.poll(Class::Sound, now) {
            return Some(self.send_sound(next, now));
        }
        self.pace.set_rate(self.estimator.rate(), self.estimator.queue(), self.estimator.is_new(), now);
        self.held_until = (!self.pace.may_send(now) && !self.is_empty()).then(|| self.pace.free_at());
        if self.held_until.is_some() {
            return None;
        }
        if self.repair_credit <= 0 {
            self.repeats.clear();
            self.parity.clear();
        } else if self.estimator.is_trying_less() {
            // Repetitions are few, and without them a trial that finds only weather has cost pictures.
            self.parity.clear();
        }
        if let Some(repeat) = self.repeats.poll(&self.repair, now) {
            let packet = repeat.packets.get(repeat.index)?.clone();
            return Some(self.send_packet(packet, Some((repeat.packets, repeat.index)), true, now));
        }
        if let Some(parity) = self.parity.pop_front() {
            return Some(self.send_parity(parity, now));
        }
        let Some(next) = self.queue.poll(Class::Picture, now) else {
            return self.next_of_train(now).or_else(|| self.next_of_bulk(now));
        };
        if next.index + 1 == next.packets.len() {
            // What nothing depends on is only sent again, unless there is room.
            let is_base = next.packets.first().is_some_and(|packet| packet.header.temporal_layer == 0);
            let is_protected = (is_base || self.is_roomy) && self.carries_parity();
            let count = if is_protected { self.repair.parity(next.packets.len(), self.is_roomy) } else { 0 };
            self.parity.extend(protect(&next.packets, count));
        }
        let packet = next.packets.get(next.index)?.clone();
        self.last_packet = Some(packet.clone());
        self.repair_credit = (self.repair_credit + 2 * signed(packet.payload.len())).min(REPAIR_CREDIT);
        Some(self.send_packet(packet, Some((next.packets, next.index)), false, now))
    }

    /// The person would like to send this fast in all.
    pub(super) fn set_wish(&mut self, wish: Bitrate) {
        self.prober.set_wish(wish);
    }

    /// Pictures take this rate: whether the way carries far more. Gives the rate to find out about where that is not known
    /// and would be put to use.
    pub(super) fn review_room(&mut self, pictures: Bitrate) -> Option<Bitrate> {
        let enough = Bitrate::from_bits(pictures.as_bits().saturating_mul(ROOMY));
        // Where packets overtake each other pictures wait for the late ones, whatever is done about the lost ones.
        let would_use_it = self.repair.would_use_room() && !self.history.is_reordering();
        self.is_roomy = would_use_it && self.rate() >= enough;
        (would_use_it && !self.is_roomy).then_some(enough)
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
        self.queue.has_sound()
            || (!self.is_empty() || self.repeats.later_due().is_some_and(|at| at <= now)) && self.pace.may_send(now)
            || self.idle_due().is_some_and(|at| at <= now)
    }

    /// How much of the rate is left for pictures when repair and so many tracks of sound have taken their share.
    pub(super) fn picture_rate(&self, sounds: usize) -> Bitrate {
        let sound = SOUND_RATE.as_bits() * (sounds * (1 + self.sound_copies())) as u64;
        let (times, of) = if self.rate() < NARROW { PICTURE_SHARE_NARROW } else { PICTURE_SHARE };
        let left = (self.rate().as_bits() * times / of).saturating_sub(sound);
        let overhead = if self.carries_parity() { self.repair.overhead(self.is_roomy) } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a rate")]
        Bitrate::from_bits((left as f64 / (1.0 + overhead)) as u64)
    }

    fn carries_parity(&self) -> bool {
        self.rate() >= PARITY_LEAST
    }

    /// When something that waits for the pace may go, or [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let due = self.idle_due().into_iter().chain(self.repeats.later_due()).min();
        let due = due.filter(|_| self.held_until.is_none() && !self.is_announced);
        self.held_until.into_iter().chain(self.estimator.poll_timeout()).chain(due).min()
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        self.held_until = self.held_until.filter(|until| *until > now);
        self.estimator.handle_timeout(now);
        self.is_announced = [self.idle_due(), self.repeats.later_due()].into_iter().flatten().any(|due| due <= now);
    }

    /// A report of the peer's. `rtt` is the path's round-trip time. Gives how many bytes of which transfers have arrived.
    pub(super) fn handle_feedback(
        &mut self,
        feedback: &Feedback,
        rtt: Duration,
        now: Time,
    ) -> BTreeMap<TransferId, u64> {
        let news = self.history.handle_feedback(feedback);
        let arrived = self.bulk.handle_news(&news, self.history.oldest());
        self.estimator.handle_news(&news, now);
        if self.estimator.take_relief() {
            self.repair.handle_relief(self.estimator.loss());
        }
        if let Some(shown) = self.prober.handle_news(&news, now) {
            self.estimator.handle_probe(shown, now);
        }
        // What a narrow way drops for want of room is not to be answered with more.
        let is_narrow = self.rate() < NARROW;
        let is_dropped = |loss: &Loss| is_narrow && self.estimator.was_full(loss.sent);
        let lost = news.lost.iter().filter(|loss| !is_dropped(loss)).cloned().collect();
        self.repair.handle_news(&News { lost, arrived: news.arrived }, rtt);
        // A repetition that is lost, too, has no second chance: on a free way each goes twice.
        let is_free = !self.estimator.was_full(now);
        self.repeats.handle_losses(news.lost, &self.repair, is_free, now);
        self.bulk.review(self.rate(), self.queue_delay(), now);
        arrived
    }

    /// What is in no hurry.
    pub(super) fn bulk(&mut self) -> &mut Bulk {
        &mut self.bulk
    }

    /// The connection is new: of what was to be sent over the old one, only bulk is still of use.
    pub(super) fn restart(&mut self, now: Time) {
        let mut bulk = std::mem::replace(&mut self.bulk, Bulk::new(now));
        bulk.restart(now);
        *self = Sender { bulk, ..Sender::new(now) };
    }

    /// Packets take another path from now on.
    pub(super) fn handle_switch(&mut self, path: NewPath, now: Time) {
        self.estimator.handle_switch(path, now);
        self.prober.handle_switch(now);
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
        let count = self.sound_copies();
        let copied = self.copies.carried_by(&next.packets, count, &self.repair);
        let is_alone = copied.is_empty() && own.len() == 1;
        match own.first() {
            Some(packet) if is_alone => self.send_packet(packet.clone(), None, false, now),
            _ => {
                let repair: usize = copied.iter().map(|packet| packet.payload.len()).sum();
                let mut bundle = Bundle { hop_sequence: 0, packets: own.into_iter().chain(copied).collect() };
                let len = bundle.encode().len();
                bundle.hop_sequence = wrap_sequence(self.history.handle_sent(len, None, now));
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
        packet.header.hop_sequence = wrap_sequence(self.history.handle_sent(len, origin, now));
        self.repair_credit -= if is_repair { signed(len) } else { 0 };
        self.count(len, if is_repair { len } else { 0 }, now);
        packet.encode()
    }

    fn send_parity(&mut self, mut parity: Parity, now: Time) -> Bytes {
        let len = PARITY_HEADER_LEN + parity.payload.len();
        parity.header.hop_sequence = wrap_sequence(self.history.handle_sent(len, None, now));
        self.repair_credit -= signed(len);
        self.count(len, len, now);
        parity.encode()
    }

    fn count(&mut self, len: usize, repair: usize, now: Time) {
        self.copies.handle_packet();
        self.sent.total += len as u64;
        self.sent.repair += repair as u64;
        self.estimator.handle_sent(len, now);
        self.pace.handle_sent(len, now);
        self.prober.handle_sent(len, now);
        self.bulk.handle_media(len, now);
    }

    /// A way that is too narrow loses more the more is sent: copies would drown what they are to save.
    fn copies_that_fit(&self) -> usize {
        if self.estimator.is_trying_less() {
            return 0;
        }
        // Half of the rate is for sound, all of it where no pictures go, and one of its parts for the sound itself.
        let parts = if self.last_packet.is_some() { 2 } else { 1 };
        let sounds = self.rate().as_bits() / parts / SOUND_RATE.as_bits();
        usize::try_from(sounds.saturating_sub(1)).unwrap_or(usize::MAX)
    }

    fn sound_copies(&self) -> usize {
        self.repair.sound_copies().min(self.copies_that_fit()).min(MAX_BUNDLE - 1)
    }

    /// A packet that only asks how much the way carries.
    fn next_of_train(&mut self, now: Time) -> Option<Bytes> {
        self.train_due().filter(|due| *due <= now)?;
        let mut packet = self.last_packet.clone().filter(|_| self.prober.is_due(self.rate(), now))?;
        let len = HEADER_LEN + packet.payload.len();
        packet.header.hop_sequence = wrap_sequence(self.history.handle_sent(len, None, now));
        // The estimate is not told: what a train takes is no sign of how much there is to send.
        self.sent.total += len as u64;
        self.sent.repair += len as u64;
        self.prober.handle_sent(len, now);
        Some(packet.encode())
    }

    /// A piece of bulk, which has a pace of its own.
    fn next_of_bulk(&mut self, now: Time) -> Option<Bytes> {
        self.bulk_due().filter(|due| *due <= now)?;
        let mut chunk = self.bulk.poll(now)?;
        let len = CHUNK_HEADER_LEN + chunk.data.len();
        let sequence = self.history.handle_sent(len, None, now);
        chunk.hop_sequence = wrap_sequence(sequence);
        let datagram = chunk.encode();
        self.bulk.handle_sent(sequence, chunk);
        self.sent.total += len as u64;
        self.estimator.handle_sent(len, now);
        Some(datagram)
    }

    /// When a piece of bulk is due: only when nothing else waits.
    fn bulk_due(&self) -> Option<Time> {
        self.bulk.poll_timeout().filter(|_| self.is_empty() && !self.estimator.is_trying_less())
    }

    /// When something is due that goes only when nothing else does.
    fn idle_due(&self) -> Option<Time> {
        self.train_due().into_iter().chain(self.bulk_due()).min()
    }

    /// When such a packet is due: only when nothing else waits, here or on the way.
    fn train_due(&self) -> Option<Time> {
        let is_free = self.is_empty() && self.last_packet.is_some() && self.queue_delay() <= QUEUE_QUIET;
        self.prober.poll_timeout(self.rate()).filter(|_| is_free)
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;
    use crate::media::packetize::packetize;
    use crate::params::{REPEAT_DEADLINE, REPEAT_TWICE};
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
        let later = Time::from_millis(60) + REPEAT_TWICE;
        assert_eq!(sender.poll_timeout(), Some(later));
        let twice = drain(&mut sender, later);
        assert_eq!(Packet::decode(&twice[0]).unwrap().payload, Packet::decode(&again[0]).unwrap().payload);
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
        // So little that it is not taken for congestion.
        let fates: Vec<bool> = (0..200).map(|at| at % 14 != 0).collect();
        let mut now = Time::ZERO;
        for round in 0..4 {
            for number in 0..200 {
                sender.push(frame(2, round * 200 + number, 80), Class::Sound, now + LATER.since(Time::ZERO));
            }
            let sent = drain(&mut sender, now);
            assert!(round > 0 || sent.iter().all(|datagram| datagram[0] == 1));
            let report = Feedback { first: round * 200, ..report(&fates) };
            sender.handle_feedback(&report, RTT, now + RTT);
            now += Duration::from_secs(2);
        }
        sender.push(frame(2, 800, 80), Class::Sound, now + LATER.since(Time::ZERO));
        sender.push(frame(1, 0, 3000), Class::Picture, now + LATER.since(Time::ZERO));
        let mut kinds = Vec::new();
        while !sender.is_empty() {
            kinds.extend(drain(&mut sender, now).iter().map(|datagram| datagram[0]));
            now = sender.poll_timeout().unwrap().max(now);
            sender.handle_timeout(now);
        }
        assert_eq!(kinds.first(), Some(&KIND_BUNDLE));
        assert!(kinds.contains(&KIND_PARITY), "{kinds:?}");
    }
}
