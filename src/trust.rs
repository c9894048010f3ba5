//! Who belongs: everything that is derived from the secret of a room.
//!
//! In goes the room secret, which stands in the link and never reaches the rendezvous; out come the room's id, the
//! tags of its members and the keys of their probes. None of them leads back to the secret or to one another. Who may make
//! rules for a room stands in [`host`] and [`rules`].

pub mod host;
pub mod rules;

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::host::HostId;
use crate::params::{SAFETY_NUMBER_DIGITS, SAFETY_NUMBER_GROUP, SAFETY_NUMBER_ROUNDS};
use crate::units::{ParseIdError, PeerId, RoomId, base32, decode_base32};

/// What all members of a room share and the rendezvous never learns.
#[derive(Clone, Eq, PartialEq)]
pub struct RoomSecret([u8; 16]);

impl RoomSecret {
    /// The secret with these bytes, which must come from a good source of randomness.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        RoomSecret(bytes)
    }

    /// Reads the secret as it stands in a link.
    ///
    /// # Errors
    /// When the text is not 26 characters of base32; the error never quotes it.
    pub fn from_base32(text: &str) -> Result<Self, ParseIdError> {
        decode_base32(text).map(RoomSecret)
    }

    /// The secret as it stands in a link. There is no `Display`, so that nobody writes it to a log by accident.
    pub fn to_base32(&self) -> String {
        base32().encode(&self.0)
    }

    /// What the rendezvous is shown of the room that has this host, or none.
    pub fn claim(&self, host: Option<HostId>) -> RoomClaim {
        RoomClaim { key: self.derive(None, ROOM_KEY), host }
    }

    /// What proves to every other member of `room` that `peer` was told the secret.
    pub fn tag(&self, room: &RoomId, peer: &PeerId) -> MembershipTag {
        MembershipTag(self.membership_mac(room, peer).finalize().into_bytes().into())
    }

    /// Whether `tag` was made for `peer` in `room` by somebody who holds the secret. Takes the same time for every wrong tag.
    pub fn check(&self, room: &RoomId, peer: &PeerId, tag: &MembershipTag) -> bool {
        self.membership_mac(room, peer).verify_slice(&tag.0).is_ok()
    }

    /// The key that authenticates the probes of one pair: the rendezvous knows `pair`, but not the room secret.
    pub fn probe_key(&self, pair: &PairSecret) -> ProbeKey {
        ProbeKey(self.derive(Some(&pair.0), PROBE))
    }

    fn membership_mac(&self, room: &RoomId, peer: &PeerId) -> Hmac<Sha256> {
        let mut mac = hmac_sha256(&self.derive(None, MEMBERSHIP));
        mac.update(room.as_bytes());
        mac.update(peer.as_bytes());
        mac
    }

    fn derive(&self, salt: Option<&[u8]>, info: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(salt, &self.0).expand(info, &mut key).expect("HKDF-SHA256 gives up to 255 × 32 bytes");
        key
    }
}

impl fmt::Debug for RoomSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomSecret(…)")
    }
}

/// Which room somebody wants to enter: its id follows from this, so that nobody can enter it with another host.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Serialize)]
pub struct RoomClaim {
    /// Derived from the room's secret; whoever has it can find the room, but is no member.
    key: [u8; 32],
    /// Who may make rules for the room, if anybody may.
    host: Option<HostId>,
}

impl RoomClaim {
    /// The claim with this derived key, as it came in a message.
    pub const fn from_parts(key: [u8; 32], host: Option<HostId>) -> Self {
        RoomClaim { key, host }
    }

    /// Who may make rules for the room, if anybody may.
    pub const fn host(&self) -> Option<HostId> {
        self.host
    }

    /// The room as the rendezvous knows it.
    pub fn room_id(&self) -> RoomId {
        let host = self.host.as_ref().map(HostId::as_bytes);
        let digest = Sha256::new().chain_update(ROOM_ID).chain_update(self.key);
        RoomId::from_bytes(digest.chain_update(host.map_or(&[][..], |host| host)).finalize().into())
    }
}

impl fmt::Debug for RoomClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomClaim({:?}, host {:?})", self.room_id(), self.host)
    }
}

/// Proof that a peer was told the secret of its room; only members can make or check it.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Serialize)]
pub struct MembershipTag([u8; 32]);

impl MembershipTag {
    /// The tag with these bytes, as it came in a message.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        MembershipTag(bytes)
    }

    /// The tag as it goes into a message.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MembershipTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MembershipTag({}…)", base32().encode(&self.0[..5]))
    }
}

/// What the rendezvous gives to both sides of an introduction, and to nobody else.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct PairSecret([u8; 32]);

impl PairSecret {
    /// The secret with these bytes, which must come from a good source of randomness.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        PairSecret(bytes)
    }
}

impl fmt::Debug for PairSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairSecret(…)")
    }
}

/// Authenticates the STUN probes between two peers, in both directions.
#[derive(Clone, Eq, PartialEq)]
pub struct ProbeKey([u8; 32]);

impl ProbeKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        ProbeKey(bytes)
    }

    /// The key itself, for whoever computes the MAC.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ProbeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProbeKey(…)")
    }
}

/// Thirty digits two people read to each other: equal on both sides unless somebody sits between them.
///
/// Somebody in between who may choose both of his own keys looks for a collision, about 2^50 trials; the rounds of
/// hashing make each trial 2^16 times as dear.
pub fn safety_number(one: &PeerId, other: &PeerId) -> String {
    let mut digest = [0; 32];
    for _ in 0..SAFETY_NUMBER_ROUNDS {
        digest = Sha256::new()
            .chain_update(SAFETY_NUMBER)
            .chain_update(digest)
            .chain_update(one.min(other).as_bytes())
            .chain_update(one.max(other).as_bytes())
            .finalize()
            .into();
    }
    let groups: Vec<String> = digest
        .chunks_exact(5)
        .take(SAFETY_NUMBER_DIGITS / SAFETY_NUMBER_GROUP)
        .map(|chunk| {
            let number = chunk.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            format!("{:0width$}", number % 100_000, width = SAFETY_NUMBER_GROUP)
        })
        .collect();
    groups.join(" ")
}

/// HMAC-SHA256 with a key of any length.
pub(crate) fn hmac_sha256(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

// What each derived value is for: no two uses share one.
const ROOM_KEY: &[u8] = b"meipo 2 room key";
const ROOM_ID: &[u8] = b"meipo 2 room id";
const MEMBERSHIP: &[u8] = b"meipo 1 membership";
const PROBE: &[u8] = b"meipo 1 probe";
const SAFETY_NUMBER: &[u8] = b"meipo 1 safety number";

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: RoomSecret = RoomSecret::from_bytes([7; 16]);
    const ALICE: PeerId = PeerId::from_bytes([1; 32]);
    const BOB: PeerId = PeerId::from_bytes([2; 32]);

    #[test]
    fn the_tag_of_a_member_is_accepted() {
        assert!(SECRET.check(&room(), &ALICE, &SECRET.tag(&room(), &ALICE)));
    }

    #[test]
    fn a_tag_serves_nobody_else() {
        assert!(!SECRET.check(&room(), &BOB, &SECRET.tag(&room(), &ALICE)));
    }

    #[test]
    fn a_tag_made_without_the_secret_is_refused() {
        let guess = RoomSecret::from_bytes([8; 16]);
        assert!(!SECRET.check(&room(), &ALICE, &guess.tag(&room(), &ALICE)));
        assert!(!SECRET.check(&room(), &ALICE, &MembershipTag::from_bytes([0; 32])));
    }

    #[test]
    fn a_tag_with_one_bit_changed_is_refused() {
        for bit in 0..256 {
            let mut bytes = *SECRET.tag(&room(), &ALICE).as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!SECRET.check(&room(), &ALICE, &MembershipTag::from_bytes(bytes)), "bit {bit}");
        }
    }

    #[test]
    fn derived_values_never_change() {
        let hex = data_encoding::HEXLOWER;
        assert_eq!(hex.encode(room().as_bytes()), "345c9d123137e0bd2fc7546b7dd18574cbd066c792470c1e9df5aa17d3409f0e");
        let hosted = SECRET.claim(Some(HostId::from_bytes([5; 32]))).room_id();
        assert_eq!(hex.encode(hosted.as_bytes()), "04f5b56571c8f993852d9426a2083734118a33d021b2e7d4dfd78a24960e8043");
        assert_eq!(
            hex.encode(SECRET.tag(&room(), &ALICE).as_bytes()),
            "1180ace5a18b63a896162c063ff458b769efb2c1a1aa1257274b0a7ccad384fb"
        );
        let key = SECRET.probe_key(&PairSecret::from_bytes([9; 32]));
        assert_eq!(hex.encode(key.as_bytes()), "6ca9d561b885278ae9e4be59808a84c9f700f661ecbcf018880ac0e6c2a9eaee");
        assert_eq!(safety_number(&ALICE, &BOB), "01323 65906 80434 74946 86508 56306");
    }

    #[test]
    fn a_room_with_another_host_or_none_is_another_room_with_other_members() {
        let [none, one, other] =
            [None, Some([5; 32]), Some([6; 32])].map(|host| SECRET.claim(host.map(HostId::from_bytes)).room_id());
        assert!(none != one && one != other && other != none);
        assert!(!SECRET.check(&other, &ALICE, &SECRET.tag(&one, &ALICE)));
    }

    #[test]
    fn a_probe_key_needs_both_secrets() {
        let pair = PairSecret::from_bytes([9; 32]);
        let key = SECRET.probe_key(&pair);
        assert_ne!(key, SECRET.probe_key(&PairSecret::from_bytes([10; 32])));
        assert_ne!(key, RoomSecret::from_bytes([8; 16]).probe_key(&pair));
    }

    #[test]
    fn both_sides_see_the_same_safety_number() {
        assert_eq!(safety_number(&ALICE, &BOB), safety_number(&BOB, &ALICE));
        assert_ne!(safety_number(&ALICE, &BOB), safety_number(&ALICE, &ALICE));
    }

    #[test]
    fn a_safety_number_is_six_groups_of_five_digits() {
        let number = safety_number(&ALICE, &BOB);
        let groups: Vec<&str> = number.split(' ').collect();
        assert_eq!(groups.len(), 6);
        assert!(groups.iter().all(|group| group.len() == 5 && group.bytes().all(|byte| byte.is_ascii_digit())));
    }

    #[test]
    fn a_secret_survives_its_text() {
        assert_eq!(RoomSecret::from_base32(&SECRET.to_base32()), Ok(SECRET));
    }

    fn room() -> RoomId {
        SECRET.claim(None).room_id()
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        let pair = PairSecret::from_bytes([9; 32]);
        let shown = format!("{SECRET:?} {pair:?} {:?}", SECRET.probe_key(&pair));
        assert_eq!(shown, "RoomSecret(…) PairSecret(…) ProbeKey(…)");
    }
}
