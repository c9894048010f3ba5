//! One file on its way to us: chunks in any order go in, blocks in order come out, no faster than they are taken.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use meipo::units::TransferId;

use super::offer::Offer;
use crate::params::{FILE_BLOCK, FILE_WINDOW};

/// One file on its way to us.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) offer: Offer,
    pub(super) transfer: TransferId,
    /// The page's number for it.
    pub(super) number: u32,
    /// Bytes that were given out, all of them in order.
    given: u64,
    /// Bytes that the page has put away.
    taken: u64,
    /// Up to where it was asked for.
    until: u64,
    /// What came before its turn, by its place. No two overlap.
    pending: BTreeMap<u64, Bytes>,
    is_interrupted: bool,
}

impl Download {
    pub(super) fn new(offer: Offer, transfer: TransferId, number: u32) -> Self {
        let until = offer.size.min(FILE_WINDOW);
        Download { offer, transfer, number, given: 0, taken: 0, until, pending: BTreeMap::new(), is_interrupted: false }
    }

    /// The first byte that we lack.
    pub(super) fn lacks(&self) -> u64 {
        self.given
    }

    /// Up to where it was asked for.
    pub(super) fn until(&self) -> u64 {
        self.until
    }

    /// Whether the page has put away all of it.
    pub(super) fn is_done(&self) -> bool {
        self.taken == self.offer.size
    }

    /// Whoever sends it is gone, and what was under way is lost.
    pub(super) fn interrupt(&mut self) {
        self.is_interrupted = true;
    }

    /// It can go on: after an interruption as another transfer, so that nothing of the last one is waited for.
    pub(super) fn resume(&mut self, transfer: TransferId) {
        if std::mem::take(&mut self.is_interrupted) {
            self.transfer = transfer;
        }
    }

    /// A chunk came, again or out of turn. What was not asked for is dropped.
    pub(super) fn handle_chunk(&mut self, offset: u64, data: Bytes) {
        let end = offset.saturating_add(data.len() as u64);
        if end > self.until || end <= self.given {
            return;
        }
        let before = self.pending.range(..=offset).next_back().map(|(at, data)| at + data.len() as u64);
        let after = self.pending.range(offset..).next().map(|(at, _)| *at);
        // A sender cuts a file the same way each time, so what overlaps says nothing new.
        let overlaps = offset < self.given
            || before.is_some_and(|before| before > offset)
            || after.is_some_and(|after| after < end);
        if !overlaps {
            self.pending.insert(offset, data);
        }
    }

    /// The next bytes in order: a whole block, or the end.
    pub(super) fn poll_block(&mut self) -> Option<(u64, Bytes)> {
        let mut ready = 0;
        for (at, data) in &self.pending {
            if *at != self.given + ready || ready >= FILE_BLOCK {
                break;
            }
            ready += data.len() as u64;
        }
        if ready == 0 || (ready < FILE_BLOCK && self.given + ready < self.offer.size) {
            return None;
        }
        let offset = self.given;
        let mut block = BytesMut::new();
        while let Some(data) = self.pending.remove(&(offset + block.len() as u64)) {
            block.extend_from_slice(&data);
            if block.len() as u64 >= FILE_BLOCK {
                break;
            }
        }
        self.given += block.len() as u64;
        Some((offset, block.freeze()))
    }

    /// The page has put away everything up to this byte; `true` if more is to be asked for.
    pub(super) fn handle_taken(&mut self, bytes: u64) -> bool {
        self.taken = self.taken.max(bytes.min(self.given));
        let until = self.offer.size.min(self.taken + FILE_WINDOW);
        let is_worth_it = until >= self.until + FILE_BLOCK || (until == self.offer.size && until > self.until);
        if is_worth_it {
            self.until = until;
        }
        is_worth_it
    }
}

#[cfg(test)]
mod tests {
    use super::super::offer::FileId;
    use super::*;

    #[test]
    fn chunks_in_any_order_and_twice_make_blocks_in_order() {
        let mut download = download(200_000);
        let file: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        let mut chunks: Vec<(usize, &[u8])> = file.chunks(1000).enumerate().collect();
        chunks.reverse();
        let mut got = Vec::new();
        for (at, chunk) in chunks.iter().chain(&chunks.clone()) {
            download.handle_chunk(*at as u64 * 1000, Bytes::copy_from_slice(chunk));
        }
        while let Some((offset, block)) = download.poll_block() {
            assert_eq!(offset, got.len() as u64);
            got.extend_from_slice(&block);
        }
        assert_eq!(got, file);
        download.handle_taken(200_000);
        assert!(download.is_done());
    }

    #[test]
    fn what_was_not_asked_for_takes_no_memory() {
        let mut download = download(10 * FILE_WINDOW);
        download.handle_chunk(FILE_WINDOW, Bytes::from_static(b"x"));
        download.handle_chunk(u64::MAX, Bytes::from_static(b"x"));
        download.handle_chunk(FILE_WINDOW - 1, Bytes::from_static(b"xy"));
        assert!(download.pending.is_empty());
        download.handle_chunk(FILE_WINDOW - 1, Bytes::from_static(b"x"));
        // However it is cut, no byte is kept twice.
        for offset in 0..1000 {
            download.handle_chunk(offset, Bytes::from(vec![0; 1000]));
        }
        let kept: usize = download.pending.values().map(Bytes::len).sum();
        assert_eq!(kept, 1001);
    }

    #[test]
    fn more_is_asked_for_as_the_page_takes_it() {
        let mut download = download(10 * FILE_WINDOW);
        assert_eq!(download.until(), FILE_WINDOW);
        for offset in (0..FILE_WINDOW).step_by(1024) {
            download.handle_chunk(offset, Bytes::from(vec![0; 1024]));
        }
        while download.poll_block().is_some() {}
        assert!(!download.handle_taken(FILE_BLOCK - 1));
        assert!(download.handle_taken(FILE_BLOCK));
        assert_eq!(download.until(), FILE_WINDOW + FILE_BLOCK);
        assert!(download.handle_taken(u64::MAX), "no more than was given");
        assert_eq!(download.until(), 2 * FILE_WINDOW);
    }

    fn download(size: u64) -> Download {
        Download::new(Offer { id: FileId(1), name: "file".into(), size }, TransferId(1), 1)
    }
}
