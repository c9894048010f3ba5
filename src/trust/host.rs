//! The host of a room: whoever holds the key that was made together with it.
//!
//! The key's public half, the [`HostId`], stands in every link to the room and decides, with the secret, which room it is.
//! The key itself stands in the host's own link only. What it signs begins with a word for its use, so that no signature
//! serves for anything else.

use std::fmt;
use std::str::FromStr;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::units::{ParseIdError, PeerId, RoomId, base32, decode_base32};

/// Who may make rules for a room: an Ed25519 public key (RFC 8032).
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct HostId([u8; 32]);

impl HostId {
    /// The host with this public key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        HostId(bytes)
    }

    /// The public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `pass` shows that `peer` holds the key of this host in `room`.
    pub fn check_pass(&self, room: &RoomId, peer: &PeerId, pass: &HostPass) -> bool {
        self.check(&pass_message(room, peer), &pass.0)
    }

    pub(super) fn check(&self, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, &signature.to_bytes()).is_ok()
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32().encode(&self.0))
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostId({}…)", base32().encode(&self.0[..5]))
    }
}

impl FromStr for HostId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode_base32(text).map(HostId)
    }
}

/// What makes somebody the host of a room. Whoever has it can do all that the host can.
#[derive(Clone, Eq, PartialEq)]
pub struct HostKey {
    seed: [u8; 32],
    id: HostId,
}

impl HostKey {
    /// The key with this seed, which must come from a good source of randomness.
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        let public = *pair(&seed).public_key();
        let id = HostId(public.as_ref().try_into().expect("an Ed25519 public key has 32 bytes"));
        HostKey { seed, id }
    }

    /// Reads the key as it stands in a link.
    ///
    /// # Errors
    /// When the text is not 52 characters of base32; the error never quotes it.
    pub fn from_base32(text: &str) -> Result<Self, ParseIdError> {
        decode_base32(text).map(HostKey::from_bytes)
    }

    /// The key as it stands in a link. There is no `Display`, so that nobody writes it to a log by accident.
    pub fn to_base32(&self) -> String {
        base32().encode(&self.seed)
    }

    /// Who is the host with this key.
    pub const fn id(&self) -> HostId {
        self.id
    }

    /// Shows that `peer` holds this key in `room`; of no use to anybody else.
    pub fn pass(&self, room: &RoomId, peer: &PeerId) -> HostPass {
        HostPass(self.sign(&pass_message(room, peer)))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Signature {
        let signature = pair(&self.seed).sign(message);
        let (r, s) = signature.as_ref().split_at(32);
        let half = |half: &[u8]| half.try_into().expect("an Ed25519 signature has 64 bytes");
        Signature { r: half(r), s: half(s) }
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey(… of {:?})", self.id)
    }
}

/// Shows that a peer holds the host's key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HostPass(pub(super) Signature);

/// An Ed25519 signature (RFC 8032 §5.1.6).
#[derive(Clone, Copy, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct Signature {
    r: [u8; 32],
    s: [u8; 32],
}

impl Signature {
    fn to_bytes(self) -> Vec<u8> {
        [self.r, self.s].concat()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", base32().encode(&self.r[..5]))
    }
}

fn pair(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are the seed of a key")
}

fn pass_message(room: &RoomId, peer: &PeerId) -> Vec<u8> {
    [PASS, room.as_bytes().as_slice(), peer.as_bytes()].concat()
}

const PASS: &[u8] = b"meipo 2 host pass";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_good_for_its_peer_in_its_room_under_its_key_and_for_nothing_else() {
        let (key, other) = (HostKey::from_bytes([1; 32]), HostKey::from_bytes([2; 32]));
        let pass = key.pass(&ROOM, &ALICE);
        assert!(key.id().check_pass(&ROOM, &ALICE, &pass));
        assert!(!key.id().check_pass(&ROOM, &PeerId::from_bytes([4; 32]), &pass));
        assert!(!key.id().check_pass(&RoomId::from_bytes([8; 32]), &ALICE, &pass));
        assert!(!other.id().check_pass(&ROOM, &ALICE, &pass));
    }

    #[test]
    fn a_host_id_that_is_no_key_is_nobodys() {
        let pass = HostKey::from_bytes([1; 32]).pass(&ROOM, &ALICE);
        for bytes in [[0; 32], [0xff; 32], [2; 32]] {
            assert!(!HostId::from_bytes(bytes).check_pass(&ROOM, &ALICE, &pass));
        }
    }

    #[test]
    fn a_key_makes_the_id_that_rfc_8032_says() {
        let hex = data_encoding::HEXLOWER;
        let seed = hex.decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = HostKey::from_bytes(seed.try_into().unwrap());
        assert_eq!(hex.encode(key.id().as_bytes()), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    }

    #[test]
    fn a_key_and_an_id_survive_their_text() {
        let key = HostKey::from_bytes([7; 32]);
        assert_eq!(HostKey::from_base32(&key.to_base32()), Ok(key.clone()));
        assert_eq!(key.id().to_string().parse(), Ok(key.id()));
    }

    #[test]
    fn debug_output_hides_the_key() {
        let key = HostKey::from_bytes([7; 32]);
        assert!(!format!("{key:?}").contains(&key.to_base32()[..8]));
    }

    const ROOM: RoomId = RoomId::from_bytes([9; 32]);
    const ALICE: PeerId = PeerId::from_bytes([3; 32]);
}
