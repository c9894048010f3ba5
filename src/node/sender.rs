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

mod datagrams;
mod idle;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::params::{
    DEMAND_AHEAD, GROWTH_STEP, NARROW, PARITY_LEAST, PICTURE_SHARE, PICTURE_SHARE_NARROW, REPAIR_CREDIT, REPAIR_TIMES,
    REPAIR_TIMES_ROOMY, ROOMY, SOUND_RATE,
};
use crate::rate::bulk::Bulk;
use crate::rate::copies::Copies;
use crate::rate::coupling::{Coupling, Share, Sight};
use crate::rate::estimate::{Estimator, NewPath};
use crate::rate::history::{History, Loss, News};
use crate::rate::pace::Pace;
use crate::rate::probe::Prober;
use crate::rate::queue::{Class, Packets, Rank, SendQueue, Urgency};
use crate::rate::repair::RepairPlan;
use crate::rate::repeats::Repeats;
use crate::rate::timed_queue::TimedQueue;
use crate::units::{Bitrate, PeerId, Time, TrackId, TransferId};
use crate::wire::feedback::Feedback;
use crate::wire::packet::Packet;
use crate::wire::repair::Parity;

use datagrams::Sound;

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
    /// When something may go that may not yet, as it was when all that might had gone.
    wake_at: Option<Time>,
    /// The last packet of a picture, of which trains are made.
    last_packet: Option<Packet>,
    copies: Copies,
    /// Sounds that go a second time.
    echoes: TimedQueue<Sound>,
    parity: TimedQueue<Parity>,
    repeats: Repeats,
    /// What this peer may have at most of the uplink that it shares with others, and when that has room again.
    share: Option<Share>,
    uplink_free: Time,
    /// Bytes of repair that pictures may still have: what is lost more often than not is not worth it.
    repair_credit: i64,
    sent: SentBytes,
}

/// The uplink that a peer shares with others.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) coupling: &'a mut Coupling,
    /// Which of the peers it is.
    pub(super) peer: PeerId,
    /// What goes to all of them, but for bulk.
    pub(super) media: Bitrate,
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
        let mut sender = Sender {
            queue: SendQueue::new(),
            history: History::new(),
            estimator: Estimator::new(now),
            repair: RepairPlan::new(),
            is_roomy: false,
            pace: Pace::new(now),
            prober: Prober::new(now),
            bulk: Bulk::new(now),
            wake_at: None,
            last_packet: None,
            copies: Copies::default(),
            echoes: TimedQueue::default(),
            parity: TimedQueue::default(),
            repeats: Repeats::default(),
            share: None,
            uplink_free: now,
            repair_credit: REPAIR_CREDIT,
            sent: SentBytes::default(),
        };
        sender.set_pace(now);
        sender
    }

    /// Puts a frame in line, of use until `deadline`.
    pub(super) fn push(&mut self, packets: Packets, class: Class, deadline: Time) {
        self.queue.push(packets, class, deadline);
    }

    /// The next datagram, if one may go now. The uplink has room from `uplink_free` on, for all but sound.
    pub(super) fn poll(&mut self, uplink_free: Time, now: Time) -> Option<Bytes> {
        self.uplink_free = uplink_free;
        self.echoes.handle_timeout(now);
        self.repeats.handle_timeout(now);
        self.parity.handle_timeout(now);
        if let Some(next) = self.queue.poll(Class::Sound, now) {
            return self.send_sound(next, now);
        }
        if let Some(sound) = self.echoes.poll() {
            return Some(self.send_echo(sound, now));
        }
        if !self.may_send(now) && !self.is_empty() {
            return None;
        }
        if self.repair_credit <= 0 {
            self.repeats.clear_due();
            self.parity.clear_due();
        } else if self.estimator.is_trying_less() {
            // Repetitions are few, and without them a trial that finds only weather has cost pictures.
            self.parity.clear_due();
        }
        if let Some(repeat) = self.repeats.poll(&self.repair, now) {
            let packet = repeat.packets.get(repeat.index)?.clone();
            return Some(self.send_packet(packet, Some((repeat.packets, repeat.index)), true, now));
        }
        if let Some(parity) = self.parity.poll() {
            return Some(self.send_parity(parity, now));
        }
        let Some(next) = self.queue.poll(Class::Picture, now) else {
            return self.next_of_train(now).or_else(|| self.next_of_bulk(now));
        };
        if next.index + 1 == next.packets.len() {
            self.protect(&next.packets, now);
        }
        let packet = next.packets.get(next.index)?.clone();
        self.last_packet = Some(packet.clone());
        let worth = if self.is_roomy { REPAIR_TIMES_ROOMY } else { REPAIR_TIMES };
        self.repair_credit = (self.repair_credit + worth * signed(packet.payload.len())).min(REPAIR_CREDIT);
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

    /// Whether a key frame of this track is on its way to the network.
    pub(super) fn has_key(&self, track: TrackId) -> bool {
        self.queue.has_key(track)
    }

    /// A track that goes on only with a key frame.
    pub(super) fn take_lacks_key(&mut self, now: Time) -> Option<TrackId> {
        self.queue.take_lacks_key(now)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.echoes.is_empty() && self.parity.is_empty() && self.repeats.is_empty()
    }

    /// How much what goes next matters, if it may go now.
    pub(super) fn urgency(&self, now: Time) -> Option<Urgency> {
        let idle = |rank| Urgency { rank, deadline: now, is_fresh: true };
        let parity = (!self.parity.is_empty()).then(|| idle(Rank::Repair));
        let echo = self.echoes.has_due(now).then(|| idle(Rank::Sound));
        let waiting = self.queue.urgency().into_iter().chain(self.repeats.urgency()).chain(parity).chain(echo).min();
        self.has_due(now).then(|| waiting.unwrap_or(idle(Rank::Idle)))
    }

    /// Whether something may go now.
    fn has_due(&self, now: Time) -> bool {
        self.queue.has_sound()
            || self.echoes.has_due(now)
            || (!self.queue.is_empty() || self.repeats.has_due(now) || self.parity.has_due(now)) && self.may_send(now)
            || self.idle_due().is_some_and(|at| at <= now)
    }

    /// When repair is due that waits for its time.
    fn later_due(&self) -> Option<Time> {
        self.repeats.later_due().into_iter().chain(self.parity.later_due()).min()
    }

    fn may_send(&self, now: Time) -> bool {
        self.free_at() <= now
    }

    /// When the pace and the uplink have room.
    fn free_at(&self) -> Time {
        self.pace.free_at().max(self.uplink_free)
    }

    /// How much of the rate is left for pictures when repair and so many tracks of sound have taken their share.
    pub(super) fn picture_rate(&self, sounds: usize) -> Bitrate {
        let sound = SOUND_RATE.as_bits() * (sounds * self.sound_repair().times()) as u64;
        let (times, of) = if self.is_narrow() { PICTURE_SHARE_NARROW } else { PICTURE_SHARE };
        let left = (self.rate().as_bits() * times / of).saturating_sub(sound);
        let overhead = if self.carries_parity() { self.repair.overhead(self.is_roomy) } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a rate")]
        Bitrate::from_bits((left as f64 / (1.0 + overhead)) as u64)
    }

    /// Whether what leads to the peer is narrow, and not only its share of it small.
    pub(super) fn is_narrow(&self) -> bool {
        let own = self.estimator.rate();
        self.share.filter(|share| share.most < own).map_or(own, |share| share.of) < NARROW
    }

    fn carries_parity(&self) -> bool {
        self.rate() >= PARITY_LEAST
    }

    /// When something may go, or [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.wake_at.into_iter().chain(self.estimator.poll_timeout()).min()
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        self.estimator.handle_timeout(now);
        self.set_pace(now);
    }

    fn set_pace(&mut self, now: Time) {
        self.pace.set_rate(self.estimator.rate(), self.estimator.queue(), self.estimator.is_new(), now);
    }

    /// Nothing more goes now, be it that there is nothing, that it may not, or that QUIC has no room for it.
    pub(super) fn handle_flushed(&mut self, now: Time) {
        let free = self.free_at();
        let later = self.later_due().map(|due| due.max(free)).into_iter().chain(self.idle_due()).min();
        let due = if self.is_empty() { later } else { Some(free) };
        self.wake_at = due.into_iter().chain(self.echoes.later_due()).min().filter(|due| *due > now);
    }

    /// A report of the peer's. `rtt` is the path's round-trip time. Gives how many bytes of which transfers have arrived.
    pub(super) fn handle_feedback(
        &mut self,
        feedback: &Feedback,
        rtt: Duration,
        uplink: Shared<'_>,
        now: Time,
    ) -> BTreeMap<TransferId, u64> {
        let Shared { coupling, peer, media } = uplink;
        let news = self.history.handle_feedback(feedback);
        let arrived = self.bulk.handle_news(&news, self.history.oldest());
        self.estimator.handle_news(&coupling.without_ours(&news), coupling.common(), now);
        let sight = Sight { queue: self.estimator.queue(), loss: self.estimator.loss(), news: &news };
        coupling.handle_report(peer, sight, now);
        if self.estimator.take_relief() {
            self.repair.handle_relief(self.estimator.loss());
        }
        if let Some(shown) = self.prober.handle_news(&news, now) {
            let before = self.estimator.rate().as_bits();
            coupling.handle_probe(Bitrate::from_bits(shown.as_bits().saturating_sub(before)), now);
            self.estimator.handle_probe(shown, now);
        }
        // What a narrow way drops for want of room is not to be answered with more.
        let is_narrow = self.is_narrow();
        let is_dropped = |loss: &Loss| is_narrow && self.estimator.was_full(loss.sent);
        let lost = news.lost.iter().filter(|loss| !is_dropped(loss)).cloned().collect();
        self.repair.handle_news(&News { lost, arrived: news.arrived }, rtt);
        // A repetition that is lost, too, has no second chance: on a free way each goes twice.
        let is_free = !self.estimator.was_full(now);
        self.repeats.handle_losses(news.lost, &self.repair, is_free, now);
        let (carried, media) = match coupling.is_shared() {
            true => (coupling.rate().min(self.estimator.rate()), media),
            false => (self.rate(), self.media(now)),
        };
        self.bulk.review(carried, media, self.queue_delay(), now);
        self.set_pace(now);
        arrived
    }

    /// When the newest packet was sent that is known to have arrived.
    pub(super) fn arrived_until(&self) -> Option<Time> {
        self.history.arrived_until()
    }

    /// What is in no hurry.
    pub(super) fn bulk(&mut self) -> &mut Bulk {
        &mut self.bulk
    }

    /// The connection is new: of what was to be sent over the old one, only bulk is still of use.
    pub(super) fn restart(&mut self, now: Time) {
        let mut bulk = std::mem::replace(&mut self.bulk, Bulk::new(now));
        bulk.restart(now);
        *self = Sender { bulk, share: self.share, ..Sender::new(now) };
    }

    /// Packets take another path from now on.
    pub(super) fn handle_switch(&mut self, path: NewPath, now: Time) {
        self.estimator.handle_switch(path, now);
        self.prober.handle_switch(now);
        self.repair.handle_switch();
        self.set_pace(now);
    }

    /// How fast may be sent.
    pub(super) fn rate(&self) -> Bitrate {
        self.share.map_or(self.estimator.rate(), |share| share.most.min(self.estimator.rate()))
    }

    /// What the peer may have at most of the uplink; `None` where there is enough for all.
    pub(super) fn set_share(&mut self, share: Option<Share>) {
        self.share = share;
    }

    /// How much of the uplink it would take before long.
    pub(super) fn demand(&self, now: Time) -> Bitrate {
        let (times, of) = DEMAND_AHEAD;
        let more = self.media(now).as_bits() * times / of + GROWTH_STEP.as_bits();
        self.estimator.rate().min(Bitrate::from_bits(more))
    }

    /// What goes to it now, but for bulk.
    pub(super) fn media(&self, now: Time) -> Bitrate {
        self.bulk.media(now)
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
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
