//! What waits for a tunnel: the newest datagrams, none of them older than a listener would miss.
//!
//! Pushing never waits. When the line is slow the oldest datagrams are dropped and counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::params::{TUNNEL_QUEUE, TUNNEL_QUEUE_LEN};

/// Filled by whoever has something to send, emptied by the task of one tunnel.
#[derive(Debug)]
pub(super) struct SendQueue {
    waiting: Mutex<Waiting>,
    changed: Notify,
    dropped: Arc<AtomicU64>,
}

impl SendQueue {
    /// An empty queue that adds what it drops to `dropped`.
    pub(super) fn new(dropped: Arc<AtomicU64>) -> Self {
        SendQueue { waiting: Mutex::default(), changed: Notify::new(), dropped }
    }

    /// Puts a datagram behind the others.
    pub(super) fn push(&self, datagram: &[u8], now: Instant) {
        let dropped = {
            let mut waiting = self.lock();
            if waiting.is_closed {
                return;
            }
            waiting.len += datagram.len();
            waiting.datagrams.push_back((now, Bytes::copy_from_slice(datagram)));
            waiting.drop_old(now)
        };
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Takes the oldest datagram that is young enough, if there is one.
    pub(super) fn pop(&self, now: Instant) -> Option<Bytes> {
        let mut waiting = self.lock();
        let dropped = waiting.drop_old(now);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        let (_, datagram) = waiting.datagrams.pop_front()?;
        waiting.len -= datagram.len();
        Some(datagram)
    }

    /// Waits for a datagram; `None` once the queue is closed.
    pub(super) async fn next(&self) -> Option<Bytes> {
        loop {
            if self.lock().is_closed {
                return None;
            }
            if let Some(datagram) = self.pop(Instant::now()) {
                return Some(datagram);
            }
            self.changed.notified().await;
        }
    }

    /// Ends the tunnel that empties this queue.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Datagrams dropped so far, by all queues that share the counter.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Waiting {
    datagrams: VecDeque<(Instant, Bytes)>,
    len: usize,
    is_closed: bool,
}

impl Waiting {
    /// Drops what is too old or too much, and says how many datagrams that were.
    fn drop_old(&mut self, now: Instant) -> u64 {
        let mut dropped = 0;
        while let Some((since, datagram)) = self.datagrams.front() {
            if now.duration_since(*since) <= TUNNEL_QUEUE && self.len <= TUNNEL_QUEUE_LEN {
                break;
            }
            self.len -= datagram.len();
            self.datagrams.pop_front();
            dropped += 1;
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn datagrams_leave_in_the_order_they_came() {
        let (queue, now) = empty();
        queue.push(b"one", now);
        queue.push(b"two", now);
        assert_eq!(queue.pop(now).as_deref(), Some(&b"one"[..]));
        assert_eq!(queue.pop(now).as_deref(), Some(&b"two"[..]));
        assert_eq!(queue.pop(now), None);
    }

    #[test]
    fn what_waited_too_long_is_dropped_and_counted() {
        let (queue, now) = empty();
        queue.push(b"old", now);
        queue.push(b"new", now + Duration::from_millis(1));
        let later = now + TUNNEL_QUEUE + Duration::from_millis(1);
        assert_eq!(queue.pop(later).as_deref(), Some(&b"new"[..]));
        assert_eq!(queue.dropped(), 1);
    }

    #[test]
    fn the_oldest_make_room_when_too_much_waits() {
        let (queue, now) = empty();
        for number in 0..=u8::try_from(TUNNEL_QUEUE_LEN / 2048).unwrap() {
            queue.push(&[number; 2048], now);
        }
        assert_eq!(queue.dropped(), 1);
        assert_eq!(queue.pop(now).unwrap()[0], 1);
    }

    #[tokio::test]
    async fn a_closed_queue_gives_nothing() {
        let (queue, now) = empty();
        queue.push(b"late", now);
        queue.close();
        assert_eq!(queue.next().await, None);
    }

    fn empty() -> (SendQueue, Instant) {
        (SendQueue::new(Arc::default()), Instant::now())
    }
}
