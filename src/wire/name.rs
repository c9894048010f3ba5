//! The name a person shows in a room.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::params::MAX_NAME_LEN;

/// What the others in the room read: 1 to [`MAX_NAME_LEN`] bytes without control characters. Not unique, not proven.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is no name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing is left without the surrounding white space.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than allowed.
    #[error("a name of {0} bytes; at most {MAX_NAME_LEN} are allowed")]
    TooLong(usize),
    /// Something that could disturb a terminal or reverse the reading direction.
    #[error("a name must not contain the character {0:?}")]
    Character(char),
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Marks that change the reading direction of what follows: one name could pass for another.
const DIRECTION_MARKS: [char; 9] =
    ['\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}'];

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME_LEN {
            return Err(NameError::TooLong(text.len()));
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() || DIRECTION_MARKS.contains(c)) {
            return Err(NameError::Character(bad));
        }
        Ok(Name(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_passes_and_one_byte_more_does_not() {
        assert!("a".repeat(MAX_NAME_LEN).parse::<Name>().is_ok());
        assert_eq!("a".repeat(MAX_NAME_LEN + 1).parse::<Name>(), Err(NameError::TooLong(MAX_NAME_LEN + 1)));
    }

    #[test]
    fn a_name_cannot_write_on_a_terminal_or_turn_it_around() {
        assert_eq!("a\u{1b}[2J".parse::<Name>(), Err(NameError::Character('\u{1b}')));
        assert_eq!("a\u{202e}b".parse::<Name>(), Err(NameError::Character('\u{202e}')));
        assert_eq!(" \t".parse::<Name>(), Err(NameError::Empty));
    }

    #[test]
    fn any_script_will_do() {
        assert_eq!(" 媒婆 ".parse::<Name>().unwrap().as_str(), "媒婆");
    }
}
