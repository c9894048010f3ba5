//! Files that can be had, and what programs say to each other about them.

use bytes::Bytes;
use meipo::units::TransferId;
use serde::{Deserialize, Serialize};

use crate::params::FILE_MAX_NAME;

/// One file on offer, as whoever offers it numbers it at random.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct FileId(pub u64);

/// A file that can be had.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Offer {
    /// Which.
    pub id: FileId,
    /// What it is called; no path, and nothing that reads otherwise than it is written.
    pub name: String,
    /// How many bytes it has.
    pub size: u64,
}

/// What programs say to each other about files.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Saying {
    /// This can be had.
    Offer(Offer),
    /// It cannot be had any longer.
    Withdrawn { id: FileId },
    /// Of what was offered, this can be had and nothing else.
    Offered { ids: Vec<FileId> },
    /// Send it up to this byte as this transfer; the first time from `from` on. What has been sent stays sent.
    Ask { id: FileId, transfer: TransferId, from: u64, until: u64 },
    /// No more of this transfer, whichever side says it.
    Stop { transfer: TransferId, reason: Option<String> },
}

/// Tells it from what other parts of the program say.
#[derive(Deserialize, Serialize)]
struct Envelope {
    file: Saying,
}

impl Saying {
    pub(super) fn encode(self) -> Bytes {
        serde_json::to_vec(&Envelope { file: self }).expect("texts and numbers make JSON").into()
    }

    /// `None` if it is about something else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(|Envelope { file }| file)
    }
}

/// The name without folders, control characters and what turns the direction of writing; never empty, and no longer than
/// file systems take.
pub(super) fn harmless(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_written = |c: &char| {
        !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut kept: String = last.chars().filter(is_written).collect();
    while kept.len() > FILE_MAX_NAME {
        kept.pop();
    }
    let kept = kept.trim().trim_start_matches('.');
    if kept.is_empty() { "file".to_owned() } else { kept.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_and_reads_as_it_is_written() {
        for (name, expected) in [
            ("holiday.jpg", "holiday.jpg"),
            ("../../etc/passwd", "passwd"),
            ("C:\\temp\\a.txt", "a.txt"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            ("a\nb\u{7}.txt", "ab.txt"),
            ("..", "file"),
            (".bashrc", "bashrc"),
            ("茶.pdf", "茶.pdf"),
            ("", "file"),
        ] {
            assert_eq!(harmless(name), expected, "{name:?}");
        }
        let long = "茶".repeat(FILE_MAX_NAME);
        assert!(harmless(&long).len() <= FILE_MAX_NAME && harmless(&long).chars().all(|c| c == '茶'));
    }

    #[test]
    fn what_is_about_something_else_is_left_to_others() {
        assert_eq!(Saying::decode(b"{\"chat\":{\"id\":1,\"text\":\"tea\",\"at\":0}}"), None);
        let ask = Saying::Ask { id: FileId(1), transfer: TransferId(2), from: 0, until: 9 };
        assert_eq!(Saying::decode(&ask.clone().encode()), Some(ask));
    }
}
