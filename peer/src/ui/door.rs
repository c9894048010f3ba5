//! Who may speak for the person: whoever has a token.
//!
//! A ticket, which stands in the address that is opened, is good for one time; what is given in exchange stays with the
//! page and is good for as long as the program runs. Both are 128 random bits, and guesses are counted.

use anyhow::Context;
use data_encoding::BASE64URL_NOPAD;

use crate::params::PAGE_MOST_REFUSALS;
use crate::random;

/// Tells pages from strangers.
#[derive(Debug)]
pub struct Door {
    ticket: Option<Token>,
    resume: Token,
    refusals: u32,
}

/// A secret of 128 bits, as text.
#[derive(Clone)]
pub struct Token(String);

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It is no token of ours, or has been used.
    #[error("this address has been used or is not the newest; open the one that `peer join` printed last")]
    WrongToken,
    /// Somebody is guessing.
    #[error("too many wrong tokens; start `peer join` again")]
    TooManyGuesses,
}

impl Door {
    /// A door with its first ticket.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Door { ticket: Some(Token::random()?), resume: Token::random()?, refusals: 0 })
    }

    /// The ticket that has not been used, if there is one.
    pub fn ticket(&self) -> Option<&Token> {
        self.ticket.as_ref()
    }

    /// Makes a ticket in place of one that was used.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn renew(&mut self) -> anyhow::Result<&Token> {
        if self.ticket.is_none() {
            self.ticket = Some(Token::random()?);
        }
        self.ticket.as_ref().context("a ticket was just made")
    }

    /// Lets a page in that knows a token; it gets the one that lets it in again.
    ///
    /// # Errors
    /// When the token is wrong or was used, or too many wrong ones were tried.
    pub fn admit(&mut self, token: &str) -> Result<&Token, Refusal> {
        if self.refusals >= PAGE_MOST_REFUSALS {
            return Err(Refusal::TooManyGuesses);
        }
        if self.resume.is(token) {
            return Ok(&self.resume);
        }
        if self.ticket.as_ref().is_some_and(|ticket| ticket.is(token)) {
            self.ticket = None;
            return Ok(&self.resume);
        }
        self.refusals += 1;
        Err(Refusal::WrongToken)
    }
}

impl Token {
    fn random() -> anyhow::Result<Self> {
        Ok(Token(BASE64URL_NOPAD.encode(&random::bytes::<16>()?)))
    }

    /// The token as it stands in an address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares without telling by the time it takes how much was right.
    fn is(&self, other: &str) -> bool {
        let differences = self.0.bytes().zip(other.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        self.0.len() == other.len() && differences == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_and_what_it_is_exchanged_for_is_good_again_and_again() {
        let mut door = Door::new().unwrap();
        let ticket = door.ticket().unwrap().clone();
        let resume = door.admit(ticket.as_str()).unwrap().clone();
        assert_eq!(door.admit(ticket.as_str()).unwrap_err(), Refusal::WrongToken);
        assert!(door.admit(resume.as_str()).is_ok());
        assert!(door.admit(resume.as_str()).is_ok());
    }

    #[test]
    fn a_new_ticket_serves_when_the_first_was_used() {
        let mut door = Door::new().unwrap();
        let first = door.ticket().unwrap().clone();
        assert_eq!(door.renew().unwrap().as_str(), first.as_str());
        door.admit(first.as_str()).unwrap();
        let second = door.renew().unwrap().clone();
        assert!(door.admit(second.as_str()).is_ok());
    }

    #[test]
    fn who_guesses_for_long_enough_is_not_listened_to_any_more() {
        let mut door = Door::new().unwrap();
        for _ in 0..PAGE_MOST_REFUSALS {
            assert_eq!(door.admit("x").unwrap_err(), Refusal::WrongToken);
        }
        let ticket = door.ticket().unwrap().clone();
        assert_eq!(door.admit(ticket.as_str()).unwrap_err(), Refusal::TooManyGuesses);
    }
}
