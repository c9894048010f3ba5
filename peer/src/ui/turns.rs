//! Whose turn it is to speak for the person: that of the page opened last.
//!
//! A page draws a number each time a person opens it or wants the call in it, and says it again when its connection broke.
//! Numbers go in; a number that lost its turn to another never gets it back, whether it heard of that or not.

use std::collections::VecDeque;

use crate::params::PAGE_MOST_FORMER;

/// Whose turn it was and is.
#[derive(Debug, Default)]
pub struct Turns {
    current: Option<u64>,
    former: VecDeque<u64>,
}

/// What a page that comes is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// It is the one now.
    Yours,
    /// Another was opened after it.
    Lost,
}

impl Turns {
    /// A page comes, for the first time or again.
    pub fn take(&mut self, visit: Option<u64>) -> Turn {
        if visit.is_some_and(|visit| self.former.contains(&visit)) {
            return Turn::Lost;
        }
        if visit != self.current {
            self.former.extend(self.current);
            self.current = visit;
        }
        if self.former.len() > PAGE_MOST_FORMER {
            self.former.pop_front();
        }
        Turn::Yours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lost_the_turn_does_not_get_it_back_but_comes_anew() {
        let mut turns = Turns::default();
        assert_eq!(turns.take(Some(1)), Turn::Yours);
        assert_eq!(turns.take(Some(1)), Turn::Yours, "its connection broke");
        assert_eq!(turns.take(Some(2)), Turn::Yours);
        assert_eq!(turns.take(Some(1)), Turn::Lost);
        assert_eq!(turns.take(Some(2)), Turn::Yours);
        assert_eq!(turns.take(Some(3)), Turn::Yours, "a person wants it in the first page");
        assert_eq!(turns.take(Some(2)), Turn::Lost);
    }

    #[test]
    fn a_page_without_a_number_is_always_new() {
        let mut turns = Turns::default();
        assert_eq!(
            [Some(1), None, None, Some(1)].map(|visit| turns.take(visit)),
            [Turn::Yours, Turn::Yours, Turn::Yours, Turn::Lost]
        );
    }

    #[test]
    fn only_the_last_ones_are_remembered() {
        let mut turns = Turns::default();
        let most = PAGE_MOST_FORMER as u64;
        (0..=most).for_each(|visit| assert_eq!(turns.take(Some(visit)), Turn::Yours));
        assert_eq!(turns.take(Some(0)), Turn::Lost);
        turns.take(Some(most + 1));
        assert_eq!(turns.take(Some(0)), Turn::Yours, "{turns:?}");
    }
}
