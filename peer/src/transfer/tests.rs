use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::params::{FILE_BLOCK, FILE_MAX_NAME, FILE_WINDOW};

#[test]
fn a_file_arrives_bit_for_bit_at_those_who_want_it_and_at_nobody_else() {
    let mut room = Room::of(3, 7);
    let file = file_of(1_000_003);
    room.offer(0, 5, &file);
    room.settle();
    let id = room.offered(1, 0);
    assert_eq!(room.offered(2, 0), id);
    room.fetch(1, 0, id);
    room.settle();
    assert_eq!(room.saved(1), file);
    assert!(room.people[2].saved.is_empty());
    assert!(room.people[1].transfers.downloads.is_empty() && room.people[0].transfers.uploads.is_empty());
    assert_eq!(room.people[0].arrived.get(&1), Some(&1_000_003));
}

#[test]
fn an_empty_file_and_one_of_a_single_byte_arrive() {
    for size in [0, 1] {
        let mut room = Room::of(2, 1);
        room.offer(0, 1, &file_of(size));
        room.settle();
        let id = room.offered(1, 0);
        room.fetch(1, 0, id);
        room.settle();
        assert_eq!(room.saved(1).len(), size);
    }
}

#[test]
fn who_comes_later_can_have_what_was_offered_before() {
    let mut room = Room::of(2, 1);
    room.offer(0, 1, &file_of(10));
    room.settle();
    room.enter();
    room.settle();
    room.offered(2, 0);
}

#[test]
fn a_file_goes_on_where_it_was_when_somebody_was_lost_and_came_back() {
    for seed in 0..20 {
        let mut room = Room::of(2, seed);
        let file = file_of(2_000_000);
        room.offer(0, 1, &file);
        room.settle();
        let id = room.offered(1, 0);
        room.fetch(1, 0, id);
        room.steps(500);
        let before = room.saved(1).len();
        assert!(before > 0 && before < file.len(), "{before}");
        // Sometimes both notice, sometimes one does.
        room.lose(0, 1, seed % 3 != 1, seed % 3 != 2);
        room.steps(20);
        room.meet(0, 1);
        room.settle();
        assert_eq!(room.saved(1), file, "seed {seed}");
        assert!(
            room.people[0].read <= file.len() + 2 * usize::try_from(FILE_WINDOW).unwrap(),
            "it began again: {}",
            room.people[0].read
        );
    }
}

#[test]
fn what_is_not_wanted_any_longer_is_not_sent_any_longer() {
    let mut room = Room::of(2, 3);
    room.offer(0, 1, &file_of(5_000_000));
    room.settle();
    let id = room.offered(1, 0);
    room.fetch(1, 0, id);
    room.steps(300);
    let alice = room.id(0);
    room.people[1].transfers.abort(alice, id);
    room.settle();
    assert!(room.people[0].transfers.uploads.is_empty() && room.people[0].transfers.reads.is_empty());
    assert!(room.people[0].failed.iter().any(|reason| reason.contains("not wanted")));
    room.people[1].saved.clear();
    room.fetch(1, 0, id);
    room.settle();
    assert_eq!(room.saved(1).len(), 5_000_000, "it can be had again");
}

#[test]
fn a_file_that_is_taken_back_or_cannot_be_read_is_a_sentence_at_both_ends() {
    let mut room = Room::of(2, 3);
    room.offer(0, 1, &file_of(5_000_000));
    room.settle();
    let id = room.offered(1, 0);
    room.fetch(1, 0, id);
    room.steps(100);
    room.people[0].transfers.withdraw(1);
    room.settle();
    assert!(room.people[1].failed.iter().any(|reason| reason.contains("no longer")), "{:?}", room.people[1].failed);
    let alice = room.id(0);
    assert_eq!(room.people[1].transfers.fetch(alice, id, 99), Err(TransferError::Gone));
    room.offer(0, 2, &file_of(5_000_000));
    room.settle();
    let id = room.offered(1, 0);
    room.people[0].is_unreadable = true;
    room.fetch(1, 0, id);
    room.settle();
    for person in &room.people {
        assert!(person.failed.iter().any(|reason| reason.contains("cannot be read")), "{:?}", person.failed);
    }
}

#[test]
fn who_reads_slowly_slows_the_sender_down() {
    let mut room = Room::of(2, 3);
    room.offer(0, 1, &file_of(5_000_000));
    room.settle();
    let id = room.offered(1, 0);
    room.people[1].is_slow = true;
    room.fetch(1, 0, id);
    room.settle();
    assert!(room.people[0].read as u64 <= FILE_WINDOW, "{} were read", room.people[0].read);
    assert!(room.saved(1).len() as u64 <= FILE_WINDOW);
}

#[test]
fn a_page_that_is_gone_offers_and_takes_nothing() {
    let mut room = Room::of(2, 3);
    room.offer(0, 1, &file_of(5_000_000));
    room.settle();
    let id = room.offered(1, 0);
    room.fetch(1, 0, id);
    room.steps(100);
    room.people[0].transfers.clear();
    room.people[1].transfers.clear();
    room.settle();
    for person in &room.people {
        let it = &person.transfers;
        assert!(it.uploads.is_empty() && it.downloads.is_empty() && it.ours.is_empty() && it.reads.is_empty());
    }
}

#[test]
fn what_one_person_can_ask_for_is_bounded() {
    let mut room = Room::of(2, 3);
    for file in 0..FILE_MAX_OFFERS {
        room.offer(0, u32::try_from(file).unwrap(), &file_of(1_000_000));
    }
    let over = room.people[0].transfers.offer(99, "more", 1, 99);
    assert_eq!(over, Err(TransferError::Offers));
    room.settle();
    let (alice, bob) = (room.id(0), room.id(1));
    let ids: Vec<FileId> = room.people[1].transfers.offers().map(|(_, offer)| offer.id).collect();
    assert_eq!(ids.len(), FILE_MAX_OFFERS);
    let begun = |room: &mut Room, id, fresh| room.people[1].transfers.fetch(alice, id, fresh);
    for (fresh, id) in ids.iter().take(FILE_MAX_TRANSFERS).enumerate() {
        assert_eq!(begun(&mut room, *id, fresh as u64), Ok(()));
    }
    assert_eq!(begun(&mut room, ids[0], 50), Err(TransferError::OnItsWay));
    assert_eq!(begun(&mut room, ids[FILE_MAX_TRANSFERS], 50), Err(TransferError::Transfers));
    // Who does not keep to it, asks and offers in vain.
    for transfer in 100..200 {
        let ask = Saying::Ask { id: ids[0], transfer: TransferId(transfer), from: 0, until: u64::MAX };
        room.people[0].transfers.handle_said(bob, &ask.encode(), 0, Time::ZERO);
        let offer = Offer { id: FileId(transfer), name: "x".repeat(10 * FILE_MAX_NAME), size: u64::MAX };
        room.people[0].transfers.handle_said(bob, &Saying::Offer(offer).encode(), 0, Time::ZERO);
    }
    let it = &room.people[0].transfers;
    assert_eq!((it.uploads.len(), it.theirs[&bob].len()), (FILE_MAX_TRANSFERS, FILE_MAX_OFFERS));
    assert!(it.theirs[&bob].values().all(|offer| offer.name.len() == FILE_MAX_NAME));
    assert!(it.reads.len() as u64 <= FILE_MAX_TRANSFERS as u64 * FILE_WINDOW / FILE_BLOCK);
}

#[test]
fn a_flood_of_words_is_dropped() {
    let mut transfers = Transfers::default();
    let bob = PeerId::from_bytes([1; 32]);
    for _ in 0..10_000 {
        let ask = Saying::Ask { id: FileId(1), transfer: TransferId(1), from: 0, until: 1 };
        assert!(transfers.handle_said(bob, &ask.encode(), 0, Time::ZERO));
    }
    assert_eq!(transfers.tasks.len() as u64, FILE_SAID_RATE.1);
}

proptest! {
    #[test]
    fn whatever_is_said_or_sent_nothing_panics(
        words in prop::collection::vec((0..5_u8, 0..4_u64, any::<u64>(), any::<u64>()), 0..60),
    ) {
        let mut transfers = Transfers::default();
        let bob = PeerId::from_bytes([1; 32]);
        transfers.offer(1, "a", 100_000, 1).unwrap();
        for (kind, small, one, other) in words {
            let (id, transfer) = (FileId(small), TransferId(small));
            let saying = match kind {
                0 => Saying::Offer(Offer { id, name: "b".into(), size: one }),
                1 => Saying::Withdrawn { id },
                2 => Saying::Ask { id, transfer, from: one, until: other },
                3 => Saying::Stop { transfer, reason: Some("x".into()) },
                _ => Saying::Offered { ids: vec![id] },
            };
            transfers.handle_said(bob, &saying.encode(), one, Time::ZERO);
            let _ = transfers.fetch(bob, id, small);
            transfers.handle_chunk(bob, transfer, other, Bytes::from_static(b"noise"));
            transfers.handle_taken(bob, id, one);
            transfers.handle_arrived(bob, transfer, other);
            transfers.handle_read(u32::try_from(small).unwrap(), Bytes::new());
            while transfers.poll_task().is_some() {}
        }
    }
}

/// People with pages, and between them a network that reorders and repeats bulk.
struct Room {
    people: Vec<Person>,
    bulk: Vec<(usize, usize, TransferId, u64, Bytes)>,
    said: VecDeque<(usize, usize, Bytes)>,
    arrived: VecDeque<(usize, usize, TransferId, u64)>,
    random: u64,
    now: Time,
}

#[derive(Default)]
struct Person {
    transfers: Transfers,
    files: BTreeMap<u32, Vec<u8>>,
    offered: Vec<(PeerId, FileId)>,
    begun: BTreeMap<u32, (PeerId, FileId)>,
    accepted: BTreeMap<(PeerId, TransferId), u64>,
    saved: Vec<u8>,
    failed: Vec<String>,
    arrived: BTreeMap<usize, u64>,
    read: usize,
    is_slow: bool,
    is_unreadable: bool,
}

impl Room {
    fn of(count: usize, seed: u64) -> Self {
        let (bulk, said, arrived) = (Vec::new(), VecDeque::new(), VecDeque::new());
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut room = Room { people: Vec::new(), bulk, said, arrived, random, now: Time::ZERO };
        (0..count).for_each(|_| room.enter());
        room.settle();
        room
    }

    fn enter(&mut self) {
        self.people.push(Person::default());
        (0..self.people.len() - 1).for_each(|other| self.meet(other, self.people.len() - 1));
    }

    fn meet(&mut self, one: usize, other: usize) {
        let ids = (self.id(one), self.id(other));
        self.people[one].transfers.handle_path(ids.1);
        self.people[other].transfers.handle_path(ids.0);
    }

    /// What was between them is lost; who notices forgets.
    fn lose(&mut self, one: usize, other: usize, is_noticed_by_one: bool, is_noticed_by_other: bool) {
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

    fn offer(&mut self, at: usize, file: u32, bytes: &[u8]) {
        let fresh = self.random();
        let person = &mut self.people[at];
        person.transfers.offer(file, "file.bin", bytes.len() as u64, fresh).unwrap();
        person.files.insert(file, bytes.to_vec());
    }

    /// The newest that somebody was offered.
    fn offered(&self, at: usize, by: usize) -> FileId {
        let offered = self.people[at].offered.iter().rfind(|(peer, _)| *peer == self.id(by));
        offered.unwrap().1
    }

    fn fetch(&mut self, at: usize, from: usize, id: FileId) {
        let (from, fresh) = (self.id(from), self.random());
        self.people[at].transfers.fetch(from, id, fresh).unwrap();
    }

    fn saved(&self, at: usize) -> &[u8] {
        &self.people[at].saved
    }

    fn settle(&mut self) {
        while self.step() {}
    }

    fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    /// Everybody does what is to be done, then one thing comes; `false` if nothing does.
    fn step(&mut self) -> bool {
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

    fn perform(&mut self, at: usize, task: Task) {
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

    fn tell(&mut self, at: usize, news: News) {
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

    fn id(&self, place: usize) -> PeerId {
        PeerId::from_bytes([u8::try_from(place).unwrap(); 32])
    }

    fn place(&self, peer: PeerId) -> usize {
        (0..self.people.len()).find(|place| self.id(*place) == peer).unwrap()
    }

    /// Xorshift: a network of its own for each seed.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

fn file_of(size: usize) -> Vec<u8> {
    (0..size).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect()
}
