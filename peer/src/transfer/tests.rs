mod room;

use proptest::prelude::*;

use super::*;
use crate::params::{FILE_BLOCK, FILE_MAX_NAME, FILE_WINDOW};
use room::{Room, file_of};

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
