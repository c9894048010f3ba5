//! The page's side of files: what it offers and wants goes to the transfers, what they want done is done.

use bytes::Bytes;
use meipo::net::Endpoint;
use meipo::units::{PeerId, Time, TransferId};

use super::message::{FileNews, FileWish, ToPage, block_message, peer_of};
use super::outbox::Outbox;
use super::server::text_of;
use crate::random;
use crate::transfer::{FileId, News, Task, TransferError, Transfers};

/// Between the page and the transfers.
#[derive(Debug, Default)]
pub struct FileDesk(Transfers);

impl FileDesk {
    /// The page is gone, and with it the files.
    pub fn handle_page_gone(&mut self) {
        self.0.clear();
    }

    /// Tells a page that has come into a running call what can be had.
    pub fn recount(&self, outbox: &Outbox) {
        for (peer, offer) in self.0.offers() {
            tell(outbox, News::Offered(peer, offer.clone()));
        }
    }

    /// Somebody is here, or there is a new way to them.
    pub fn handle_path(&mut self, peer: PeerId) {
        self.0.handle_path(peer);
    }

    /// Somebody is gone.
    pub fn handle_peer_left(&mut self, peer: PeerId) {
        self.0.handle_peer_left(peer);
    }

    /// Somebody says something; `false` if it is about something else.
    pub fn handle_said(&mut self, peer: PeerId, bytes: &[u8], now: Time) -> bool {
        self.0.handle_said(peer, bytes, random::id(), now)
    }

    /// A piece of a file came.
    pub fn handle_bulk(&mut self, peer: PeerId, transfer: TransferId, offset: u64, data: Bytes) {
        self.0.handle_chunk(peer, transfer, offset, data);
    }

    /// So much of one of ours has arrived.
    pub fn handle_arrived(&mut self, peer: PeerId, transfer: TransferId, bytes: u64) {
        self.0.handle_arrived(peer, transfer, bytes);
    }

    /// The page wants something.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn handle_page(&mut self, wish: FileWish) -> Result<(), TransferError> {
        match wish {
            FileWish::Offer { file, name, size } => self.0.offer(file, &name, size, random::id())?,
            FileWish::Withdraw { file } => self.0.withdraw(file),
            FileWish::Fetch { peer, id } => {
                let (peer, id) = key(&peer, &id).ok_or(TransferError::Gone)?;
                self.0.fetch(peer, id, random::id())?;
            }
            FileWish::Taken { peer, id, bytes } => {
                let (peer, id) = key(&peer, &id).ok_or(TransferError::Gone)?;
                self.0.handle_taken(peer, id, bytes);
            }
            FileWish::Abort { peer, id } => {
                let (peer, id) = key(&peer, &id).ok_or(TransferError::Gone)?;
                self.0.abort(peer, id);
            }
            FileWish::Unreadable { ticket, message } => self.0.handle_unreadable(ticket, &message),
        }
        Ok(())
    }

    /// The page has read a block.
    pub fn handle_block(&mut self, ticket: u32, data: Bytes) {
        self.0.handle_read(ticket, data);
    }

    /// Does everything that is to be done.
    pub fn perform(&mut self, endpoint: &Endpoint, outbox: Option<&Outbox>) {
        while let Some(task) = self.0.poll_task() {
            match task {
                Task::Say(to, bytes) => endpoint.say(to, bytes),
                Task::Accept(peer, transfer, until) => endpoint.accept_bulk(peer, transfer, until),
                Task::Send(peer, transfer, offset, data) => endpoint.send_bulk(peer, transfer, offset, data),
                Task::Cancel(peer, transfer) => endpoint.cancel_bulk(peer, transfer),
                Task::Tell(news) => outbox.into_iter().for_each(|outbox| tell(outbox, news.clone())),
            }
        }
    }
}

fn tell(outbox: &Outbox, news: News) {
    let (text, hex) = (|peer: PeerId| peer.to_string(), |id: FileId| format!("{:016x}", id.0));
    let told = match news {
        News::Block { number, offset, data } => return outbox.block(block_message(number, offset, &data)),
        News::Offered(peer, offer) => {
            FileNews::Offered { peer: text(peer), id: hex(offer.id), name: offer.name, size: offer.size }
        }
        News::Withdrawn(peer, id) => FileNews::Withdrawn { peer: text(peer), id: hex(id) },
        News::Begun { peer, id, number } => FileNews::Begun { peer: text(peer), id: hex(id), number },
        News::Failed { peer, id, reason } => FileNews::Failed { peer: text(peer), id: hex(id), reason },
        News::Stopped { file, peer, reason } => FileNews::Stopped { file, peer: text(peer), reason },
        News::Read { file, ticket, offset, length } => FileNews::Read { file, ticket, offset, length },
        News::Arrived { file, peer, bytes } => FileNews::Arrived { file, peer: text(peer), bytes },
    };
    outbox.tell(text_of(&ToPage::File(told)));
}

fn key(peer: &str, id: &str) -> Option<(PeerId, FileId)> {
    Some((peer_of(peer)?, FileId(u64::from_str_radix(id, 16).ok()?)))
}
