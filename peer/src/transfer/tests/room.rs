//! People with pages, as far as files are concerned, in no time and on no network.

use std::time::Duration;

use super::super::*;

/// People with pages, and between them a network that reorders and repeats bulk.
pub(super) struct Room {
    pub(super) people: Vec<Person>,
    pub(super) bulk: Vec<(usize, usize, TransferId, u64, Bytes)>,
    pub(super) said: VecDeque<(usize, usize, Bytes)>,
    pub(super) arrived: VecDeque<(usize, usize, TransferId, u64)>,
    pub(super) random: u64,
    pub(super) now: Time,
}

#[derive(Default)]
pub(super) struct Person {
    pub(super) transfers: Transfers,
    pub(super) files: BTreeMap<u32, Vec<u8>>,
    pub(super) offered: Vec<(PeerId, FileId)>,
    pub(super) begun: BTreeMap<u32, (PeerId, FileId)>,
    pub(super) accepted: BTreeMap<(PeerId, TransferId), u64>,
    pub(super) saved: Vec<u8>,
    pub(super) failed: Vec<String>,
    pub(super) arrived: BTreeMap<usize, u64>,
    pub(super) read: usize,
    pub(super) is_slow: bool,
    pub(super) is_unreadable: bool,
}

impl Room {
    pub(super) fn of(count: usize, seed: u64) -> Self {
        let (bulk, said, arrived) = (Vec::new(), VecDeque::new(), VecDeque::new());
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut room = Room { people: Vec::new(), bulk, said, arrived, random, now: Time::ZERO };
        (0..count).for_each(|_| room.enter());
        room.settle();
        room
    }

    pub(super) fn enter(&mut self) {
        self.people.push(Person::default());
        (0..self.people.len() - 1).for_each(|other| self.meet(other, self.people.len() - 1));
    }

    pub(super) fn meet(&mut self, one: usize, other: usize) {
        let ids = (self.id(one), self.id(other));
        self.people[one].transfers.handle_path(ids.1);
        self.people[other].transfers.handle_path(ids.0);
    }

    /// What was between them is lost; who notices forgets.
    pub(super) fn lose(&mut self, one: usize, other: usize, is_noticed_by_one: bool, is_noticed_by_other: bool) {
        let ids = (self.id(one), self.id(other));
        self.said.clear();
        self.arrived.clear();
        if is_noticed_by_one {
            self.people[one].transfers.handle_peer_left(ids.1);
            self.bulk.retain(|(from, to, ..)| (*from, *to) != (one, other));
        }
        if is_noticed_by_other {
            self.people[other].transfers.handle_peer_left(ids.0);
            self.people[other].accepted.retain(|(of, _), _| *of != ids.0);
        }
    }

    pub(super) fn offer(&mut self, at: usize, file: u32, bytes: &[u8]) {
        let fresh = self.random();
        let person = &mut self.people[at];
        person.transfers.offer(file, "file.bin", bytes.len() as u64, fresh).unwrap();
        person.files.insert(file, bytes.to_vec());
    }

    /// The newest that somebody was offered.
    pub(super) fn offered(&self, at: usize, by: usize) -> FileId {
        let offered = self.people[at].offered.iter().rfind(|(peer, _)| *peer == self.id(by));
        offered.unwrap().1
    }

    pub(super) fn fetch(&mut self, at: usize, from: usize, id: FileId) {
        let (from, fresh) = (self.id(from), self.random());
        self.people[at].transfers.fetch(from, id, fresh).unwrap();
    }

    pub(super) fn saved(&self, at: usize) -> &[u8] {
        &self.people[at].saved
    }

    pub(super) fn settle(&mut self) {
        while self.step() {}
    }

    pub(super) fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    /// Everybody does what is to be done, then one thing comes; `false` if nothing does.
    pub(super) fn step(&mut self) -> bool {
        self.now += Duration::from_millis(5);
        for at in 0..self.people.len() {
            while let Some(task) = self.people[at].transfers.poll_task() {
                self.perform(at, task);
            }
        }
        if let Some((from, to, bytes)) = self.said.pop_front() {
            let (from, fresh, now) = (self.id(from), self.random(), self.now);
            assert!(self.people[to].transfers.handle_said(from, &bytes, fresh, now));
        } else if let Some((to, from, transfer, bytes)) = self.arrived.pop_front() {
            let from = self.id(from);
            self.people[to].transfers.handle_arrived(from, transfer, bytes);
        } else if !self.bulk.is_empty() {
            let place = usize::try_from(self.random() % self.bulk.len().min(20) as u64).unwrap();
            let is_repeated = self.random().is_multiple_of(10);
            let (from, to, transfer, offset, data) = self.bulk[place].clone();
            if !is_repeated {
                self.bulk.remove(place);
                self.arrived.push_back((from, to, transfer, data.len() as u64));
            }
            let sender = self.id(from);
            let until = self.people[to].accepted.get(&(sender, transfer)).copied().unwrap_or_default();
            if offset + data.len() as u64 <= until {
                self.people[to].transfers.handle_chunk(sender, transfer, offset, data);
            }
        } else {
            return false;
        }
        true
    }

    pub(super) fn perform(&mut self, at: usize, task: Task) {
        match task {
            Task::Say(None, bytes) => {
                let others = (0..self.people.len()).filter(|other| *other != at);
                self.said.extend(others.map(|other| (at, other, bytes.clone())));
            }
            Task::Say(Some(peer), bytes) => self.said.push_back((at, self.place(peer), bytes)),
            Task::Accept(peer, transfer, 0) => drop(self.people[at].accepted.remove(&(peer, transfer))),
            Task::Accept(peer, transfer, until) => {
                self.people[at].accepted.insert((peer, transfer), until);
            }
            Task::Send(peer, transfer, offset, data) => {
                let to = self.place(peer);
                for (piece, chunk) in data.chunks(1000).enumerate() {
                    let offset = offset + piece as u64 * 1000;
                    self.bulk.push((at, to, transfer, offset, Bytes::copy_from_slice(chunk)));
                }
            }
            Task::Cancel(peer, transfer) => {
                let place = self.place(peer);
                self.bulk.retain(|(from, to, of, ..)| (*from, *to, *of) != (at, place, transfer));
            }
            Task::Tell(news) => self.tell(at, news),
        }
    }

    pub(super) fn tell(&mut self, at: usize, news: News) {
        let places: BTreeMap<PeerId, usize> = (0..self.people.len()).map(|place| (self.id(place), place)).collect();
        let person = &mut self.people[at];
        match news {
            News::Offered(peer, offer) => person.offered.push((peer, offer.id)),
            News::Withdrawn(..) => {}
            News::Begun { peer, id, number } => drop(person.begun.insert(number, (peer, id))),
            News::Block { number, offset, data } => {
                assert_eq!(offset, person.saved.len() as u64, "blocks come in order");
                person.saved.extend_from_slice(&data);
                let (peer, id) = person.begun[&number];
                if !person.is_slow {
                    person.transfers.handle_taken(peer, id, person.saved.len() as u64);
                }
            }
            News::Failed { reason, .. } | News::Stopped { reason, .. } => person.failed.push(reason),
            News::Read { ticket, .. } if person.is_unreadable => {
                person.transfers.handle_unreadable(ticket, "it was changed");
            }
            News::Read { file, ticket, offset, length } => {
                let from = usize::try_from(offset).unwrap();
                let bytes = &person.files[&file][from..from + usize::try_from(length).unwrap()];
                person.read += bytes.len();
                let bytes = Bytes::copy_from_slice(bytes);
                person.transfers.handle_read(ticket, bytes);
            }
            News::Arrived { peer, bytes, .. } => drop(person.arrived.insert(places[&peer], bytes)),
        }
    }

    pub(super) fn id(&self, place: usize) -> PeerId {
        PeerId::from_bytes([u8::try_from(place).unwrap(); 32])
    }

    pub(super) fn place(&self, peer: PeerId) -> usize {
        (0..self.people.len()).find(|place| self.id(*place) == peer).unwrap()
    }

    /// Xorshift: a network of its own for each seed.
    pub(super) fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

pub(super) fn file_of(size: usize) -> Vec<u8> {
    (0..size).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect()
}
