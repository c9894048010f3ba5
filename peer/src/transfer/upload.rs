//! One of our files on its way to somebody: what they ask for and what the page reads go in, pieces of bulk come out.

use std::collections::BTreeSet;

use super::offer::FileId;
use crate::params::{FILE_BLOCK, FILE_WINDOW};

/// One of our files on its way to somebody.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) file: FileId,
    /// Where it began, and how many bytes have arrived since.
    from: u64,
    arrived: u64,
    /// Up to where the page was asked to read.
    read: u64,
    /// Up to where it was asked for.
    until: u64,
    /// Where blocks begin that the page has not read yet.
    awaited: BTreeSet<u64>,
}

impl Upload {
    pub(super) fn new(file: FileId, from: u64) -> Self {
        Upload { file, from, arrived: 0, read: from, until: from, awaited: BTreeSet::new() }
    }

    /// They have room up to this byte.
    pub(super) fn allow(&mut self, until: u64) {
        self.until = self.until.max(until);
    }

    /// So many more bytes have arrived.
    pub(super) fn handle_arrived(&mut self, bytes: u64) {
        self.arrived = self.arrived.saturating_add(bytes).min(self.read - self.from);
    }

    /// Up to which byte everything has arrived, or nearly: what is on its way may overtake.
    pub(super) fn progress(&self) -> u64 {
        self.from + self.arrived
    }

    /// The next bytes the page is to read: where, and how many. No more are on their way than a receiver has room for.
    pub(super) fn poll_read(&mut self) -> Option<(u64, u64)> {
        let most = self.until.min(self.progress() + FILE_WINDOW);
        let len = most.saturating_sub(self.read).min(FILE_BLOCK);
        // A short piece is worth its while only at the end of what is asked for.
        if len == 0 || (len < FILE_BLOCK && self.read + len < self.until) {
            return None;
        }
        let offset = self.read;
        self.read += len;
        self.awaited.insert(offset);
        Some((offset, len))
    }

    /// The page has read this block; `false` if nobody asked for it.
    pub(super) fn handle_read(&mut self, offset: u64) -> bool {
        self.awaited.remove(&offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_is_asked_for_or_fits_on_the_way() {
        let mut upload = Upload::new(FileId(1), 10);
        assert_eq!(upload.poll_read(), None);
        upload.allow(10 + FILE_BLOCK + 5);
        assert_eq!(upload.poll_read(), Some((10, FILE_BLOCK)));
        assert_eq!(upload.poll_read(), Some((10 + FILE_BLOCK, 5)));
        assert_eq!(upload.poll_read(), None);
        upload.allow(u64::MAX);
        let read: u64 = std::iter::from_fn(|| upload.poll_read()).map(|(_, len)| len).sum();
        assert_eq!(read + FILE_BLOCK + 5, FILE_WINDOW - (FILE_WINDOW - FILE_BLOCK - 5) % FILE_BLOCK);
        upload.handle_arrived(FILE_BLOCK);
        assert!(upload.poll_read().is_some());
    }

    #[test]
    fn a_block_nobody_asked_for_is_not_sent() {
        let mut upload = Upload::new(FileId(1), 0);
        upload.allow(FILE_BLOCK);
        upload.poll_read();
        assert!(!upload.handle_read(5) && upload.handle_read(0) && !upload.handle_read(0));
    }

    #[test]
    fn nobody_can_claim_more_than_was_sent() {
        let mut upload = Upload::new(FileId(1), 0);
        upload.allow(FILE_BLOCK);
        upload.poll_read();
        upload.handle_arrived(u64::MAX);
        assert_eq!(upload.progress(), FILE_BLOCK);
    }
}
