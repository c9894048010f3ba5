//! Bulk to one peer: bytes that are in no hurry and must all arrive, behind everything that is in a hurry.
//!
//! Chunks go in; those that may leave now come out, at a rate of their own: what media leaves of the estimate, and much
//! less as soon as a queue is seen, before the estimate itself gives way (less than best effort, as LEDBAT, RFC 6817; the
//! courtesy that RTMFP asks of flows that are not time-critical, RFC 7016 §2.2.4). What a report says is lost goes again,
//! and so does what no report tells of.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::history::News;
use crate::params::{
    BULK_BURST, BULK_GROWTH, BULK_GROWTH_NEAR, BULK_LEAST, BULK_MEMORY, BULK_SHARE, BULK_SPAN, BULK_TOLD, BULK_WINDOW,
    CUT_REST, PACKET_PAYLOAD, QUEUE_QUIET, QUEUE_SAMPLE,
};
use crate::units::{Bitrate, Time, TransferId};
use crate::wire::chunk::Chunk;

/// Bulk on its way to one peer.
#[derive(Debug)]
pub struct Bulk {
    waiting: VecDeque<Chunk>,
    /// What was sent and is not known to have arrived, by its place in the order of sending.
    on_way: BTreeMap<u64, Chunk>,
    /// Bytes of both.
    bytes: usize,
    rate: f64,
    /// Bits that may go now.
    level: f64,
    filled: Time,
    /// When the rate was last changed, and last cut.
    reviewed: Time,
    cut: Time,
    /// The rate at which a queue was last seen.
    ceiling: f64,
    /// Bits of media in the last while, older ones weighing less.
    media: f64,
    media_at: Time,
}

impl Bulk {
    /// Nothing is to be sent.
    pub fn new(now: Time) -> Self {
        Bulk {
            waiting: VecDeque::new(),
            on_way: BTreeMap::new(),
            bytes: 0,
            rate: BULK_LEAST.as_bits() as f64,
            level: 0.0,
            filled: now,
            reviewed: now,
            cut: now,
            ceiling: f64::INFINITY,
            media: 0.0,
            media_at: now,
        }
    }

    /// How many bytes may still be put in line.
    pub fn room(&self) -> usize {
        BULK_WINDOW.saturating_sub(self.bytes)
    }

    /// Puts a chunk in line.
    pub fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.data.len();
        self.waiting.push_back(chunk);
    }

    /// What is still to be sent of a transfer is of no more use.
    pub fn forget(&mut self, transfer: TransferId) {
        self.waiting.retain(|chunk| chunk.transfer != transfer);
        self.on_way.retain(|_, chunk| chunk.transfer != transfer);
        self.bytes = self.waiting.iter().chain(self.on_way.values()).map(|chunk| chunk.data.len()).sum();
    }

    /// The connection is new: what was on its way goes again, and what the way carries is not known.
    pub fn restart(&mut self, now: Time) {
        self.requeue(|_| true);
        let Bulk { waiting, bytes, .. } = std::mem::replace(self, Bulk::new(now));
        *self = Bulk { waiting, bytes, ..Bulk::new(now) };
    }

    /// Something in a hurry was sent.
    pub fn handle_media(&mut self, bytes: usize, now: Time) {
        self.media = self.recent_media(now) + bytes as f64 * 8.0;
        self.media_at = self.media_at.max(now);
    }

    /// The next chunk, if one may go now.
    pub fn poll(&mut self, now: Time) -> Option<Chunk> {
        self.level = self.level_at(now);
        self.filled = self.filled.max(now);
        if self.level <= 0.0 {
            return None;
        }
        let chunk = self.waiting.pop_front()?;
        self.level -= chunk.data.len() as f64 * 8.0;
        Some(chunk)
    }

    /// A chunk went, at this place in the order of sending.
    pub fn handle_sent(&mut self, sequence: u64, chunk: Chunk) {
        self.on_way.insert(sequence, chunk);
    }

    /// When a chunk may go.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.waiting.front()?;
        let wait = Duration::from_secs_f64((-self.level).max(0.0) / self.rate);
        // Times are whole microseconds; one more, or nothing could go yet.
        Some(self.filled + if self.level > 0.0 { Duration::ZERO } else { wait + Duration::from_micros(1) })
    }

    /// A report came; nothing older than `oldest` will be in another. Gives how many bytes of which transfers have arrived.
    pub fn handle_news(&mut self, news: &News, oldest: u64) -> BTreeMap<TransferId, u64> {
        let mut arrived = BTreeMap::new();
        for sequence in news.arrived.iter().map(|arrival| arrival.sequence) {
            let Some(chunk) = self.on_way.remove(&sequence) else { continue };
            self.bytes -= chunk.data.len();
            *arrived.entry(chunk.transfer).or_default() += chunk.data.len() as u64;
        }
        self.requeue(|sequence| sequence < oldest || news.lost.iter().any(|loss| loss.sequence == sequence));
        arrived
    }

    /// Media that was sent in the last while.
    pub fn media(&self, now: Time) -> Bitrate {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what was sent in bits")]
        Bitrate::from_bits((self.recent_media(now) / BULK_SPAN.as_secs_f64()) as u64)
    }

    /// The way carries `estimate`, of which `media` takes its part, and packets wait `queue` on it.
    pub fn review(&mut self, estimate: Bitrate, media: Bitrate, queue: Duration, now: Time) {
        let span = now.since(std::mem::replace(&mut self.reviewed, now)).min(QUEUE_SAMPLE);
        self.level = self.level_at(now);
        self.filled = self.filled.max(now);
        let least = BULK_LEAST.as_bits() as f64;
        let left = estimate.as_bits() as f64 * BULK_SHARE - media.as_bits() as f64;
        if queue <= QUEUE_QUIET {
            let is_near = self.rate > self.ceiling * 0.75 && now.since(self.cut) < BULK_MEMORY;
            self.rate *= if is_near { BULK_GROWTH_NEAR } else { BULK_GROWTH }.powf(span.as_secs_f64());
        } else if now.since(self.cut) >= CUT_REST {
            // What follows on a cut before it has told says nothing of the way.
            let is_told = now.since(self.cut) >= BULK_TOLD;
            self.ceiling = if is_told { self.rate } else { self.ceiling };
            self.rate /= 2.0;
            self.cut = now;
        }
        self.rate = self.rate.min(left).max(least);
        self.level = self.level.min(self.burst());
    }

    fn requeue(&mut self, is_lost: impl Fn(u64) -> bool) {
        let lost: Vec<Chunk> = self.on_way.extract_if(.., |sequence, _| is_lost(*sequence)).map(|(_, it)| it).collect();
        lost.into_iter().rev().for_each(|chunk| self.waiting.push_front(chunk));
    }

    /// Bits of media in the last [`BULK_SPAN`], as an average that forgets.
    fn recent_media(&self, now: Time) -> f64 {
        self.media * (-now.since(self.media_at).as_secs_f64() / BULK_SPAN.as_secs_f64()).exp()
    }

    fn level_at(&self, now: Time) -> f64 {
        (self.level + self.rate * now.since(self.filled).as_secs_f64()).min(self.burst())
    }

    fn burst(&self) -> f64 {
        (self.rate * BULK_BURST.as_secs_f64()).max(PACKET_PAYLOAD as f64 * 8.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::history::{Arrival, Loss};
    use bytes::Bytes;

    const MEGABIT: Bitrate = Bitrate::from_kilobits(1000);

    fn chunk(offset: u64) -> Chunk {
        Chunk { hop_sequence: 0, transfer: TransferId(1), offset, data: Bytes::from(vec![0; 1000]) }
    }

    fn bulk(chunks: u64) -> Bulk {
        let mut bulk = Bulk::new(Time::ZERO);
        (0..chunks).for_each(|at| bulk.push(chunk(at * 1000)));
        bulk
    }

    /// Sends for this long, media at `media` bits a second beside it; bytes of bulk.
    fn run(bulk: &mut Bulk, media: u64, queue: Duration, from: Time, millis: u64) -> usize {
        let mut sent = 0;
        for tick in 0..millis {
            let now = from + Duration::from_millis(tick);
            bulk.handle_media(usize::try_from(media / 8000).unwrap(), now);
            if tick % 50 == 0 {
                bulk.review(MEGABIT, bulk.media(now), queue, now);
            }
            while let Some(chunk) = bulk.poll(now) {
                sent += chunk.data.len();
            }
        }
        sent
    }

    const QUIET: Duration = Duration::ZERO;
    const QUEUE: Duration = Duration::from_millis(30);

    #[test]
    fn it_takes_what_media_leaves() {
        let mut alone = bulk(3000);
        run(&mut alone, 0, QUIET, Time::ZERO, 10_000);
        let bits = 8 * run(&mut alone, 0, QUIET, Time::from_millis(10_000), 2000) / 2;
        assert!((800_000..950_000).contains(&bits), "{bits}");
        let mut beside = bulk(3000);
        run(&mut beside, 600_000, QUIET, Time::ZERO, 10_000);
        let bits = 8 * run(&mut beside, 600_000, QUIET, Time::from_millis(10_000), 2000) / 2;
        assert!((200_000..350_000).contains(&bits), "{bits}");
    }

    #[test]
    fn it_gives_way_to_a_queue_and_never_stops_altogether() {
        let mut bulk = bulk(1000);
        run(&mut bulk, 0, QUIET, Time::ZERO, 10_000);
        run(&mut bulk, 0, QUEUE, Time::from_millis(10_000), 1000);
        let bits = 8 * run(&mut bulk, 0, QUEUE, Time::from_millis(11_000), 4000) / 4;
        assert!(bits > 0 && bits as u64 <= BULK_LEAST.as_bits() * 5 / 4, "{bits}");
    }

    #[test]
    fn what_is_lost_or_never_told_of_goes_again_and_what_arrived_does_not() {
        let mut bulk = bulk(4);
        let mut now = Time::ZERO;
        let mut sequence = 0;
        while let Some(at) = bulk.poll_timeout() {
            now = now.max(at) + Duration::from_micros(1);
            let Some(chunk) = bulk.poll(now) else { continue };
            bulk.handle_sent(sequence, chunk);
            sequence += 1;
        }
        assert_eq!(sequence, 4);
        let arrival = |sequence| Arrival { sequence, sent: now, arrived: now, bytes: 1020 };
        let loss = Loss { sequence: 2, sent: now, bytes: 1020, origin: None };
        let news = News { arrived: vec![arrival(1), arrival(3), arrival(77)], lost: vec![loss] };
        let arrived = bulk.handle_news(&news, 1);
        assert_eq!(arrived, BTreeMap::from([(TransferId(1), 2000)]));
        let again: Vec<u64> = bulk.waiting.iter().map(|chunk| chunk.offset).collect();
        assert_eq!(again, [0, 2000]);
        assert_eq!(bulk.room(), BULK_WINDOW - 2000);
    }

    #[test]
    fn a_new_connection_sends_again_what_was_on_its_way() {
        let mut bulk = bulk(2);
        bulk.handle_sent(0, chunk(5000));
        bulk.bytes += 1000;
        bulk.restart(Time::ZERO);
        let all: Vec<u64> = bulk.waiting.iter().map(|chunk| chunk.offset).collect();
        assert_eq!(all, [5000, 0, 1000]);
        assert_eq!(bulk.room(), BULK_WINDOW - 3000);
    }

    #[test]
    fn a_transfer_that_is_forgotten_leaves_room() {
        let mut bulk = bulk(2);
        bulk.push(Chunk { transfer: TransferId(2), ..chunk(0) });
        bulk.forget(TransferId(1));
        assert_eq!(bulk.room(), BULK_WINDOW - 1000);
        assert_eq!(bulk.waiting.len(), 1);
    }
}
