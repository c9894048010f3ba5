//! STUN (RFC 8489, RFC 5780): what is my address, and does a packet come through?
//!
//! Requests and responses go to bytes and back. No response of ours is ever longer than the request it answers, so
//! nobody can aim an amplified stream at somebody else. Probes between peers carry a MAC over a key only they know.

use std::net::SocketAddr;

use hmac::Mac;
use stun_rs::attributes::discovery::{ChangeRequest as ChangeAttribute, ChangeRequestFlags, OtherAddress, Padding};
use stun_rs::attributes::stun::{ErrorCode, MessageIntegritySha256, UserName, XorMappedAddress};
use stun_rs::methods::BINDING;
use stun_rs::{HMACKey, MessageClass, MessageDecoder, MessageEncoder, StunMessage, StunMessageBuilder};

use crate::params::STUN_REQUEST_LEN;
use crate::trust::{ProbeKey, hmac_sha256};

/// Ties a response to its request.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TransactionId(pub [u8; 12]);

/// From where a response shall come, to learn what a NAT lets in (RFC 5780 §4.4).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ChangeRequest {
    /// From where the request arrived.
    #[default]
    None,
    /// From another port of the same address.
    Port,
    /// From another address and another port.
    AddressAndPort,
}

/// One STUN message, read but not yet believed: see [`Stun::verify`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stun {
    /// Ties a response to its request.
    pub transaction: TransactionId,
    /// Question or answer.
    pub class: Class,
    /// The MAC the message ends with.
    integrity: Option<[u8; MAC_LEN]>,
}

/// Question or answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// A Binding request.
    Request {
        /// Who asks whom, on a probe between peers.
        username: Option<u64>,
        /// From where to answer.
        change: ChangeRequest,
    },
    /// A Binding response.
    Response {
        /// The address the request came from, as its receiver saw it.
        mapped: SocketAddr,
        /// Where else the server listens (RFC 5780).
        other: Option<SocketAddr>,
    },
    /// The request was refused, with this code; 0 when none was given.
    Error(u16),
}

impl Stun {
    /// Whether the request was refused.
    pub fn is_error(&self) -> bool {
        matches!(self.class, Class::Error(_))
    }

    /// Whether `bytes`, from which this message was decoded, ends with a MAC made with `key`. Takes the same time for
    /// every wrong MAC.
    pub fn verify(&self, bytes: &[u8], key: &ProbeKey) -> bool {
        self.integrity.is_some_and(|mac| is_authentic(bytes, &mac, hex_key(key).as_bytes()))
    }
}

/// Why a datagram is no STUN message of ours. Any peer can cause these.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Neither cookie nor length fit.
    #[error("datagram of {0} bytes has no STUN header that fits")]
    NotStun(usize),
    /// An attribute does not decode.
    #[error("STUN message with an attribute that does not decode")]
    Malformed,
    /// A method other than Binding, or an indication.
    #[error("STUN message of type {0:#06x}; only Binding requests and responses are understood")]
    Type(u16),
    /// An attribute that must be understood is not.
    #[error("STUN attribute {0:#06x} must be understood, and is not")]
    UnknownAttribute(u16),
    /// A response without an address.
    #[error("STUN response without a mapped address")]
    NoAddress,
}

/// Whether a datagram on the shared port is meant for STUN.
pub fn is_stun(bytes: &[u8]) -> bool {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return false;
    };
    let [first, _, high, low, c0, c1, c2, c3, ..] = *header;
    first <= 3
        && [c0, c1, c2, c3] == MAGIC_COOKIE
        && usize::from(u16::from_be_bytes([high, low])) == body.len()
        && body.len().is_multiple_of(4)
}

/// A Binding request of [`STUN_REQUEST_LEN`] bytes. A probe between peers names itself and carries a MAC.
pub fn encode_request(transaction: TransactionId, probe: Option<(&ProbeKey, u64)>, change: ChangeRequest) -> Vec<u8> {
    let mut len = HEADER_LEN;
    let mut message = StunMessageBuilder::new(BINDING, MessageClass::Request).with_transaction_id(transaction.0.into());
    if let Some(change) = change_attribute(change) {
        message = message.with_attribute(change);
        len += CHANGE_LEN;
    }
    if let Some((_, username)) = probe {
        let username = UserName::new(format!("{username:016x}")).expect("hexadecimal digits are a user name");
        message = message.with_attribute(username);
        len += USERNAME_LEN + INTEGRITY_LEN;
    }
    let padding = " ".repeat(STUN_REQUEST_LEN.saturating_sub(len + ATTRIBUTE_HEADER_LEN));
    message = message.with_attribute(Padding::new(&padding).expect("spaces are a padding"));
    if let Some((key, _)) = probe {
        message = message.with_attribute(integrity(key));
    }
    encode(&message.build())
}

/// A Binding request without any attribute: what every STUN server in the world understands.
pub fn encode_plain_request(transaction: TransactionId) -> Vec<u8> {
    encode(&StunMessageBuilder::new(BINDING, MessageClass::Request).with_transaction_id(transaction.0.into()).build())
}

/// A Binding response of at most `limit` bytes, the length of its request; `None` when not even the address fits.
/// `other` is left out where it would make the response too long.
pub fn encode_response(
    transaction: TransactionId,
    mapped: SocketAddr,
    key: Option<&ProbeKey>,
    other: Option<SocketAddr>,
    limit: usize,
) -> Option<Vec<u8>> {
    let needed = HEADER_LEN + address_len(mapped) + key.map_or(0, |_| INTEGRITY_LEN);
    if needed > limit {
        return None;
    }
    let mut message = StunMessageBuilder::new(BINDING, MessageClass::SuccessResponse)
        .with_transaction_id(transaction.0.into())
        .with_attribute(XorMappedAddress::from(canonical(mapped)));
    if let Some(other) = other.filter(|&other| needed + address_len(other) <= limit) {
        message = message.with_attribute(OtherAddress::from(canonical(other)));
    }
    if let Some(key) = key {
        message = message.with_attribute(integrity(key));
    }
    Some(encode(&message.build()))
}

/// Reads one STUN message. It is not yet believed: [`Stun::verify`] says whether its sender holds the key.
///
/// # Errors
/// When the datagram is no Binding request or response that can be understood whole.
pub fn decode(bytes: &[u8]) -> Result<Stun, DecodeError> {
    if !is_stun(bytes) {
        return Err(DecodeError::NotStun(bytes.len()));
    }
    let (message, _) = MessageDecoder::default().decode(bytes).map_err(|_| DecodeError::Malformed)?;
    let kind = bytes.first_chunk().map_or(0, |kind| u16::from_be_bytes(*kind));
    if message.method() != BINDING {
        return Err(DecodeError::Type(kind));
    }
    let class = match message.class() {
        MessageClass::Request => request(&message)?,
        MessageClass::SuccessResponse => response(&message)?,
        MessageClass::ErrorResponse => Class::Error(error_code(&message)),
        MessageClass::Indication => return Err(DecodeError::Type(kind)),
    };
    Ok(Stun { transaction: TransactionId(*message.transaction_id().as_bytes()), class, integrity: final_mac(bytes) })
}

fn request(message: &StunMessage) -> Result<Class, DecodeError> {
    let unknown = message
        .attributes()
        .iter()
        .find(|attribute| attribute.is_unknown() && attribute.attribute_type().is_comprehension_required());
    if let Some(attribute) = unknown {
        return Err(DecodeError::UnknownAttribute(attribute.attribute_type().as_u16()));
    }
    let username = message.get::<UserName>().and_then(|attribute| attribute.as_user_name().ok());
    let change = message.get::<ChangeAttribute>().and_then(|attribute| attribute.as_change_request().ok());
    Ok(Class::Request {
        username: username.and_then(|name| parse_username(name.as_str())),
        change: change.map_or(ChangeRequest::None, change_of),
    })
}

fn response(message: &StunMessage) -> Result<Class, DecodeError> {
    let mapped = message.get::<XorMappedAddress>().and_then(|attribute| attribute.as_xor_mapped_address().ok());
    let other = message.get::<OtherAddress>().and_then(|attribute| attribute.as_other_address().ok());
    Ok(Class::Response {
        mapped: canonical(*mapped.ok_or(DecodeError::NoAddress)?.socket_address()),
        other: other.map(|address| canonical(*address.socket_address())),
    })
}

fn error_code(message: &StunMessage) -> u16 {
    let code = message.get::<ErrorCode>().and_then(|attribute| attribute.as_error_code().ok());
    code.map_or(0, |code| code.error_code().error_code())
}

fn encode(message: &StunMessage) -> Vec<u8> {
    let mut bytes = vec![0; STUN_REQUEST_LEN];
    let len =
        MessageEncoder::default().encode(&mut bytes, message).expect("no message of ours is longer than a request");
    bytes.truncate(len);
    bytes
}

/// The MAC a message ends with. One that stands elsewhere does not protect the whole message and counts as none.
fn final_mac(bytes: &[u8]) -> Option<[u8; MAC_LEN]> {
    let (_, integrity) = bytes.split_last_chunk::<INTEGRITY_LEN>()?;
    let mac = integrity.strip_prefix(&INTEGRITY_HEADER)?;
    mac.try_into().ok()
}

fn is_authentic(bytes: &[u8], mac: &[u8; MAC_LEN], key: &[u8]) -> bool {
    let Some((covered, _)) = bytes.split_last_chunk::<INTEGRITY_LEN>() else {
        return false;
    };
    hmac_sha256(key).chain_update(covered).verify_slice(mac).is_ok()
}

fn integrity(key: &ProbeKey) -> MessageIntegritySha256 {
    let key = HMACKey::new_short_term(hex_key(key)).expect("hexadecimal digits are a password");
    MessageIntegritySha256::new(key)
}

/// STUN passwords are text (RFC 8489 §9.1.1), so the key is used as its hexadecimal digits.
fn hex_key(key: &ProbeKey) -> String {
    data_encoding::HEXLOWER.encode(key.as_bytes())
}

fn parse_username(text: &str) -> Option<u64> {
    let is_ours = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_ours { u64::from_str_radix(text, 16).ok() } else { None }
}

fn change_attribute(change: ChangeRequest) -> Option<ChangeAttribute> {
    let flags = match change {
        ChangeRequest::None => return None,
        ChangeRequest::Port => ChangeRequestFlags::ChangePort.into(),
        ChangeRequest::AddressAndPort => ChangeRequestFlags::ChangeIp | ChangeRequestFlags::ChangePort,
    };
    Some(ChangeAttribute::new(Some(flags)))
}

fn change_of(change: &ChangeAttribute) -> ChangeRequest {
    let flags = change.flags();
    if flags.contains(ChangeRequestFlags::ChangeIp) {
        ChangeRequest::AddressAndPort
    } else if flags.contains(ChangeRequestFlags::ChangePort) {
        ChangeRequest::Port
    } else {
        ChangeRequest::None
    }
}

/// An IPv4 address in IPv6 clothes is the IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn address_len(address: SocketAddr) -> usize {
    ATTRIBUTE_HEADER_LEN + if canonical(address).is_ipv4() { 8 } else { 20 }
}

const HEADER_LEN: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const ATTRIBUTE_HEADER_LEN: usize = 4;
const CHANGE_LEN: usize = ATTRIBUTE_HEADER_LEN + 4;
const USERNAME_LEN: usize = ATTRIBUTE_HEADER_LEN + 16;
const MAC_LEN: usize = 32;
const INTEGRITY_LEN: usize = ATTRIBUTE_HEADER_LEN + MAC_LEN;
/// Type MESSAGE-INTEGRITY-SHA256, 32 bytes long.
const INTEGRITY_HEADER: [u8; ATTRIBUTE_HEADER_LEN] = [0x00, 0x1c, 0x00, 0x20];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_a_request_never_change() {
        let expected = [
            "00010054",
            "2112a442",
            "010101010101010101010101", // header
            "00030004",
            "00000002", // CHANGE-REQUEST: port
            "00260048",
            &"20".repeat(72), // PADDING
        ];
        let bytes = encode_request(ID, None, ChangeRequest::Port);
        assert_eq!(hex(&bytes), expected.concat());
    }

    #[test]
    fn a_plain_request_is_a_header_and_nothing_else() {
        assert_eq!(hex(&encode_plain_request(ID)), "000100002112a442010101010101010101010101");
    }

    #[test]
    fn the_bytes_of_a_probe_never_change() {
        let expected = [
            "00010054",
            "2112a442",
            "010101010101010101010101", // header
            "00060010",
            "30303030303030303030303030303266", // USERNAME
            "00260018",
            &"20".repeat(24), // PADDING
            "001c0020",
            "668eedbd1066984c2978c2fea4d4117f5eb36bf08febc640d2be4418553dfda2", // MESSAGE-INTEGRITY-SHA256
        ];
        let bytes = encode_request(ID, Some((&KEY, 0x2f)), ChangeRequest::None);
        assert_eq!(hex(&bytes), expected.concat());
    }

    #[test]
    fn the_bytes_of_a_response_never_change() {
        let expected = [
            "01010018",
            "2112a442",
            "010101010101010101010101", // header
            "00200008",
            "0001a147",
            "e112a643", // XOR-MAPPED-ADDRESS, as in RFC 5769
            "802c0008",
            "0001078f",
            "c6336401", // OTHER-ADDRESS
        ];
        let mapped = "192.0.2.1:32853".parse().unwrap();
        let other = "198.51.100.1:1935".parse().unwrap();
        let bytes = encode_response(ID, mapped, None, Some(other), STUN_REQUEST_LEN).unwrap();
        assert_eq!(hex(&bytes), expected.concat());
    }

    #[test]
    fn the_sample_request_of_rfc_8489_is_authentic() {
        let key = unhex("dd295a613b9058c3c23d6dc7165bda072304d989c9d0af3a8c7e184b4f9bb4a1");
        let bytes = unhex(RFC_8489_B1);
        let stun = decode(&bytes).unwrap();
        assert!(is_authentic(&bytes, &stun.integrity.unwrap(), &key));
        assert!(!is_authentic(&bytes, &stun.integrity.unwrap(), &key[1..]));
    }

    #[test]
    fn every_request_has_one_length() {
        for probe in [None, Some((&KEY, u64::MAX))] {
            for change in [ChangeRequest::None, ChangeRequest::Port, ChangeRequest::AddressAndPort] {
                let bytes = encode_request(ID, probe, change);
                assert_eq!(bytes.len(), STUN_REQUEST_LEN);
                let stun = decode(&bytes).unwrap();
                let username = probe.map(|(_, name)| name);
                assert_eq!(stun.class, Class::Request { username, change });
                assert_eq!(stun.verify(&bytes, &KEY), probe.is_some());
            }
        }
    }

    #[test]
    fn a_request_leaves_room_for_the_longest_response() {
        let address = "[2001:db8::1]:1935".parse().unwrap();
        let bytes = encode_response(ID, address, Some(&KEY), Some(address), STUN_REQUEST_LEN).unwrap();
        assert_eq!(bytes.len(), STUN_REQUEST_LEN);
        let stun = decode(&bytes).unwrap();
        let expected = Class::Response { mapped: address, other: Some(address) };
        assert_eq!(stun.class, expected);
        assert!(stun.verify(&bytes, &KEY));
    }

    #[test]
    fn a_v4_mapped_address_is_told_as_ipv4() {
        let bytes = encode_response(ID, "[::ffff:192.0.2.1]:5".parse().unwrap(), None, None, 32).unwrap();
        let mapped = "192.0.2.1:5".parse().unwrap();
        assert_eq!(decode(&bytes).unwrap().class, Class::Response { mapped, other: None });
    }

    #[test]
    fn another_key_does_not_verify() {
        let bytes = encode_request(ID, Some((&KEY, 1)), ChangeRequest::None);
        let stun = decode(&bytes).unwrap();
        assert!(!stun.verify(&bytes, &ProbeKey::from_bytes([6; 32])));
    }

    #[test]
    fn a_mac_that_is_not_last_counts_as_none() {
        let mut bytes = encode_request(ID, Some((&KEY, 1)), ChangeRequest::None);
        bytes.extend_from_slice(&unhex("8022000461626364"));
        bytes[3] += 8;
        assert!(!decode(&bytes).unwrap().verify(&bytes, &KEY));
    }

    #[test]
    fn a_request_with_an_attribute_that_must_be_understood_is_refused() {
        let bytes = unhex("000100082112a44201010101010101010101010100240004000000ff");
        assert_eq!(decode(&bytes), Err(DecodeError::UnknownAttribute(0x24)));
    }

    #[test]
    fn an_error_response_is_one() {
        let bytes = unhex("011100082112a4420101010101010101010101010009000400000414");
        let stun = decode(&bytes).unwrap();
        assert!(stun.is_error());
        assert_eq!(stun.class, Class::Error(420));
    }

    #[test]
    fn quic_and_relay_packets_are_no_stun() {
        let mut bytes = encode_request(ID, None, ChangeRequest::None);
        assert!(is_stun(&bytes));
        for first in 4..=255 {
            bytes[0] = first;
            assert!(!is_stun(&bytes), "first byte {first:#04x}");
        }
    }

    proptest! {
        #[test]
        fn no_response_is_longer_than_its_request(
            v6: bool,
            mapped: [u8; 16],
            has_key: bool,
            has_other: bool,
            limit in 0_usize..200,
        ) {
            let ip = if v6 { mapped.into() } else { std::net::IpAddr::from([mapped[0], 2, 3, 4]) };
            let address = SocketAddr::new(ip, 1935);
            let response = encode_response(ID, address, has_key.then_some(&KEY), has_other.then_some(address), limit);
            prop_assert!(response.is_none_or(|bytes| bytes.len() <= limit));
        }

        #[test]
        fn a_changed_probe_is_refused_and_never_panics(
            changes in prop::collection::vec((0..STUN_REQUEST_LEN, 1_u8..), 1..4),
            cut in 0..STUN_REQUEST_LEN,
        ) {
            let original = encode_request(ID, Some((&KEY, 77)), ChangeRequest::Port);
            let mut bytes = original.clone();
            for (at, with) in changes {
                bytes[at] ^= with;
            }
            let _ = decode(&bytes[..cut]);
            let verified = decode(&bytes).is_ok_and(|stun| stun.verify(&bytes, &KEY));
            prop_assert_eq!(verified, bytes == original);
        }

        #[test]
        fn no_attributes_make_the_decoder_panic(kind in 0_u8..=3, low: u8, body in prop::collection::vec(any::<u32>(), 0..40)) {
            let len = u16::try_from(body.len() * 4).unwrap().to_be_bytes();
            let mut bytes = vec![kind, low, len[0], len[1]];
            bytes.extend_from_slice(&MAGIC_COOKIE);
            bytes.extend_from_slice(&ID.0);
            bytes.extend(body.iter().flat_map(|word| word.to_be_bytes()));
            let _ = decode(&bytes);
        }
    }

    fn hex(bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(bytes)
    }

    fn unhex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    const ID: TransactionId = TransactionId([1; 12]);
    const KEY: ProbeKey = ProbeKey::from_bytes([5; 32]);
    const RFC_8489_B1: &str = concat!(
        "000100902112a44278ad3433c6ad72c029da412e",
        "001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704",
        "001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c394653547679363473",
        "410000000014000b6578616d706c652e6f726700",
        "001d000400020000",
        "001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65",
    );
}
