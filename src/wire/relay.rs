//! Relay packets: eight bytes before the peers' own QUIC, and the four messages that open a session.
//!
//! ```text
//! all        kind 1 | flags 1 | epoch 2 | session 4                                  big endian
//! DATA   10  header | payload                                                        both directions
//! BIND   11  header | token 48 | zeros 8                                             64 B, to the relay
//! CHALLENGE  12  header | cookie 16                                                  24 B, from the relay
//! ANSWER 13  header | token 48 | cookie 16                                           72 B, to the relay
//! ANSWER 13  header                                                                  8 B, from the relay: bound
//! token      session 4 | side 1 | zeros 3 | expiry in seconds since 1970 8 | HMAC-SHA256 32
//! ```
//! The relay copies flags and epoch of a question into its answer. No answer is longer than its question.

use hmac::Mac;
use serde::{Deserialize, Serialize};

use crate::trust::hmac_sha256;
use crate::units::SessionId;

/// Bytes before the payload of every relayed packet.
pub const HEADER_LEN: usize = 8;
/// Bytes of a BIND.
pub const BIND_LEN: usize = 64;
/// Bytes of a CHALLENGE.
pub const CHALLENGE_LEN: usize = HEADER_LEN + COOKIE_LEN;
/// Bytes of an ANSWER to a relay.
pub const ANSWER_LEN: usize = HEADER_LEN + TOKEN_LEN + COOKIE_LEN;
/// Bytes of a token.
pub const TOKEN_LEN: usize = 48;
/// Bytes of a cookie.
pub const COOKIE_LEN: usize = 16;

/// What a relayed packet is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// Payload from one peer to the other.
    Data = 0x10,
    /// A peer asks for its place in a session.
    Bind = 0x11,
    /// The relay asks whether the peer is where it claims to be.
    Challenge = 0x12,
    /// The peer is; or, from the relay: the session now knows it.
    Answer = 0x13,
}

/// The eight bytes every relay packet starts with, the same in both directions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// What the packet is.
    pub kind: Kind,
    /// The peers' business; the relay copies them.
    pub flags: u8,
    /// The peers' business; the relay copies it.
    pub epoch: u16,
    /// Between which two peers it goes.
    pub session: SessionId,
}

impl Header {
    /// The header of a packet with payload.
    pub const fn data(session: SessionId, epoch: u16) -> Self {
        Header { kind: Kind::Data, flags: 0, epoch, session }
    }

    /// The header as it stands before a payload.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [e0, e1] = self.epoch.to_be_bytes();
        let [s0, s1, s2, s3] = self.session.0.to_be_bytes();
        [self.kind as u8, self.flags, e0, e1, s0, s1, s2, s3]
    }

    /// Reads the header and gives what stands behind it; `None` if this is no relay packet.
    pub fn split(bytes: &[u8]) -> Option<(Header, &[u8])> {
        let (&[kind, flags, e0, e1, s0, s1, s2, s3], rest) = bytes.split_first_chunk()?;
        let header = Header {
            kind: kind_of(kind)?,
            flags,
            epoch: u16::from_be_bytes([e0, e1]),
            session: SessionId(u32::from_be_bytes([s0, s1, s2, s3])),
        };
        Some((header, rest))
    }
}

/// Which of the two peers of a session.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Side {
    /// The one who was in the room first.
    First,
    /// The newcomer.
    Second,
}

/// Lets one peer take its place in one session of one relay, until it expires. Made by the introducer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RelayToken {
    /// The session.
    pub session: SessionId,
    /// The place in it.
    pub side: Side,
    /// The last second, since 1970, in which it serves.
    pub expiry_unix_s: u64,
    mac: [u8; 32],
}

/// What an introducer and a relay share.
#[derive(Clone, Eq, PartialEq)]
pub struct RelayKey([u8; 32]);

impl RelayKey {
    /// The key with these bytes, which must come from a good source of randomness.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        RelayKey(bytes)
    }

    /// A token for one peer.
    pub fn token(&self, session: SessionId, side: Side, expiry_unix_s: u64) -> RelayToken {
        let mac = self.mac(session, side, expiry_unix_s).finalize().into_bytes().into();
        RelayToken { session, side, expiry_unix_s, mac }
    }

    /// Whether this key made `token`. Takes the same time for every forged one.
    pub fn made(&self, token: &RelayToken) -> bool {
        let mac = self.mac(token.session, token.side, token.expiry_unix_s);
        mac.verify_slice(&token.mac).is_ok()
    }

    fn mac(&self, session: SessionId, side: Side, expiry_unix_s: u64) -> hmac::Hmac<sha2::Sha256> {
        hmac_sha256(&self.0).chain_update(b"meipo 1 relay token").chain_update(token_head(session, side, expiry_unix_s))
    }
}

impl std::fmt::Debug for RelayKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RelayKey(…)")
    }
}

/// Proves that a peer receives what is sent to the address it claims.
pub type Cookie = [u8; COOKIE_LEN];

/// One relay packet, read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RelayPacket<'a> {
    /// Payload from one peer to the other.
    Data(&'a [u8]),
    /// A peer asks for its place in a session.
    Bind(RelayToken),
    /// The relay asks whether the peer is where it claims to be.
    Challenge(Cookie),
    /// The peer is.
    Answer(RelayToken, Cookie),
    /// The session now knows the peer.
    Bound,
}

/// Why a datagram is no relay packet. Any peer can cause these.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It does not start like one.
    #[error("datagram of {0} bytes has no relay header")]
    NotRelay(usize),
    /// Its kind has another length.
    #[error("relay packet {0:?} of {1} bytes has the wrong length")]
    Length(Kind, usize),
    /// Its token is none.
    #[error("relay token that does not decode")]
    Token,
}

/// Reads one relay packet.
///
/// # Errors
/// When it has another form than its kind must have. MAC, expiry and cookie are not checked here.
pub fn decode(bytes: &[u8]) -> Result<(Header, RelayPacket<'_>), DecodeError> {
    let (header, rest) = Header::split(bytes).ok_or(DecodeError::NotRelay(bytes.len()))?;
    let wrong_length = || DecodeError::Length(header.kind, bytes.len());
    let packet = match header.kind {
        Kind::Data => RelayPacket::Data(rest),
        Kind::Bind => {
            let (token, padding) = rest.split_first_chunk().ok_or_else(wrong_length)?;
            if bytes.len() != BIND_LEN || padding.iter().any(|&byte| byte != 0) {
                return Err(wrong_length());
            }
            RelayPacket::Bind(decode_token(token)?)
        }
        Kind::Challenge => RelayPacket::Challenge(rest.try_into().map_err(|_| wrong_length())?),
        Kind::Answer if rest.is_empty() => RelayPacket::Bound,
        Kind::Answer => {
            let (token, cookie) = rest.split_first_chunk().ok_or_else(wrong_length)?;
            let cookie = cookie.try_into().map_err(|_| wrong_length())?;
            RelayPacket::Answer(decode_token(token)?, cookie)
        }
    };
    Ok((header, packet))
}

/// Writes one relay packet. `flags` and `epoch` are for its sender to recognise the answer by.
pub fn encode(flags: u8, epoch: u16, session: SessionId, packet: &RelayPacket<'_>) -> Vec<u8> {
    let kind = match packet {
        RelayPacket::Data(_) => Kind::Data,
        RelayPacket::Bind(_) => Kind::Bind,
        RelayPacket::Challenge(_) => Kind::Challenge,
        RelayPacket::Answer(..) | RelayPacket::Bound => Kind::Answer,
    };
    let header = Header { kind, flags, epoch, session };
    let mut bytes = header.to_bytes().to_vec();
    match packet {
        RelayPacket::Data(payload) => bytes.extend_from_slice(payload),
        RelayPacket::Bind(token) => {
            encode_token(token, &mut bytes);
            bytes.resize(BIND_LEN, 0);
        }
        RelayPacket::Challenge(cookie) => bytes.extend_from_slice(cookie),
        RelayPacket::Answer(token, cookie) => {
            encode_token(token, &mut bytes);
            bytes.extend_from_slice(cookie);
        }
        RelayPacket::Bound => {}
    }
    bytes
}

/// Cuts a batch of equal segments, as GRO delivers it, into the longest runs that can be handled whole: DATA of one
/// session stays together, anything else is alone.
pub fn runs(batch: &[u8], segment: usize) -> impl Iterator<Item = &[u8]> {
    let segment = if segment == 0 { batch.len().max(1) } else { segment };
    let mut rest = batch;
    std::iter::from_fn(move || {
        let first = rest.chunks(segment).next()?;
        let session = data_session(first);
        let alike = rest.chunks(segment).skip(1).take_while(|next| session.is_some() && data_session(next) == session);
        let len = first.len() + alike.map(<[u8]>::len).sum::<usize>();
        let (run, after) = rest.split_at(len);
        rest = after;
        Some(run)
    })
}

/// The session of a DATA packet.
fn data_session(packet: &[u8]) -> Option<SessionId> {
    let (header, _) = Header::split(packet)?;
    (header.kind == Kind::Data).then_some(header.session)
}

fn kind_of(byte: u8) -> Option<Kind> {
    match byte {
        0x10 => Some(Kind::Data),
        0x11 => Some(Kind::Bind),
        0x12 => Some(Kind::Challenge),
        0x13 => Some(Kind::Answer),
        _ => None,
    }
}

fn token_head(session: SessionId, side: Side, expiry_unix_s: u64) -> [u8; 16] {
    let [s0, s1, s2, s3] = session.0.to_be_bytes();
    let [e0, e1, e2, e3, e4, e5, e6, e7] = expiry_unix_s.to_be_bytes();
    [s0, s1, s2, s3, side_byte(side), 0, 0, 0, e0, e1, e2, e3, e4, e5, e6, e7]
}

fn encode_token(token: &RelayToken, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&token_head(token.session, token.side, token.expiry_unix_s));
    bytes.extend_from_slice(&token.mac);
}

fn decode_token(bytes: &[u8; TOKEN_LEN]) -> Result<RelayToken, DecodeError> {
    let (head, mac) = bytes.split_first_chunk().ok_or(DecodeError::Token)?;
    let &[s0, s1, s2, s3, side, 0, 0, 0, e0, e1, e2, e3, e4, e5, e6, e7] = head else {
        return Err(DecodeError::Token);
    };
    let side = match side {
        0 => Side::First,
        1 => Side::Second,
        _ => return Err(DecodeError::Token),
    };
    Ok(RelayToken {
        session: SessionId(u32::from_be_bytes([s0, s1, s2, s3])),
        side,
        expiry_unix_s: u64::from_be_bytes([e0, e1, e2, e3, e4, e5, e6, e7]),
        mac: mac.try_into().map_err(|_| DecodeError::Token)?,
    })
}

fn side_byte(side: Side) -> u8 {
    match side {
        Side::First => 0,
        Side::Second => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_a_header_never_change() {
        let header = Header { kind: Kind::Data, flags: 0xab, epoch: 0x0102, session: SessionId(0x0304_0506) };
        assert_eq!(header.to_bytes(), [0x10, 0xab, 1, 2, 3, 4, 5, 6]);
        assert_eq!(Header::split(&[0x10, 0xab, 1, 2, 3, 4, 5, 6, 7]), Some((header, &[7_u8][..])));
    }

    #[test]
    fn the_bytes_of_a_bind_never_change() {
        let expected = ["1100000700000009", TOKEN_HEX, "0000000000000000"].concat();
        assert_eq!(hex(&encode(0, 7, SESSION, &RelayPacket::Bind(token()))), expected);
    }

    #[test]
    fn the_bytes_of_a_challenge_never_change() {
        let expected = "12000007000000090f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
        assert_eq!(hex(&encode(0, 7, SESSION, &RelayPacket::Challenge([15; 16]))), expected);
    }

    #[test]
    fn the_bytes_of_an_answer_never_change() {
        let expected = ["1300000700000009", TOKEN_HEX, "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"].concat();
        assert_eq!(hex(&encode(0, 7, SESSION, &RelayPacket::Answer(token(), [15; 16]))), expected);
    }

    #[test]
    fn every_packet_survives_its_bytes() {
        let packets = [
            RelayPacket::Data(b"quic"),
            RelayPacket::Bind(token()),
            RelayPacket::Challenge([15; 16]),
            RelayPacket::Answer(token(), [15; 16]),
            RelayPacket::Bound,
        ];
        for packet in packets {
            let bytes = encode(3, 4, SESSION, &packet);
            let (header, decoded) = decode(&bytes).unwrap();
            assert_eq!((header.flags, header.epoch, header.session), (3, 4, SESSION));
            assert_eq!(decoded, packet);
        }
    }

    #[test]
    fn each_answer_is_no_longer_than_its_question() {
        assert_eq!(encode(0, 0, SESSION, &RelayPacket::Bind(token())).len(), BIND_LEN);
        assert_eq!(encode(0, 0, SESSION, &RelayPacket::Challenge([0; 16])).len(), CHALLENGE_LEN);
        const { assert!(CHALLENGE_LEN <= BIND_LEN && HEADER_LEN <= ANSWER_LEN) }
    }

    #[test]
    fn a_token_serves_one_session_one_side_and_one_time() {
        assert!(KEY.made(&token()));
        let changed = [
            RelayToken { session: SessionId(10), ..token() },
            RelayToken { side: Side::First, ..token() },
            RelayToken { expiry_unix_s: 2_000_000_001, ..token() },
            RelayToken { mac: [0; 32], ..token() },
        ];
        assert!(changed.iter().all(|token| !KEY.made(token)));
        assert!(!RelayKey::from_bytes([4; 32]).made(&token()));
    }

    #[test]
    fn a_bind_of_another_length_is_refused() {
        let bytes = encode(0, 0, SESSION, &RelayPacket::Bind(token()));
        assert_eq!(decode(&bytes[..63]), Err(DecodeError::Length(Kind::Bind, 63)));
    }

    #[test]
    fn a_batch_is_cut_where_the_session_changes() {
        let batch = [data(1, 12), data(1, 12), data(2, 12), data(2, 12), data(1, 9)].concat();
        let lens: Vec<usize> = runs(&batch, 12).map(<[u8]>::len).collect();
        assert_eq!(lens, [24, 24, 9]);
    }

    #[test]
    fn what_is_no_data_stands_alone() {
        let challenge = encode(0, 0, SESSION, &RelayPacket::Challenge([0; 16]));
        let batch = [challenge.clone(), challenge, vec![0x40; 24], vec![0x40; 24], data(1, 24)].concat();
        assert_eq!(runs(&batch, 24).count(), 5);
    }

    proptest! {
        #[test]
        fn runs_lose_nothing(batch in prop::collection::vec(0x0e_u8..0x14, 0..200), segment in 0_usize..40) {
            let joined: Vec<u8> = runs(&batch, segment).flatten().copied().collect();
            prop_assert_eq!(joined, batch);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(kind in 0x0f_u8..0x15, rest in prop::collection::vec(any::<u8>(), 0..90)) {
            let bytes = [vec![kind], rest].concat();
            if let Ok((header, packet)) = decode(&bytes) {
                prop_assert_eq!(encode(header.flags, header.epoch, header.session, &packet), bytes);
            }
        }
    }

    fn data(session: u32, len: usize) -> Vec<u8> {
        let mut bytes = Header::data(SessionId(session), 0).to_bytes().to_vec();
        bytes.resize(len, 0xee);
        bytes
    }

    fn token() -> RelayToken {
        KEY.token(SESSION, Side::Second, 2_000_000_000)
    }

    fn hex(bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(bytes)
    }

    const SESSION: SessionId = SessionId(9);
    const KEY: RelayKey = RelayKey::from_bytes([3; 32]);
    const TOKEN_HEX: &str =
        "00000009010000000000000077359400eb127b359bec68007e074b8d32c5e9916a5b1a6f852f0aa0dff97bc5c513c500";
}
