//! What the page and the peer say to each other: text is JSON, bytes are media with a header of 16 bytes.
//!
//! Everything a page sends is checked here; what does not fit becomes an error for the person and changes nothing.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use meipo::params::MAX_FRAME_LEN;
use meipo::trust::rules::Exclusion;
use meipo::units::PeerId;
use serde::{Deserialize, Serialize};

use crate::params::{FILE_BLOCK, PAGE_MAX_TEXT, SOUND_BLOCK};
use crate::session::StayError;
use crate::talk::Presence;
use crate::voice::Block;

/// The version of what is spoken.
pub const VERSION: u32 = 1;

/// What a page says.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are described where the protocol is, in the page's own words")]
pub enum FromPage {
    /// The first message.
    Hello { version: u32, token: String, visit: Option<u64> },
    /// Enter the room.
    Join { name: String },
    /// Show something, or change what is shown.
    Publish(Publish),
    /// Show it no longer.
    Unpublish { track: u16 },
    /// Who is muted, whose camera is on, whose hand is up: ours.
    State(Presence),
    /// Say a line.
    Chat { text: String },
    /// How loud somebody is to be.
    Volume { peer: String, volume: f32 },
    /// Whether a track is to be sent to us.
    Want { peer: String, track: u16, wanted: bool },
    /// A decoder cannot go on.
    NeedKey { peer: String, track: u16 },
    /// Something about a file.
    File(FileWish),
    /// As host: whether nobody but hosts may be heard.
    MuteAll { on: bool },
    /// As host: whether nobody new is let in.
    Lock { on: bool },
    /// As host: put somebody out.
    Remove { peer: String },
    /// Is somebody there?
    Ping { t: f64 },
    /// Leave the room and end.
    Leave,
}

/// What a page wants with files. Its own it numbers itself.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "wish", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are described where the protocol is, in the page's own words")]
pub enum FileWish {
    /// Everybody can have this one.
    Offer { file: u32, name: String, size: u64 },
    /// They cannot any longer.
    Withdraw { file: u32 },
    /// That one is wanted.
    Fetch { peer: String, id: String },
    /// So much of it has been put away.
    Taken { peer: String, id: String, bytes: u64 },
    /// It is not wanted any longer.
    Abort { peer: String, id: String },
    /// What was to be read cannot be.
    Unreadable { ticket: u32, message: String },
}

/// What a page is told of files.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "news", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are described where the protocol is, in the page's own words")]
pub enum FileNews {
    /// That one can be had.
    Offered { peer: String, id: String, name: String, size: u64 },
    /// It cannot any longer.
    Withdrawn { peer: String, id: String },
    /// Blocks with this number are of that file.
    Begun { peer: String, id: String, number: u32 },
    /// It does not come any further.
    Failed { peer: String, id: String, reason: String },
    /// One of the page's goes no further to somebody.
    Stopped { file: u32, peer: String, reason: String },
    /// These bytes are to be read, and sent with this ticket.
    Read { file: u32, ticket: u32, offset: u64, length: u64 },
    /// So much has arrived at somebody.
    Arrived { file: u32, peer: String, bytes: u64 },
}

/// Something to be shown.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Publish {
    /// The page's number for it.
    pub track: u16,
    /// What it is.
    pub source: PageSource,
    /// Of pictures: the codec string.
    pub codec: Option<String>,
    /// Of pictures: pixels a line.
    pub width: Option<u16>,
    /// Of pictures: lines.
    pub height: Option<u16>,
    /// Of pictures: how many a second.
    pub rate: Option<f64>,
    /// The same pictures as those of another track, smaller: for those whose way carries no more. They have no shape.
    pub smaller_of: Option<u16>,
}

/// What a page can show.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum PageSource {
    Camera,
    Screen,
    Microphone,
    ScreenAudio,
}

/// What a page is told, beside the events of the room.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are described where the protocol is, in the page's own words")]
pub enum ToPage {
    /// It is let in.
    Welcome(Box<Welcome>),
    /// It is not let in.
    Refused { message: String },
    /// Another page has taken over.
    Replaced,
    /// Pictures with this number are of that track.
    Lane { lane: u32, peer: String, track: u16 },
    /// What an encoder shall do.
    Encode { track: u16, bitrate_kbps: u64, layers: u8, rest: bool },
    /// The next picture is to be a key frame.
    Key { track: u16 },
    /// How loud everybody is.
    Levels { levels: BTreeMap<String, f32> },
    /// What somebody shows of themselves.
    State {
        peer: String,
        #[serde(flatten)]
        presence: Presence,
    },
    /// A line was said.
    Chat { id: String, peer: Option<String>, name: String, text: String, at: u64 },
    /// Something about a file.
    File(FileNews),
    /// The call is over for a reason.
    Failed { message: String },
    /// The host does not let us be in the room: `removed` or `locked`.
    Excluded { why: &'static str },
    /// Somebody is there.
    Pong { t: f64 },
    /// We have left.
    Left,
}

/// What a page must know first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Welcome {
    /// Of what is spoken.
    pub version: u32,
    /// Lets the page in again.
    pub resume: String,
    /// What the person may want to be called.
    pub name: String,
    /// What people call the room.
    pub room: String,
    /// Lets others in, as guests.
    pub invite: String,
    /// Whether the person is a host of the room.
    pub host: bool,
    /// What was asked for on the command line.
    pub video: VideoWishes,
    /// Whether we are in the room already.
    pub in_call: bool,
}

/// What the person asks of pictures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VideoWishes {
    /// Pixels a line.
    pub width: u16,
    /// Lines.
    pub height: u16,
    /// Pictures a second.
    pub rate: u16,
    /// At most so much; null: as much as the network carries.
    pub bitrate_kbps: Option<u64>,
    /// Seconds between two key frames at most; 0: every picture is one; null: only when one is asked for.
    pub keyframe_interval: Option<f64>,
}

/// Media from a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Media {
    /// One encoded picture.
    Picture(EncodedChunk),
    /// 10 ms of sound.
    Sound {
        /// The page's number for the track.
        track: u16,
        /// When it was captured, microseconds since 1970.
        captured_unix_us: u64,
        /// The samples.
        block: Box<Block>,
    },
    /// A piece of a file of the page's.
    File {
        /// Which it was asked for with.
        ticket: u32,
        /// The bytes.
        data: Bytes,
    },
}

/// One encoded picture of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedChunk {
    /// The page's number for the track.
    pub track: u16,
    /// Whether decoding can start here.
    pub is_key: bool,
    /// Temporal layer.
    pub layer: u8,
    /// When it was captured, microseconds since 1970.
    pub captured_unix_us: u64,
    /// The encoded bytes.
    pub data: Bytes,
}

/// Why a message of a page is not understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Longer than any that makes sense.
    #[error("a message of {0} bytes; at most {PAGE_MAX_TEXT} are read")]
    TooLong(usize),
    /// Not JSON, or not of a kind that is known.
    #[error("a message is not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// Bytes that end inside their header.
    #[error("media of {0} bytes ends inside its header of {HEADER_LEN}")]
    Truncated(usize),
    /// Neither picture nor sound, and no file.
    #[error("media of kind {0}; 1 is a picture, 2 is sound, 3 is a piece of a file")]
    Kind(u8),
    /// Sound that is not 10 ms.
    #[error("sound of {0} bytes; a block has {len}", len = SOUND_BLOCK * 2)]
    Block(usize),
    /// A piece of a file that nobody asked for.
    #[error("a piece of a file of {0} bytes; 1 to {FILE_BLOCK} can be sent")]
    Piece(usize),
    /// A picture that is empty or too large to be sent.
    #[error("a picture of {0} bytes; 1 to {MAX_FRAME_LEN} can be sent")]
    Picture(usize),
}

/// Length of the header of media.
pub const HEADER_LEN: usize = 16;

const PICTURE: u8 = 1;
const SOUND: u8 = 2;
const FILE: u8 = 3;

impl ToPage {
    /// The last words of a call that is over for this reason.
    pub fn of_error(error: &anyhow::Error) -> Self {
        match error.downcast_ref() {
            Some(StayError::Excluded(Exclusion::Removed)) => ToPage::Excluded { why: "removed" },
            Some(StayError::Excluded(Exclusion::Locked)) => ToPage::Excluded { why: "locked" },
            Some(StayError::Refused(_) | StayError::NeverJoined { .. }) | None => {
                ToPage::Failed { message: format!("{error:#}") }
            }
        }
    }
}

impl FromPage {
    /// Reads a text message.
    ///
    /// # Errors
    /// When it is too long or not understood.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        if text.len() > PAGE_MAX_TEXT {
            return Err(MessageError::TooLong(text.len()));
        }
        Ok(serde_json::from_str(text)?)
    }
}

impl Media {
    /// Reads a binary message.
    ///
    /// # Errors
    /// When it is neither a picture, nor 10 ms of sound, nor a piece of a file.
    pub fn parse(message: &Bytes) -> Result<Self, MessageError> {
        let Some(([kind, flags, t0, t1, l0, l1, l2, l3, captured @ ..], _)) = message.split_first_chunk::<HEADER_LEN>()
        else {
            return Err(MessageError::Truncated(message.len()));
        };
        let track = u16::from_le_bytes([*t0, *t1]);
        let captured_unix_us = u64::from_le_bytes(*captured);
        let data = message.slice(HEADER_LEN..);
        match *kind {
            PICTURE if data.is_empty() || data.len() > MAX_FRAME_LEN => Err(MessageError::Picture(data.len())),
            PICTURE => {
                let (is_key, layer) = (flags & 1 == 1, flags >> 1 & 3);
                Ok(Media::Picture(EncodedChunk { track, is_key, layer, captured_unix_us, data }))
            }
            SOUND if data.len() != SOUND_BLOCK * 2 => Err(MessageError::Block(data.len())),
            SOUND => {
                let mut block = Box::new([0; SOUND_BLOCK]);
                let samples = data.as_chunks::<2>().0.iter().map(|bytes| i16::from_le_bytes(*bytes));
                block.iter_mut().zip(samples).for_each(|(sample, value)| *sample = value);
                Ok(Media::Sound { track, captured_unix_us, block })
            }
            FILE if data.is_empty() || data.len() as u64 > FILE_BLOCK => Err(MessageError::Piece(data.len())),
            FILE => Ok(Media::File { ticket: u32::from_le_bytes([*l0, *l1, *l2, *l3]), data }),
            kind => Err(MessageError::Kind(kind)),
        }
    }
}

/// A picture of somebody as a page takes it.
pub fn picture_message(lane: u32, is_key: bool, layer: u8, captured_unix_us: u64, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_LEN + data.len());
    bytes.put_u8(PICTURE);
    bytes.put_u8(u8::from(is_key) | (layer & 3) << 1);
    bytes.put_u16_le(0);
    bytes.put_u32_le(lane);
    bytes.put_u64_le(captured_unix_us);
    bytes.put_slice(data);
    bytes.freeze()
}

/// The next piece of the file with this number as a page takes it.
pub fn block_message(number: u32, offset: u64, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_LEN + data.len());
    bytes.put_u8(FILE);
    bytes.put_bytes(0, 3);
    bytes.put_u32_le(number);
    bytes.put_u64_le(offset);
    bytes.put_slice(data);
    bytes.freeze()
}

/// 10 ms of everybody as a page takes it.
pub fn sound_message(block: &Block, unix_us: u64) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_LEN + block.len() * 2);
    bytes.put_u8(SOUND);
    bytes.put_bytes(0, 7);
    bytes.put_u64_le(unix_us);
    block.iter().for_each(|sample| bytes.put_i16_le(*sample));
    bytes.freeze()
}

/// A peer by its whole id; `None` if it is none.
pub fn peer_of(text: &str) -> Option<PeerId> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_is_understood_in_its_own_words() {
        let parse = |text| FromPage::parse(text).unwrap();
        assert_eq!(parse(r#"{"type":"leave"}"#), FromPage::Leave);
        assert_eq!(
            parse(r#"{"type":"need-key","peer":"p","track":3}"#),
            FromPage::NeedKey { peer: "p".to_owned(), track: 3 }
        );
        let state = Presence { muted: true, camera: false, hand: true };
        assert_eq!(parse(r#"{"type":"state","muted":true,"camera":false,"hand":true}"#), FromPage::State(state));
        let screen = Publish {
            track: 4,
            source: PageSource::ScreenAudio,
            codec: None,
            width: None,
            height: None,
            rate: None,
            smaller_of: None,
        };
        assert_eq!(parse(r#"{"type":"publish","track":4,"source":"screen-audio"}"#), FromPage::Publish(screen));
    }

    #[test]
    fn a_host_speaks_through_the_page() {
        let parse = |text| FromPage::parse(text).unwrap();
        assert_eq!(parse(r#"{"type":"mute-all","on":true}"#), FromPage::MuteAll { on: true });
        assert_eq!(parse(r#"{"type":"lock","on":false}"#), FromPage::Lock { on: false });
        assert_eq!(parse(r#"{"type":"remove","peer":"p"}"#), FromPage::Remove { peer: "p".to_owned() });
    }

    #[test]
    fn whoever_the_host_keeps_out_is_told_so_in_the_words_of_the_page() {
        let last = |error: StayError| serde_json::to_value(ToPage::of_error(&error.into())).unwrap();
        assert_eq!(
            last(StayError::Excluded(Exclusion::Locked)),
            serde_json::json!({ "type": "excluded", "why": "locked" })
        );
        assert_eq!(last(StayError::Excluded(Exclusion::Removed))["why"], "removed");
        assert_eq!(last(StayError::Refused("full".to_owned()))["type"], "failed");
    }

    #[test]
    fn what_the_page_reads_has_the_words_it_knows() {
        let state = ToPage::State { peer: "p".to_owned(), presence: Presence::default() };
        let expected =
            serde_json::json!({ "type": "state", "peer": "p", "muted": false, "camera": false, "hand": false });
        assert_eq!(serde_json::to_value(state).unwrap(), expected);
        let encode = ToPage::Encode { track: 1, bitrate_kbps: 9, layers: 2, rest: true };
        let expected =
            serde_json::json!({ "type": "encode", "track": 1, "bitrate_kbps": 9, "layers": 2, "rest": true });
        assert_eq!(serde_json::to_value(encode).unwrap(), expected);
    }

    #[test]
    fn media_is_the_same_after_the_way_there_and_back() {
        let picture = picture_message(0, true, 2, 77, b"abc");
        let expected =
            EncodedChunk { track: 0, is_key: true, layer: 2, captured_unix_us: 77, data: Bytes::from_static(b"abc") };
        assert_eq!(Media::parse(&picture).unwrap(), Media::Picture(expected));
        let mut block = [0; SOUND_BLOCK];
        block[1] = -2;
        let expected = Media::Sound { track: 0, captured_unix_us: 5, block: Box::new(block) };
        assert_eq!(Media::parse(&sound_message(&block, 5)).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), text in ".{0,200}") {
            let _ = Media::parse(&Bytes::from(bytes));
            let _ = FromPage::parse(&text);
        }
    }
}
