//! What the person in front of the terminal wants, from lines or from keys.
//!
//! Lines and keys go in, [`Action`]s come out; time goes in with the keys, because most terminals do not tell when a key is
//! released and the held space bar has to be guessed from how it repeats.

use meipo::node::Order;
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
    /// As host: to mute everyone or let them speak, to lock the room or unlock it.
    Order(Order),
    /// As host: to put out whoever has this name or short id.
    Remove(String),
    /// To go.
    Leave,
    /// Something that cannot be.
    Refused(CommandError),
}

/// What a line means; `None` if there is nothing in it.
pub fn action_of(line: &str) -> Option<Action> {
    let line = line.trim();
    match line {
        "" => None,
        "/mute" => Some(Action::Mute(true)),
        "/unmute" => Some(Action::Mute(false)),
        "/hand" => Some(Action::ToggleHand),
        "/muteall" => Some(Action::Order(Order::Mute(true))),
        "/unmuteall" => Some(Action::Order(Order::Mute(false))),
        "/lock" => Some(Action::Order(Order::Lock(true))),
        "/unlock" => Some(Action::Order(Order::Lock(false))),
        "/remove" => Some(Action::Refused(CommandError::Nameless)),
        "/leave" | "/quit" => Some(Action::Leave),
        command if command.starts_with('/') && !command.starts_with("//") => {
            let name = command.strip_prefix("/remove ").map(|name| name.trim().to_owned());
            let unknown = || Action::Refused(CommandError::Unknown(command.to_owned()));
            Some(name.map_or_else(unknown, Action::Remove))
        }
        // Two slashes say one.
        text => Some(Action::Say(text.strip_prefix('/').unwrap_or(text).to_owned())),
    }
}

/// Why a line that begins like a command is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Nobody knows it.
    #[error(
        "there is no command {0}; there are /mute, /unmute, /hand and /leave, for hosts /muteall, /unmuteall, /lock, /unlock \
         and /remove NAME, and // says a /"
    )]
    Unknown(String),
    /// It does not say whom.
    #[error("whom? /remove NAME, or the short id of somebody")]
    Nameless,
}

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
            Key::Enter => return action_of(&std::mem::take(&mut self.typed)),
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
        assert_eq!(action_of("/sing"), Some(Action::Refused(CommandError::Unknown("/sing".into()))));
    }

    #[test]
    fn a_host_has_commands_of_their_own() {
        assert_eq!(action_of("/muteall"), Some(Action::Order(Order::Mute(true))));
        assert_eq!(action_of("/unmuteall"), Some(Action::Order(Order::Mute(false))));
        assert_eq!(action_of("/lock"), Some(Action::Order(Order::Lock(true))));
        assert_eq!(action_of("/unlock"), Some(Action::Order(Order::Lock(false))));
        assert_eq!(action_of("/remove  陳 美玲 "), Some(Action::Remove("陳 美玲".into())));
        assert_eq!(action_of("/remove "), Some(Action::Refused(CommandError::Nameless)));
        assert_eq!(action_of("/removed"), Some(Action::Refused(CommandError::Unknown("/removed".into()))));
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
        "/hand".chars().for_each(|c| drop(keys.press(Key::Character(c), at(0))));
        assert_eq!(keys.press(Key::Enter, at(0)), Some(Action::ToggleHand), "what is a command in a pipe is one here");
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
