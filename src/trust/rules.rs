//! What the host of a room has decided: who may be in it, and who may be heard.
//!
//! Rules go in with a number, [`SignedRules`] come out, which anybody may pass on and everybody checks for themselves.
//! Of two that are validly signed, everybody takes the same one, whatever the order in which they came.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::host::{HostId, HostKey, HostPass, Signature};
use crate::params::{MAX_ADMITTED, MAX_REMOVED};
use crate::units::{PeerId, RoomId};

/// What holds in a room.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rules {
    /// Where they hold.
    pub room: RoomId,
    /// The highest number holds.
    pub number: u64,
    /// Whether nobody but hosts may be heard.
    pub is_muted: bool,
    /// In a locked room, who was in it: they may stay and come back, nobody else may enter. At most [`MAX_ADMITTED`].
    pub admitted: Option<Vec<PeerId>>,
    /// Who was put out. At most [`MAX_REMOVED`].
    pub removed: Vec<PeerId>,
}

/// Why somebody may not be in a room.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Exclusion {
    /// The host has put them out.
    Removed,
    /// The room is locked, and they were not in it.
    Locked,
}

impl Exclusion {
    /// What the person is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Exclusion::Removed => "the host has removed you from the room",
            Exclusion::Locked => "the host has locked the room; nobody new is let in",
        }
    }
}

impl Rules {
    /// The rules of a room before its host has decided anything.
    pub const fn none(room: RoomId) -> Self {
        Rules { room, number: 0, is_muted: false, admitted: None, removed: Vec::new() }
    }

    /// Whether nobody new is let in.
    pub const fn is_locked(&self) -> bool {
        self.admitted.is_some()
    }

    /// Why `peer`, who holds no key of the host, may not be in the room; `None` if it may.
    pub fn excludes(&self, peer: &PeerId) -> Option<Exclusion> {
        if self.removed.contains(peer) {
            return Some(Exclusion::Removed);
        }
        let is_admitted = self.admitted.as_ref().is_none_or(|admitted| admitted.contains(peer));
        (!is_admitted).then_some(Exclusion::Locked)
    }

    /// Puts the host's name to them.
    ///
    /// # Errors
    /// When a list is longer than allowed.
    pub fn sign(self, key: &HostKey) -> Result<SignedRules, RulesError> {
        self.check()?;
        let signature = key.sign(&self.message());
        Ok(SignedRules { rules: self, signature })
    }

    fn check(&self) -> Result<(), RulesError> {
        match (self.removed.len(), self.admitted.as_ref().map_or(0, Vec::len)) {
            (removed, _) if removed > MAX_REMOVED => Err(RulesError::Removed(removed)),
            (_, admitted) if admitted > MAX_ADMITTED => Err(RulesError::Admitted(admitted)),
            _ => Ok(()),
        }
    }

    /// What is signed: every field at a place that its forerunners determine.
    fn message(&self) -> Vec<u8> {
        let mut message = RULES.to_vec();
        message.extend_from_slice(self.room.as_bytes());
        message.extend_from_slice(&self.number.to_be_bytes());
        message.extend([u8::from(self.is_muted), u8::from(self.is_locked())]);
        for list in [self.admitted.as_deref().unwrap_or_default(), &self.removed] {
            message.extend_from_slice(&(list.len() as u64).to_be_bytes());
            message.extend(list.iter().flat_map(|peer| peer.as_bytes()));
        }
        message
    }
}

/// Rules with the name of a host, which may be forged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignedRules {
    rules: Rules,
    signature: Signature,
}

impl SignedRules {
    /// What they say, be it true or not.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Checks the bounds that a stranger could break.
    ///
    /// # Errors
    /// When a list is longer than allowed.
    pub fn check(&self) -> Result<(), RulesError> {
        self.rules.check()
    }

    /// Whether they are those of this host in this room.
    ///
    /// # Errors
    /// When they are of another room, somebody else signed them, or a list is longer than allowed.
    pub fn verify(&self, room: &RoomId, host: &HostId) -> Result<(), RulesError> {
        self.check()?;
        if self.rules.room != *room {
            return Err(RulesError::Room);
        }
        if host.check(&self.rules.message(), &self.signature) { Ok(()) } else { Err(RulesError::Signature) }
    }

    /// Whether they hold instead of `others`. Two hosts may have used one number: then everybody chooses alike.
    pub fn supersede(&self, others: &SignedRules) -> bool {
        let order = self.rules.number.cmp(&others.rules.number);
        order.then_with(|| self.signature.cmp(&others.signature)) == Ordering::Greater
    }
}

/// What a member knows of the host and its rules; the same for rendezvous and peers.
#[derive(Clone, Debug)]
pub struct RuleBook {
    room: RoomId,
    host: Option<HostId>,
    held: Option<SignedRules>,
}

impl RuleBook {
    /// The book of a room in which nothing has been decided.
    pub const fn new(room: RoomId, host: Option<HostId>) -> Self {
        RuleBook { room, host, held: None }
    }

    /// Which room it is.
    pub const fn room(&self) -> RoomId {
        self.room
    }

    /// Takes rules that came from anywhere; whether they hold now and did not before.
    ///
    /// # Errors
    /// When they would hold, but are not the host's.
    pub fn take(&mut self, rules: SignedRules) -> Result<bool, RulesError> {
        let host = self.host.ok_or(RulesError::NoHost)?;
        if self.held.as_ref().is_some_and(|held| !rules.supersede(held)) {
            return Ok(false);
        }
        rules.verify(&self.room, &host)?;
        self.held = Some(rules);
        Ok(true)
    }

    /// The rules that hold, signed, if any were made.
    pub const fn held(&self) -> Option<&SignedRules> {
        self.held.as_ref()
    }

    /// The rules that hold, if any were made.
    pub fn rules(&self) -> Option<&Rules> {
        self.held.as_ref().map(SignedRules::rules)
    }

    /// Whether nobody but hosts may be heard.
    pub fn is_muted(&self) -> bool {
        self.rules().is_some_and(|rules| rules.is_muted)
    }

    /// Whether `pass` makes `peer` a host here.
    pub fn is_host(&self, peer: &PeerId, pass: Option<&HostPass>) -> bool {
        let checks = |host: HostId, pass: &HostPass| host.check_pass(&self.room, peer, pass);
        self.host.zip(pass).is_some_and(|(host, pass)| checks(host, pass))
    }

    /// Why `peer` may not be in the room; whoever holds the host's key always may.
    pub fn excludes(&self, peer: &PeerId, is_host: bool) -> Option<Exclusion> {
        self.rules().filter(|_| !is_host)?.excludes(peer)
    }
}

/// Why rules are not taken or not made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// The link names no host.
    #[error("this room has no host")]
    NoHost,
    /// They are of another room.
    #[error("the rules are those of another room")]
    Room,
    /// Somebody else signed them, or they were changed.
    #[error("the rules are not signed by the host of the room")]
    Signature,
    /// More are put out than one list takes.
    #[error("{0} people removed; at most {MAX_REMOVED} are possible. Lock the room, or open another")]
    Removed(usize),
    /// More are in the room than can be locked in.
    #[error("{0} people in a locked room; at most {MAX_ADMITTED} are possible")]
    Admitted(usize),
}

const RULES: &[u8] = b"meipo 2 rules";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_rules_are_taken_and_what_they_say_holds() {
        let mut book = book();
        assert_eq!(book.excludes(&ALICE, false), None);
        let rules = Rules { removed: vec![BOB], admitted: Some(vec![ALICE, BOB]), is_muted: true, ..rules(1) };
        assert_eq!(book.take(signed(rules)), Ok(true));
        assert!(book.is_muted());
        assert_eq!(book.excludes(&ALICE, false), None);
        assert_eq!(book.excludes(&BOB, false), Some(Exclusion::Removed));
        assert_eq!(book.excludes(&CAROL, false), Some(Exclusion::Locked));
        assert_eq!(book.excludes(&CAROL, true), None, "a host is at home");
    }

    #[test]
    fn older_rules_and_the_same_once_more_change_nothing() {
        let mut book = book();
        let newest = signed(Rules { is_muted: true, ..rules(7) });
        assert_eq!(book.take(newest.clone()), Ok(true));
        assert_eq!(book.take(newest), Ok(false));
        assert_eq!(book.take(signed(rules(6))), Ok(false));
        assert!(book.is_muted());
        assert_eq!(book.take(signed(rules(8))), Ok(true));
        assert!(!book.is_muted());
    }

    #[test]
    fn of_two_with_one_number_everybody_takes_the_same() {
        let pair = [rules(1), Rules { is_muted: true, ..rules(1) }].map(signed);
        let held = |order: [usize; 2]| {
            let mut book = book();
            for nth in order {
                book.take(pair[nth].clone()).unwrap();
            }
            book.held().cloned()
        };
        assert_eq!(held([0, 1]), held([1, 0]));
    }

    #[test]
    fn rules_of_another_room_another_host_or_none_are_refused() {
        let elsewhere = Rules { room: RoomId::from_bytes([8; 32]), ..rules(1) }.sign(&key()).unwrap();
        assert_eq!(book().take(elsewhere), Err(RulesError::Room));
        let usurped = rules(1).sign(&HostKey::from_bytes([2; 32])).unwrap();
        assert_eq!(book().take(usurped), Err(RulesError::Signature));
        assert_eq!(RuleBook::new(ROOM, None).take(signed(rules(1))), Err(RulesError::NoHost));
    }

    #[test]
    fn rules_that_were_changed_on_the_way_are_refused() {
        let lists = Rules { removed: vec![BOB], admitted: Some(vec![ALICE]), ..rules(1) };
        let honest = signed(lists.clone());
        let changed = [
            Rules { number: 2, ..lists.clone() },
            Rules { is_muted: true, ..lists.clone() },
            Rules { admitted: None, ..lists.clone() },
            Rules { removed: Vec::new(), ..lists.clone() },
            Rules { removed: vec![BOB, ALICE], admitted: Some(Vec::new()), ..lists.clone() },
            Rules { removed: vec![CAROL], ..lists },
        ];
        for rules in changed {
            let forged = SignedRules { rules, signature: honest.signature };
            assert_eq!(book().take(forged.clone()), Err(RulesError::Signature), "{forged:?}");
        }
    }

    #[test]
    fn a_pass_is_no_signature_under_rules() {
        let signature = key().pass(&ROOM, &ALICE).0;
        let forged = SignedRules { rules: rules(1), signature };
        assert_eq!(book().take(forged), Err(RulesError::Signature));
    }

    #[test]
    fn as_many_are_removed_and_locked_in_as_allowed_and_one_more_is_not() {
        let most = Rules { removed: vec![BOB; MAX_REMOVED], admitted: Some(vec![ALICE; MAX_ADMITTED]), ..rules(1) };
        assert_eq!(book().take(signed(most.clone())), Ok(true));
        let removed = Rules { removed: vec![BOB; MAX_REMOVED + 1], ..most.clone() };
        assert_eq!(removed.clone().sign(&key()), Err(RulesError::Removed(MAX_REMOVED + 1)));
        let admitted = Rules { admitted: Some(vec![ALICE; MAX_ADMITTED + 1]), ..most };
        assert_eq!(admitted.clone().sign(&key()), Err(RulesError::Admitted(MAX_ADMITTED + 1)));
        for rules in [removed, admitted] {
            let signature = key().sign(&rules.message());
            assert!(book().take(SignedRules { rules, signature }).is_err(), "a host may be hostile");
        }
    }

    fn book() -> RuleBook {
        RuleBook::new(ROOM, Some(key().id()))
    }

    fn rules(number: u64) -> Rules {
        Rules { number, ..Rules::none(ROOM) }
    }

    fn signed(rules: Rules) -> SignedRules {
        rules.sign(&key()).unwrap()
    }

    fn key() -> HostKey {
        HostKey::from_bytes([1; 32])
    }

    const ROOM: RoomId = RoomId::from_bytes([9; 32]);
    const ALICE: PeerId = PeerId::from_bytes([1; 32]);
    const BOB: PeerId = PeerId::from_bytes([2; 32]);
    const CAROL: PeerId = PeerId::from_bytes([3; 32]);
}
