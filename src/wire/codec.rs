//! Control messages as bytes: each a length and a body, in one stream that begins with a preface.
//!
//! In: any serde type, or bytes as a stream delivers them. Out: the bytes, or whole messages. Nothing is decoded before
//! its length is known and within [`MAX_MESSAGE_LEN`], and a body that is not used up to its last byte is an error.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::params::MAX_MESSAGE_LEN;

/// The protocol version that this library speaks.
pub const VERSION: u16 = 2;

/// What every control stream begins with: this, then the version as two bytes, big-endian.
const PREFACE: &[u8; 6] = b"meipo ";

/// Length of the preface with its version.
const PREFACE_LEN: usize = PREFACE.len() + 2;

/// Why a control stream is given up. The peer at its other end erred, or speaks another version.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The stream does not begin as a meipo control stream does.
    #[error("the stream does not begin with a meipo preface")]
    NoPreface,
    /// The other side speaks another version.
    #[error("the other side speaks protocol version {theirs}, this one speaks {VERSION}")]
    Version {
        /// The version in the preface.
        theirs: u16,
    },
    /// A message is longer than any may be.
    #[error("message of {0} bytes; at most {MAX_MESSAGE_LEN} are allowed")]
    TooLong(usize),
    /// A message does not decode.
    #[error("message of {len} bytes does not decode: {reason}")]
    Malformed {
        /// Length of the body.
        len: usize,
        /// What the decoder found.
        reason: String,
    },
}

/// The preface that opens a control stream.
pub fn preface() -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFACE_LEN);
    bytes.put_slice(PREFACE);
    bytes.put_u16(VERSION);
    bytes.freeze()
}

/// A message as it goes into the stream: two bytes of length, big-endian, then the body.
///
/// # Panics
/// When a message of ours is longer than [`MAX_MESSAGE_LEN`]: every collection in it is capped, so none can be.
pub fn encode<T: Serialize>(message: &T) -> Bytes {
    let body = bincode::serde::encode_to_vec(message, bincode::config::standard())
        .expect("messages hold only types that serde can write");
    assert!(body.len() <= MAX_MESSAGE_LEN, "a message of ours has {} bytes", body.len());
    let mut bytes = BytesMut::with_capacity(2 + body.len());
    bytes.put_u16(u16::try_from(body.len()).expect("checked above"));
    bytes.put_slice(&body);
    bytes.freeze()
}

/// Reads one body.
///
/// # Errors
/// When it does not decode as `T` to its last byte.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    let malformed = |reason: String| CodecError::Malformed { len: body.len(), reason };
    let config = bincode::config::standard().with_limit::<MAX_MESSAGE_LEN>();
    let (message, used) =
        bincode::serde::decode_from_slice(body, config).map_err(|error| malformed(error.to_string()))?;
    if used != body.len() {
        return Err(malformed(format!("{} bytes left over", body.len() - used)));
    }
    Ok(message)
}

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub struct MessageReader {
    buffer: BytesMut,
    has_preface: bool,
}

impl MessageReader {
    /// Takes what the stream delivered.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The body of the next whole message, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// When the preface or a length is wrong; the stream is of no more use then.
    pub fn next_body(&mut self) -> Result<Option<Bytes>, CodecError> {
        if !self.has_preface && !self.take_preface()? {
            return Ok(None);
        }
        let Some(len) = self.buffer.first_chunk::<2>().map(|len| usize::from(u16::from_be_bytes(*len))) else {
            return Ok(None);
        };
        if len > MAX_MESSAGE_LEN {
            return Err(CodecError::TooLong(len));
        }
        if self.buffer.len() < 2 + len {
            return Ok(None);
        }
        self.buffer.advance(2);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }

    fn take_preface(&mut self) -> Result<bool, CodecError> {
        let known = self.buffer.len().min(PREFACE.len());
        if self.buffer.get(..known) != PREFACE.get(..known) {
            return Err(CodecError::NoPreface);
        }
        if self.buffer.len() < PREFACE_LEN {
            return Ok(false);
        }
        self.buffer.advance(PREFACE.len());
        let theirs = self.buffer.get_u16();
        if theirs != VERSION {
            return Err(CodecError::Version { theirs });
        }
        self.has_preface = true;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(parts: &[&[u8]]) -> MessageReader {
        let mut reader = MessageReader::default();
        for part in parts {
            reader.push(part);
        }
        reader
    }

    #[test]
    fn a_message_arrives_byte_by_byte() {
        let mut reader = MessageReader::default();
        let stream = [preface(), encode(&(7_u32, "seven"))].concat();
        for byte in &stream[..stream.len() - 1] {
            reader.push(&[*byte]);
            assert_eq!(reader.next_body(), Ok(None));
        }
        reader.push(&stream[stream.len() - 1..]);
        let body = reader.next_body().unwrap().unwrap();
        assert_eq!(decode::<(u32, String)>(&body), Ok((7, "seven".to_owned())));
    }

    #[test]
    fn another_version_is_named_beside_ours() {
        let mut reader = reader(&[b"meipo \x00\x09"]);
        assert_eq!(
            reader.next_body().unwrap_err().to_string(),
            "the other side speaks protocol version 9, this one speaks 2"
        );
    }

    #[test]
    fn a_stream_of_something_else_is_refused_at_its_first_byte() {
        assert_eq!(reader(&[b"G"]).next_body(), Err(CodecError::NoPreface));
    }

    #[test]
    fn the_longest_message_passes_and_one_byte_more_does_not() {
        let len = u16::try_from(MAX_MESSAGE_LEN).unwrap();
        let body = vec![0; MAX_MESSAGE_LEN];
        let mut longest = reader(&[&preface(), &len.to_be_bytes(), &body]);
        assert_eq!(longest.next_body().unwrap().unwrap().len(), MAX_MESSAGE_LEN);
        let mut longer = reader(&[&preface(), &(len + 1).to_be_bytes()]);
        assert_eq!(longer.next_body(), Err(CodecError::TooLong(MAX_MESSAGE_LEN + 1)));
    }

    #[test]
    fn a_collection_that_claims_more_than_the_limit_is_refused_before_memory_is_taken() {
        let claim = bincode::serde::encode_to_vec(1_u64 << 50, bincode::config::standard()).unwrap();
        assert!(matches!(decode::<Vec<u64>>(&claim), Err(CodecError::Malformed { .. })));
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        let error = decode::<u8>(&[1, 2]).unwrap_err();
        assert_eq!(error.to_string(), "message of 2 bytes does not decode: 1 bytes left over");
    }
}
