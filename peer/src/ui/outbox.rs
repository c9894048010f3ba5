//! What waits to be sent to the page, which may be slow.
//!
//! Text goes first and is never lost: a page that lets too much of it wait is given up. Sound that waits too long is
//! dropped from its old end; a picture that does not fit is refused, and whoever sends it asks for a key frame. Blocks of
//! files go last and are never lost: no more are sent than the page has said it has room for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::params::{PAGE_PICTURE_BYTES, PAGE_SOUND_BLOCKS, PAGE_TEXTS};

/// Something to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outgoing {
    /// A text message.
    Text(String),
    /// A binary message.
    Bytes(Bytes),
}

/// The queue of one page, filled by the call and emptied by the socket.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    changed: Notify,
    done: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    texts: VecDeque<String>,
    sound: VecDeque<Bytes>,
    pictures: VecDeque<Bytes>,
    picture_bytes: usize,
    blocks: VecDeque<Bytes>,
    is_closed: bool,
}

impl Outbox {
    /// Adds a text.
    pub fn tell(&self, text: String) {
        let mut queue = self.lock();
        if queue.is_closed {
            return;
        }
        queue.texts.push_back(text);
        if queue.texts.len() > PAGE_TEXTS {
            *queue = Queue { is_closed: true, ..Queue::default() };
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Adds a block of sound.
    pub fn sound(&self, block: Bytes) {
        let mut queue = self.lock();
        queue.sound.push_back(block);
        if queue.sound.len() > PAGE_SOUND_BLOCKS {
            queue.sound.pop_front();
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Adds a picture; `false` if there is no room for it.
    pub fn picture(&self, picture: Bytes) -> bool {
        let mut queue = self.lock();
        let bytes = queue.picture_bytes + picture.len();
        if bytes > PAGE_PICTURE_BYTES && !queue.pictures.is_empty() {
            return false;
        }
        queue.picture_bytes = bytes;
        queue.pictures.push_back(picture);
        drop(queue);
        self.changed.notify_one();
        true
    }

    /// Adds a block of a file.
    pub fn block(&self, block: Bytes) {
        let mut queue = self.lock();
        if !queue.is_closed {
            queue.blocks.push_back(block);
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Nothing more is added: what is text is still sent, then the page is closed.
    pub fn close(&self) {
        let mut queue = self.lock();
        let texts = std::mem::take(&mut queue.texts);
        *queue = Queue { texts, is_closed: true, ..Queue::default() };
        drop(queue);
        self.changed.notify_one();
    }

    /// What is to be sent next; `None` once it is closed. May be dropped and called again without losing anything.
    pub async fn next(&self) -> Option<Outgoing> {
        loop {
            let changed = self.changed.notified();
            {
                let mut queue = self.lock();
                if let Some(outgoing) = queue.pop() {
                    return Some(outgoing);
                }
                if queue.is_closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Returns once the page has been sent everything, or is gone.
    pub async fn sent(&self) {
        self.done.notified().await;
    }

    /// The page is gone, or has heard everything.
    pub fn finish(&self) {
        self.done.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Outgoing> {
        if let Some(text) = self.texts.pop_front() {
            return Some(Outgoing::Text(text));
        }
        if let Some(block) = self.sound.pop_front() {
            return Some(Outgoing::Bytes(block));
        }
        let Some(picture) = self.pictures.pop_front() else { return self.blocks.pop_front().map(Outgoing::Bytes) };
        self.picture_bytes = self.picture_bytes.saturating_sub(picture.len());
        Some(Outgoing::Bytes(picture))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn text_overtakes_pictures_and_sound() {
        let outbox = Outbox::default();
        assert!(outbox.picture(Bytes::from_static(b"picture")));
        outbox.sound(Bytes::from_static(b"sound"));
        outbox.tell("text".to_owned());
        assert_eq!(outbox.next().await, Some(Outgoing::Text("text".to_owned())));
        assert_eq!(outbox.next().await, Some(Outgoing::Bytes(Bytes::from_static(b"sound"))));
        assert_eq!(outbox.next().await, Some(Outgoing::Bytes(Bytes::from_static(b"picture"))));
    }

    #[tokio::test]
    async fn a_slow_page_hears_the_newest_and_is_refused_what_does_not_fit() {
        let outbox = Outbox::default();
        for number in 0..100 {
            outbox.sound(Bytes::from(vec![number]));
        }
        assert_eq!(outbox.next().await, Some(Outgoing::Bytes(Bytes::from(vec![90]))));
        let large = Bytes::from(vec![0; PAGE_PICTURE_BYTES]);
        assert!(outbox.picture(large.clone()), "one picture always fits");
        assert!(!outbox.picture(large.clone()));
        while outbox.lock().pop().is_some() {}
        assert!(outbox.picture(large));
    }

    #[tokio::test]
    async fn a_page_that_reads_nothing_is_given_up() {
        let outbox = Outbox::default();
        (0..=PAGE_TEXTS).for_each(|_| outbox.tell("news".to_owned()));
        assert_eq!(outbox.next().await, None);
        outbox.tell("more".to_owned());
        assert_eq!(outbox.next().await, None);
    }

    #[tokio::test]
    async fn last_words_are_still_said() {
        let outbox = Outbox::default();
        outbox.sound(Bytes::from_static(b"sound"));
        outbox.tell("left".to_owned());
        outbox.close();
        assert_eq!(outbox.next().await, Some(Outgoing::Text("left".to_owned())));
        assert_eq!(outbox.next().await, None);
    }
}
