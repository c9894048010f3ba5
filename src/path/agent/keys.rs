//! What proves a probe.

use hmac::Mac;

use crate::trust::{PairSecret, ProbeKey, RoomSecret, hmac_sha256};
use crate::units::PeerId;

/// What proves that a probe comes from the peer: one pair of names and one key for each introduction.
#[derive(Clone, Debug)]
pub struct Keys {
    pub(super) key: ProbeKey,
    /// The name in the probes we send.
    pub(super) ours: u64,
    /// The name in the probes we answer.
    pub(super) theirs: u64,
}

impl Keys {
    /// The keys of `us` and `them` after an introduction with `pair`.
    pub fn new(secret: &RoomSecret, pair: &PairSecret, us: &PeerId, them: &PeerId) -> Self {
        let key = secret.probe_key(pair);
        Keys { ours: username(&key, us), theirs: username(&key, them), key }
    }

    /// The name in the probes the other side sends.
    pub fn their_username(&self) -> u64 {
        self.theirs
    }
}

/// The name of `peer` in the probes made with `key`.
fn username(key: &ProbeKey, peer: &PeerId) -> u64 {
    let mut mac = hmac_sha256(key.as_bytes());
    mac.update(b"username");
    mac.update(peer.as_bytes());
    let digest: [u8; 32] = mac.finalize().into_bytes().into();
    let (first, _) = digest.split_first_chunk::<8>().expect("a SHA-256 has more than eight bytes");
    u64::from_be_bytes(*first)
}
