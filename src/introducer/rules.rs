//! The rules of rooms, as far as the introducer goes: it passes on the newest and keeps out whom they exclude.
//!
//! Peers check all of this themselves; an introducer that does not only makes work for them.

use super::room::Room;
use super::{ConnectionId, Introducer};
use crate::params::KEPT_RULES;
use crate::trust::RoomClaim;
use crate::trust::host::HostPass;
use crate::trust::rules::{Exclusion, RuleBook, SignedRules};
use crate::units::{PeerId, RoomId, Time};
use crate::wire::control::{FromRendezvous, LeftReason};

impl Introducer {
    /// What a member says the host has decided.
    pub(super) fn handle_rules(&mut self, id: ConnectionId, rules: SignedRules, now: Time) {
        let Some((peer, Some(room_id))) = self.connections.get(&id).map(|c| (c.peer, c.room)) else {
            return self.close_malformed(id, "rules before a hello".to_owned());
        };
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        match room.book.take(rules.clone()) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::debug!(?peer, %error, "rules dropped"),
        }
        let message = FromRendezvous::Rules(rules);
        for to in self.others(room_id, peer) {
            self.tell(to, &message);
        }
        self.put_out_excluded(room_id, now);
    }

    /// Why a newcomer may not enter.
    pub(super) fn excludes(&self, claim: &RoomClaim, peer: &PeerId, pass: Option<&HostPass>) -> Option<Exclusion> {
        let book = self.book(&claim.room_id())?;
        book.excludes(peer, book.is_host(peer, pass))
    }

    /// A connection has no place in the room: it learns why, and has a moment to go by itself.
    pub(super) fn put_out(&mut self, id: ConnectionId, room_id: &RoomId, why: Exclusion, now: Time) {
        let rules = self.book(room_id).and_then(RuleBook::held).cloned();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        (connection.room, connection.since, connection.excluded) = (None, now, Some(why));
        if let Some(rules) = rules {
            self.tell(id, &FromRendezvous::Rules(rules));
        }
    }

    /// The room of this claim, opened with the rules it had if nobody is in it.
    pub(super) fn open(&mut self, claim: &RoomClaim) -> &mut Room {
        let (id, kept) = (claim.room_id(), &mut self.kept);
        self.rooms.entry(id).or_insert_with(|| {
            let at = kept.iter().position(|book| book.room() == id);
            let book = at.and_then(|at| kept.remove(at));
            Room::new(book.unwrap_or_else(|| RuleBook::new(id, claim.host())))
        })
    }

    /// Nobody is in a room any more: only its rules are worth keeping.
    pub(super) fn close_room(&mut self, room_id: &RoomId) {
        let Some(room) = self.rooms.remove(room_id) else { return };
        if room.book.held().is_some() {
            self.kept.push_back(room.book);
            if self.kept.len() > KEPT_RULES {
                self.kept.pop_front();
            }
        }
    }

    fn book(&self, room_id: &RoomId) -> Option<&RuleBook> {
        let kept = || self.kept.iter().find(|book| book.room() == *room_id);
        self.rooms.get(room_id).map(|room| &room.book).or_else(kept)
    }

    fn put_out_excluded(&mut self, room_id: RoomId, now: Time) {
        let Some(room) = self.rooms.get(&room_id) else { return };
        let seats = room.members.values();
        let excluded = seats.filter_map(|seat| {
            let why = room.book.excludes(&seat.member.id, seat.member.host.is_some())?;
            Some((seat.member.id, seat.connection, why))
        });
        for (peer, connection, why) in excluded.collect::<Vec<_>>() {
            self.put_out(connection, &room_id, why, now);
            self.unseat(room_id, peer, LeftReason::Removed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{World, address, hello, peer};
    use super::*;
    use crate::params::PUT_OUT_TIME;
    use crate::trust::RoomSecret;
    use crate::trust::host::HostKey;
    use crate::trust::rules::Rules;
    use crate::wire::control::{Close, Hello, ToRendezvous};

    #[test]
    fn rules_reach_everybody_and_whoever_comes_later() {
        let mut world = room(2);
        let rules = signed(Rules { is_muted: true, ..rules(1) });
        world.tell(1, &ToRendezvous::Rules(rules.clone()));
        assert_eq!(told_rules(&mut world), [(2, rules.clone())]);
        enter(&mut world, 3);
        assert_eq!(told_rules(&mut world), [(3, rules)]);
    }

    #[test]
    fn rules_that_are_forged_of_elsewhere_or_old_are_dropped_and_the_newest_stay() {
        let mut world = room(2);
        let newest = signed(rules(5));
        world.tell(1, &ToRendezvous::Rules(newest.clone()));
        world.told();
        let usurper = HostKey::from_bytes([66; 32]);
        let elsewhere = Rules { number: 9, ..Rules::none(RoomId::from_bytes([1; 32])) };
        for bad in [rules(9).sign(&usurper).unwrap(), signed(elsewhere), signed(rules(4)), newest.clone()] {
            assert!(world.tell(2, &ToRendezvous::Rules(bad)), "who passes them on may be in good faith");
            assert_eq!(told_rules(&mut world), []);
        }
        enter(&mut world, 3);
        assert_eq!(told_rules(&mut world), [(3, newest)]);
    }

    #[test]
    fn whoever_is_removed_is_told_why_has_no_seat_any_more_and_is_refused_when_coming_back() {
        let mut world = room(3);
        let rules = signed(Rules { removed: vec![peer(2)], ..rules(1) });
        world.tell(1, &ToRendezvous::Rules(rules.clone()));
        let told = world.told();
        let left = FromRendezvous::Left { peer: peer(2), reason: LeftReason::Removed };
        assert!(told.contains(&(1, left.clone())) && told.contains(&(3, left)), "{told:?}");
        assert!(told.contains(&(2, FromRendezvous::Rules(rules.clone()))), "{told:?}");
        assert_eq!(world.closed, [], "it may go by itself");
        wait(&mut world, PUT_OUT_TIME - Duration::from_micros(1));
        assert_eq!(world.closed, []);
        wait(&mut world, Duration::from_micros(1));
        assert_eq!(world.closed, [(2, Close::Removed)]);
        world.introducer.handle_connected(ConnectionId(9), peer(2), address(2), world.now);
        world.tell(9, &ToRendezvous::Hello(hosted(2)));
        assert_eq!(world.told(), [(9, FromRendezvous::Rules(rules))], "no welcome, no introduction");
        wait(&mut world, PUT_OUT_TIME);
        assert_eq!(world.closed, [(2, Close::Removed), (9, Close::Removed)]);
    }

    #[test]
    fn what_somebody_says_who_was_put_out_does_not_matter() {
        let mut world = room(2);
        world.tell(1, &ToRendezvous::Rules(signed(Rules { removed: vec![peer(2)], ..rules(1) })));
        world.told();
        world.tell(2, &ToRendezvous::Hello(hosted(2)));
        world.tell(2, &ToRendezvous::Rules(signed(rules(2))));
        assert_eq!(world.told(), []);
        assert_eq!(world.closed, []);
    }

    #[test]
    fn a_locked_room_lets_in_who_was_there_and_a_host_and_nobody_else() {
        let mut world = room(2);
        world.tell(1, &ToRendezvous::Rules(signed(Rules { admitted: Some(vec![peer(1), peer(2)]), ..rules(1) })));
        world.introducer.handle_disconnected(ConnectionId(2), LeftReason::Lost);
        assert!(enter(&mut world, 2), "back after a break");
        assert!(!enter(&mut world, 3));
        let pass = Some(key().pass(&room_id(), &peer(4)));
        world.connect(4, address(4));
        world.tell(4, &ToRendezvous::Hello(Hello { host: pass, ..hosted(4) }));
        assert!(world.told().iter().any(|(to, told)| *to == 4 && matches!(told, FromRendezvous::Welcome { .. })));
        world.connect(5, address(5));
        world.tell(5, &ToRendezvous::Hello(Hello { host: pass, ..hosted(5) }));
        wait(&mut world, PUT_OUT_TIME);
        assert_eq!(world.closed, [(3, Close::Locked), (5, Close::Locked)], "a pass serves nobody else");
        world.tell(1, &ToRendezvous::Rules(signed(rules(2))));
        assert!(enter(&mut world, 6), "unlocked");
    }

    #[test]
    fn a_room_keeps_its_rules_when_everybody_has_left() {
        let mut world = room(1);
        let rules = signed(Rules { removed: vec![peer(2)], ..rules(1) });
        world.tell(1, &ToRendezvous::Rules(rules.clone()));
        world.introducer.handle_disconnected(ConnectionId(1), LeftReason::Left);
        assert_eq!(world.introducer.rooms(), 0);
        assert!(!enter(&mut world, 2));
        assert!(enter(&mut world, 3));
        assert!(told_rules(&mut world).contains(&(3, rules)));
    }

    #[test]
    fn rules_of_as_many_empty_rooms_as_allowed_are_kept_and_of_one_more_the_oldest_are_forgotten() {
        let mut world = World::new(|limits| limits.handshakes_per_minute = 1_000_000);
        for nth in 0..=KEPT_RULES as u64 {
            let secret = secret_of(nth);
            let claim = secret.claim(Some(key().id()));
            world.connect(nth, address(1));
            world.tell(nth, &ToRendezvous::Hello(Hello { room: claim, ..hosted(nth) }));
            world.tell(nth, &ToRendezvous::Rules(signed(Rules { number: 1, ..Rules::none(claim.room_id()) })));
            world.introducer.handle_disconnected(ConnectionId(nth), LeftReason::Left);
        }
        let keeps = |nth: u64| {
            let room = secret_of(nth).claim(Some(key().id())).room_id();
            world.introducer.kept.iter().any(|book| book.room() == room)
        };
        assert_eq!(world.introducer.kept.len(), KEPT_RULES);
        assert_eq!([keeps(0), keeps(1), keeps(KEPT_RULES as u64)], [false, true, true]);
    }

    #[test]
    fn rules_before_a_hello_are_out_of_turn() {
        let mut world = World::new(|_| {});
        world.connect(1, address(1));
        assert!(!world.tell(1, &ToRendezvous::Rules(signed(rules(1)))));
        assert_eq!(world.closed, [(1, Close::Protocol)]);
    }

    /// So many members in a room that has a host.
    fn room(count: u64) -> World {
        let mut world = World::new(|_| {});
        (1..=count).for_each(|nth| assert!(enter(&mut world, nth)));
        world.told();
        world
    }

    /// Whether the member is welcome.
    fn enter(world: &mut World, nth: u64) -> bool {
        world.connect(nth, address(nth));
        world.tell(nth, &ToRendezvous::Hello(hosted(nth)));
        world.introducer.connections[&ConnectionId(nth)].room.is_some()
    }

    fn wait(world: &mut World, span: Duration) {
        world.now += span;
        world.introducer.handle_timeout(world.now);
        world.drain();
    }

    fn told_rules(world: &mut World) -> Vec<(u64, SignedRules)> {
        let rules = |(to, told)| if let FromRendezvous::Rules(rules) = told { Some((to, rules)) } else { None };
        world.told().into_iter().filter_map(rules).collect()
    }

    fn hosted(nth: u64) -> Hello {
        Hello { room: SECRET.claim(Some(key().id())), tag: SECRET.tag(&room_id(), &peer(nth)), ..hello(nth, 0) }
    }

    fn room_id() -> RoomId {
        SECRET.claim(Some(key().id())).room_id()
    }

    fn secret_of(nth: u64) -> RoomSecret {
        RoomSecret::from_bytes(u128::from(nth).to_be_bytes())
    }

    fn rules(number: u64) -> Rules {
        Rules { number, ..Rules::none(room_id()) }
    }

    fn signed(rules: Rules) -> SignedRules {
        rules.sign(&key()).unwrap()
    }

    fn key() -> HostKey {
        HostKey::from_bytes([1; 32])
    }

    const SECRET: RoomSecret = RoomSecret::from_bytes([5; 16]);
}
