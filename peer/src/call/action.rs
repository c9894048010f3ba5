//! What the person in front of the terminal wants, from lines or from keys.
//!
//! Lines and keys go in, [`Action`]s come out; time goes in with the keys, because most terminals do not tell when a key is
//! released and the held space bar has to be guessed from how it repeats.

use meipo::units::Time;

use crate::params::{CHAT_MAX_TEXT, HOLD_PATIENCE};

/// Something the person wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// To say this in writing.
    Say(String),
    /// The microphone off, or on.
    Mute(bool),
    /// The microphone the other way.
    ToggleMute,
    /// To be heard for as long as this is true, muted or not.
    Talk(bool),
    /// To raise a hand, or to take it down.
    ToggleHand,
    /// To go.
    Leave,
    /// Something that cannot be.
    Unknown(UnknownCommand),
}

/// What a line of a program without a screen means; `None` if there is nothing in it.
pub fn action_of(line: &str) -> Option<Action> {
    let line = line.trim();
    match line {
        "" => None,
        "/mute" => Some(Action::Mute(true)),
        "/unmute" => Some(Action::Mute(false)),
        "/hand" => Some(Action::ToggleHand),
        "/leave" | "/quit" => Some(Action::Leave),
        command if command.starts_with('/') && !command.starts_with("//") => {
            Some(Action::Unknown(UnknownCommand(command.to_owned())))
        }
        // Two slashes say one.
        text => Some(Action::Say(text.strip_prefix('/').unwrap_or(text).to_owned())),
    }
}

/// A line that begins like a command and is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no command {0}; there are /mute, /unmute, /hand and /leave, and // says a /")]
pub struct UnknownCommand(String);

/// A key, as far as a call cares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Key {
    /// A character; [`Key::Space`] is one of its own.
    Character(char),
    /// The space bar: talks while it is held, or parts words.
    Space,
    /// Mutes.
    Tab,
    /// Says what was typed.
    Enter,
    /// Takes a character back.
    Backspace,
    /// Takes all of it back, or leaves.
    Escape,
}

/// What was typed, and how long the space bar is held.
#[derive(Debug, Default)]
pub struct Keys {
    typed: String,
    /// Until when the space bar counts as held.
    held: Option<Time>,
    /// Whether this terminal tells of releases, so that nothing has to be guessed.
    tells_releases: bool,
}

impl Keys {
    /// What was typed and not said yet.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// A key went down, or repeats.
    pub fn press(&mut self, key: Key, now: Time) -> Option<Action> {
        match key {
            Key::Space if self.typed.is_empty() => return self.hold(now),
            Key::Space => self.push(' '),
            Key::Character(character) => self.push(character),
            Key::Tab => return Some(Action::ToggleMute),
            Key::Enter if self.typed.trim().is_empty() => self.typed.clear(),
            Key::Enter => return Some(Action::Say(std::mem::take(&mut self.typed))),
            Key::Backspace => drop(self.typed.pop()),
            Key::Escape if self.typed.is_empty() => return Some(Action::Leave),
            Key::Escape => self.typed.clear(),
        }
        None
    }

    /// A key went up.
    pub fn release(&mut self, key: Key) -> Option<Action> {
        self.tells_releases = true;
        (key == Key::Space && self.held.take().is_some()).then_some(Action::Talk(false))
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) -> Option<Action> {
        let is_over = !self.tells_releases && self.held.is_some_and(|until| now >= until);
        (is_over && self.held.take().is_some()).then_some(Action::Talk(false))
    }

    fn hold(&mut self, now: Time) -> Option<Action> {
        let (first, repeated) = HOLD_PATIENCE;
        match self.held {
            Some(until) => {
                self.held = Some(until.max(now + repeated));
                None
            }
            None => {
                self.held = Some(now + first);
                Some(Action::Talk(true))
            }
        }
    }

    fn push(&mut self, character: char) {
        if self.typed.len() + character.len_utf8() <= CHAT_MAX_TEXT && !character.is_control() {
            self.typed.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_chat_unless_it_begins_with_a_slash() {
        assert_eq!(action_of("  tea? \n"), Some(Action::Say("tea?".into())));
        assert_eq!(action_of("/mute"), Some(Action::Mute(true)));
        assert_eq!(action_of("/unmute"), Some(Action::Mute(false)));
        assert_eq!(action_of("/leave"), Some(Action::Leave));
        assert_eq!(action_of("//etc"), Some(Action::Say("/etc".into())));
        assert_eq!(action_of(" \n"), None);
        assert_eq!(action_of("/sing"), Some(Action::Unknown(UnknownCommand("/sing".into()))));
    }

    #[test]
    fn what_is_typed_is_said_with_enter() {
        let mut keys = Keys::default();
        for key in [Key::Character('一'), Key::Space, Key::Character('x'), Key::Character('y'), Key::Backspace] {
            assert_eq!(keys.press(key, at(0)), None);
        }
        assert_eq!(keys.typed(), "一 x");
        assert_eq!(keys.press(Key::Enter, at(0)), Some(Action::Say("一 x".into())));
        assert_eq!((keys.press(Key::Enter, at(0)), keys.typed()), (None, ""));
    }

    #[test]
    fn a_line_is_no_longer_than_what_can_be_said() {
        let mut keys = Keys::default();
        for _ in 0..CHAT_MAX_TEXT + 10 {
            keys.press(Key::Character('x'), at(0));
        }
        assert_eq!(keys.typed().len(), CHAT_MAX_TEXT);
        keys.press(Key::Backspace, at(0));
        keys.press(Key::Character('一'), at(0));
        assert_eq!(keys.typed().len(), CHAT_MAX_TEXT - 1, "a character is never cut");
    }

    #[test]
    fn the_space_bar_talks_while_it_repeats() {
        let mut keys = Keys::default();
        assert_eq!(keys.press(Key::Space, at(0)), Some(Action::Talk(true)));
        assert_eq!(keys.tick(at(600)), None, "a held key has not begun to repeat");
        for millis in (660..2000).step_by(33) {
            assert_eq!((keys.press(Key::Space, at(millis)), keys.tick(at(millis + 30))), (None, None));
        }
        assert_eq!(keys.tick(at(2200)), Some(Action::Talk(false)));
        assert_eq!(keys.tick(at(2300)), None);
    }

    #[test]
    fn a_terminal_that_tells_of_releases_is_believed() {
        let mut keys = Keys::default();
        keys.press(Key::Space, at(0));
        assert_eq!(keys.release(Key::Space), Some(Action::Talk(false)));
        keys.press(Key::Space, at(100));
        assert_eq!(keys.tick(at(60_000)), None, "it is held for a minute");
        assert_eq!(keys.release(Key::Character('x')), None);
        assert_eq!(keys.release(Key::Space), Some(Action::Talk(false)));
    }

    #[test]
    fn escape_takes_back_what_was_typed_before_it_leaves() {
        let mut keys = Keys::default();
        keys.press(Key::Character('x'), at(0));
        assert_eq!(keys.press(Key::Escape, at(0)), None);
        assert_eq!(keys.press(Key::Escape, at(0)), Some(Action::Leave));
        assert_eq!(keys.press(Key::Tab, at(0)), Some(Action::ToggleMute));
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }
}
