//! Files from one person to another: offered to everybody, sent to whoever asks, as much at a time as they have room for.
//!
//! What peers say, chunks of bulk and what our page wants go in; [`Task`]s come out. Nobody gets a file unasked, and only as
//! much is under way as the receiver's page has room for, so whoever is slow slows the sender down and nothing piles up.
//! Bulk arrives whole and unchanged whatever the network does (QUIC authenticates each packet), and a receiver who had to
//! begin again asks for what it lacks.
//!
//! ```text
//! offer                who has what, and the words for it
//! upload               page reads a block → bulk
//! download             bulk in any order → blocks in order → page puts them away
//! ```

mod download;
mod offer;
mod task;
mod upload;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use meipo::bucket::Bucket;
use meipo::units::{PeerId, Time, TransferId};

pub use offer::{FileId, Offer};
pub use task::{News, Task, TransferError};

use self::download::Download;
use self::offer::{Saying, harmless};
use self::upload::Upload;
use crate::params::{FILE_MAX_OFFERS, FILE_MAX_TRANSFERS, FILE_SAID_RATE};

/// All files of one call.
#[derive(Debug, Default)]
pub struct Transfers {
    /// What we offer, and the page's number for it.
    ours: BTreeMap<FileId, (u32, Offer)>,
    /// What others offer, whether they are here or not: who was lost may come back.
    theirs: BTreeMap<PeerId, BTreeMap<FileId, Offer>>,
    uploads: BTreeMap<(PeerId, TransferId), Upload>,
    downloads: BTreeMap<(PeerId, FileId), Download>,
    /// What the page is reading: for whom, and where in the file.
    reads: BTreeMap<u32, (PeerId, TransferId, u64)>,
    /// The last number and the last ticket given out.
    last: u32,
    budgets: BTreeMap<PeerId, Bucket>,
    tasks: VecDeque<Task>,
}

impl Transfers {
    /// Somebody is here, or there is a new way to them: what was said on the old one may be lost.
    pub fn handle_path(&mut self, peer: PeerId) {
        for (_, offer) in self.ours.values() {
            self.tasks.push_back(Task::Say(Some(peer), Saying::Offer(offer.clone()).encode()));
        }
        let ids = self.ours.keys().copied().collect();
        self.tasks.push_back(Task::Say(Some(peer), Saying::Offered { ids }.encode()));
    }

    /// Somebody is gone. What they offer stays known, in case they come back; what was under way waits.
    pub fn handle_peer_left(&mut self, peer: PeerId) {
        self.uploads.retain(|(to, _), _| *to != peer);
        self.reads.retain(|_, (to, ..)| *to != peer);
        self.budgets.remove(&peer);
        self.downloads.iter_mut().filter(|((of, _), _)| *of == peer).for_each(|(_, download)| download.interrupt());
        let on_its_way = |id: &FileId| self.downloads.contains_key(&(peer, *id));
        let Some(offers) = self.theirs.get_mut(&peer) else { return };
        for (id, _) in offers.extract_if(.., |id, _| !on_its_way(id)) {
            self.tasks.push_back(Task::Tell(News::Withdrawn(peer, id)));
        }
        self.theirs.retain(|_, offers| !offers.is_empty());
    }

    /// Somebody says something; `false` if it is about something else. `fresh` is a number nobody else has.
    pub fn handle_said(&mut self, peer: PeerId, bytes: &[u8], fresh: u64, now: Time) -> bool {
        let Some(saying) = Saying::decode(bytes) else { return false };
        let (rate, at_once) = FILE_SAID_RATE;
        if !self.budgets.entry(peer).or_insert_with(|| Bucket::new(rate, at_once, now)).take(1, now) {
            tracing::debug!(?peer, "says more about files than anybody has to");
            return true;
        }
        match saying {
            Saying::Offer(offer) => self.handle_offer(peer, offer),
            Saying::Offered { ids } => self.handle_offered(peer, &ids, fresh),
            Saying::Withdrawn { id } => self.handle_withdrawn(peer, id),
            Saying::Ask { id, transfer, from, until } => self.handle_ask(peer, id, transfer, from, until),
            Saying::Stop { transfer, reason } => self.handle_stop(peer, transfer, reason),
        }
        true
    }

    /// A chunk of a transfer came.
    pub fn handle_chunk(&mut self, peer: PeerId, transfer: TransferId, offset: u64, data: Bytes) {
        let mut downloads = self.downloads.iter_mut().filter(|((of, _), _)| *of == peer);
        let Some((_, download)) = downloads.find(|(_, download)| download.transfer == transfer) else { return };
        download.handle_chunk(offset, data);
        while let Some((offset, data)) = download.poll_block() {
            self.tasks.push_back(Task::Tell(News::Block { number: download.number, offset, data }));
        }
    }

    /// So much of what we sent has arrived.
    pub fn handle_arrived(&mut self, peer: PeerId, transfer: TransferId, bytes: u64) {
        let Some(upload) = self.uploads.get_mut(&(peer, transfer)) else { return };
        upload.handle_arrived(bytes);
        if let Some((file, _)) = self.ours.get(&upload.file) {
            let (file, bytes) = (*file, upload.progress());
            self.tasks.push_back(Task::Tell(News::Arrived { file, peer, bytes }));
        }
        self.read_on(peer, transfer);
    }

    /// Our page offers a file; `fresh` is a number nobody else has.
    ///
    /// # Errors
    /// When there are too many, or the page's number is in use.
    pub fn offer(&mut self, file: u32, name: &str, size: u64, fresh: u64) -> Result<(), TransferError> {
        if self.ours.len() >= FILE_MAX_OFFERS {
            return Err(TransferError::Offers);
        }
        if self.ours.values().any(|(known, _)| *known == file) {
            return Err(TransferError::Twice(file));
        }
        let offer = Offer { id: FileId(fresh), name: harmless(name), size };
        self.tasks.push_back(Task::Say(None, Saying::Offer(offer.clone()).encode()));
        self.ours.insert(offer.id, (file, offer));
        Ok(())
    }

    /// Our page offers a file no longer.
    pub fn withdraw(&mut self, file: u32) {
        let found = self.ours.iter().find(|(_, (known, _))| *known == file).map(|(id, _)| *id);
        let Some(id) = found else { return };
        self.ours.remove(&id);
        self.tasks.push_back(Task::Say(None, Saying::Withdrawn { id }.encode()));
        let uploads = self.uploads.extract_if(.., |_, upload| upload.file == id);
        for ((peer, transfer), _) in uploads {
            self.tasks.push_back(Task::Cancel(peer, transfer));
        }
    }

    /// Our page wants a file; `fresh` is a number nobody else has.
    ///
    /// # Errors
    /// When it cannot be had, is on its way, or too many are.
    pub fn fetch(&mut self, peer: PeerId, id: FileId, fresh: u64) -> Result<(), TransferError> {
        let offer = self.theirs.get(&peer).and_then(|offers| offers.get(&id)).ok_or(TransferError::Gone)?;
        if self.downloads.contains_key(&(peer, id)) {
            return Err(TransferError::OnItsWay);
        }
        if self.downloads.keys().filter(|(of, _)| *of == peer).count() >= FILE_MAX_TRANSFERS {
            return Err(TransferError::Transfers);
        }
        self.last = self.last.wrapping_add(1);
        let (number, transfer) = (self.last, TransferId(fresh));
        let download = Download::new(offer.clone(), transfer, number);
        self.tasks.push_back(Task::Tell(News::Begun { peer, id, number }));
        if !download.is_done() {
            self.tasks.push_back(Task::Accept(peer, transfer, download.until()));
            self.tasks.push_back(ask(peer, &download));
            self.downloads.insert((peer, id), download);
        }
        Ok(())
    }

    /// Our page has put away everything of a file up to this byte.
    pub fn handle_taken(&mut self, peer: PeerId, id: FileId, bytes: u64) {
        let Some(download) = self.downloads.get_mut(&(peer, id)) else { return };
        if download.handle_taken(bytes) {
            self.tasks.push_back(Task::Accept(peer, download.transfer, download.until()));
            self.tasks.push_back(ask(peer, download));
        }
        if download.is_done() {
            self.stop(peer, id, None);
        }
    }

    /// Our page does not want a file any longer.
    pub fn abort(&mut self, peer: PeerId, id: FileId) {
        self.stop(peer, id, Some("it is not wanted any longer".to_owned()));
    }

    /// Our page has read what it was asked to.
    pub fn handle_read(&mut self, ticket: u32, data: Bytes) {
        let Some((peer, transfer, offset)) = self.reads.remove(&ticket) else { return };
        let upload = self.uploads.get_mut(&(peer, transfer));
        if upload.is_some_and(|upload| upload.handle_read(offset)) {
            self.tasks.push_back(Task::Send(peer, transfer, offset, data));
        }
        self.read_on(peer, transfer);
    }

    /// Our page cannot read what it was asked to: the file was changed, or is gone.
    pub fn handle_unreadable(&mut self, ticket: u32, reason: &str) {
        let Some((peer, transfer, _)) = self.reads.remove(&ticket) else { return };
        let Some(upload) = self.uploads.remove(&(peer, transfer)) else { return };
        let reason = format!("it cannot be read any longer: {reason}");
        self.tasks.push_back(Task::Cancel(peer, transfer));
        self.tasks.push_back(Task::Say(Some(peer), Saying::Stop { transfer, reason: Some(reason.clone()) }.encode()));
        self.tell_stopped(peer, upload.file, reason);
    }

    /// Our page is gone, and with it the files and whoever would put others away.
    pub fn clear(&mut self) {
        let ours: Vec<u32> = self.ours.values().map(|(file, _)| *file).collect();
        ours.into_iter().for_each(|file| self.withdraw(file));
        let downloads: Vec<_> = self.downloads.keys().copied().collect();
        downloads.into_iter().for_each(|(peer, id)| self.abort(peer, id));
        self.reads.clear();
    }

    /// What others offer, for a page that comes later.
    pub fn offers(&self) -> impl Iterator<Item = (PeerId, &Offer)> {
        self.theirs.iter().flat_map(|(peer, offers)| offers.values().map(|offer| (*peer, offer)))
    }

    /// What is to be done next.
    pub fn poll_task(&mut self) -> Option<Task> {
        self.tasks.pop_front()
    }

    fn handle_offer(&mut self, peer: PeerId, offer: Offer) {
        let offers = self.theirs.entry(peer).or_default();
        let offer = Offer { name: harmless(&offer.name), ..offer };
        if !offers.contains_key(&offer.id) && offers.len() < FILE_MAX_OFFERS {
            offers.insert(offer.id, offer.clone());
            self.tasks.push_back(Task::Tell(News::Offered(peer, offer)));
        }
    }

    /// They are here, or there is a new way to them: what was under way goes on.
    fn handle_offered(&mut self, peer: PeerId, ids: &[FileId], fresh: u64) {
        let known: Vec<FileId> = self.theirs.get(&peer).into_iter().flat_map(BTreeMap::keys).copied().collect();
        known.into_iter().filter(|id| !ids.contains(id)).for_each(|id| self.handle_withdrawn(peer, id));
        let under_way = self.downloads.iter_mut().filter(|((of, _), _)| *of == peer);
        for (at, (_, download)) in under_way.enumerate() {
            download.resume(TransferId(fresh.wrapping_add(at as u64)));
            self.tasks.push_back(Task::Accept(peer, download.transfer, download.until()));
            self.tasks.push_back(ask(peer, download));
        }
    }

    fn handle_withdrawn(&mut self, peer: PeerId, id: FileId) {
        let known = self.theirs.get_mut(&peer).and_then(|offers| offers.remove(&id));
        if known.is_none() {
            return;
        }
        if let Some(download) = self.downloads.remove(&(peer, id)) {
            self.tasks.push_back(Task::Accept(peer, download.transfer, 0));
            let reason = "it is offered no longer".to_owned();
            self.tasks.push_back(Task::Tell(News::Failed { peer, id, reason }));
        }
        self.tasks.push_back(Task::Tell(News::Withdrawn(peer, id)));
    }

    fn handle_ask(&mut self, peer: PeerId, id: FileId, transfer: TransferId, from: u64, until: u64) {
        let Some((_, offer)) = self.ours.get(&id) else {
            self.tasks.push_back(Task::Say(Some(peer), Saying::Withdrawn { id }.encode()));
            return;
        };
        let size = offer.size;
        if !self.uploads.contains_key(&(peer, transfer)) {
            let under_way = self.uploads.keys().filter(|(to, _)| *to == peer).count();
            if under_way >= FILE_MAX_TRANSFERS || from > size {
                let reason = Some(TransferError::Transfers.to_string());
                self.tasks.push_back(Task::Say(Some(peer), Saying::Stop { transfer, reason }.encode()));
                return;
            }
            self.uploads.insert((peer, transfer), Upload::new(id, from));
        }
        if let Some(upload) = self.uploads.get_mut(&(peer, transfer)) {
            upload.allow(until.min(size));
        }
        self.read_on(peer, transfer);
    }

    fn handle_stop(&mut self, peer: PeerId, transfer: TransferId, reason: Option<String>) {
        if let Some(upload) = self.uploads.remove(&(peer, transfer)) {
            self.tasks.push_back(Task::Cancel(peer, transfer));
            match (reason, self.ours.get(&upload.file)) {
                (Some(reason), _) => self.tell_stopped(peer, upload.file, harmless_reason(&reason)),
                // They have all of it; the network has not told of the last pieces yet.
                (None, Some((file, Offer { size: bytes, .. }))) => {
                    self.tasks.push_back(Task::Tell(News::Arrived { file: *file, peer, bytes: *bytes }));
                }
                (None, None) => {}
            }
            return;
        }
        let of_transfer = |(key, download): (&(PeerId, FileId), &Download)| {
            (key.0 == peer && download.transfer == transfer).then_some(key.1)
        };
        if let Some(id) = self.downloads.iter().find_map(of_transfer) {
            self.downloads.remove(&(peer, id));
            self.tasks.push_back(Task::Accept(peer, transfer, 0));
            let reason = harmless_reason(&reason.unwrap_or_default());
            self.tasks.push_back(Task::Tell(News::Failed { peer, id, reason }));
        }
    }

    fn tell_stopped(&mut self, peer: PeerId, id: FileId, reason: String) {
        if let Some((file, _)) = self.ours.get(&id) {
            self.tasks.push_back(Task::Tell(News::Stopped { file: *file, peer, reason }));
        }
    }

    fn stop(&mut self, peer: PeerId, id: FileId, reason: Option<String>) {
        let Some(download) = self.downloads.remove(&(peer, id)) else { return };
        let transfer = download.transfer;
        self.tasks.push_back(Task::Accept(peer, transfer, 0));
        self.tasks.push_back(Task::Say(Some(peer), Saying::Stop { transfer, reason }.encode()));
    }

    /// Lets the page read what may go.
    fn read_on(&mut self, peer: PeerId, transfer: TransferId) {
        let Some(upload) = self.uploads.get_mut(&(peer, transfer)) else { return };
        let Some((file, _)) = self.ours.get(&upload.file) else { return };
        while let Some((offset, length)) = upload.poll_read() {
            self.last = self.last.wrapping_add(1);
            self.reads.insert(self.last, (peer, transfer, offset));
            self.tasks.push_back(Task::Tell(News::Read { file: *file, ticket: self.last, offset, length }));
        }
    }
}

fn ask(peer: PeerId, download: &Download) -> Task {
    let (id, transfer) = (download.offer.id, download.transfer);
    let saying = Saying::Ask { id, transfer, from: download.lacks(), until: download.until() };
    Task::Say(Some(peer), saying.encode())
}

/// What a stranger gives as a reason, short and on one line.
fn harmless_reason(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
