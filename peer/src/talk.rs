//! What people tell each other beside sound and pictures: lines of chat, and who is muted or raises a hand.
//!
//! What peers said and what we want to say goes in; what to say to whom, and what is news, comes out. Whoever was there
//! hands the lines so far to those who come later, piece by piece when asked; a line is known by its id and is news once.
//! What a history says of third people is the word of whoever hands it over. Nothing here grows without bound.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use meipo::bucket::Bucket;
use meipo::params::{MAX_ROOM_MEMBERS, MAX_SAID_LEN};
use meipo::units::{PeerId, Time};
use meipo::wire::name::Name;
use serde::{Deserialize, Serialize};

use crate::params::{CHAT_HISTORY, CHAT_MAX_TEXT, CHAT_RATE, HISTORY_PATIENCE, MAX_CHAT_AHEAD_MS, SAID_RATE};

/// What everybody sees of a person beside their tracks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Presence {
    /// Whether the microphone is off.
    pub muted: bool,
    /// Whether the camera is on.
    pub camera: bool,
    /// Whether a hand is raised.
    pub hand: bool,
}

/// One line of chat.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ChatLine {
    /// Random, so that a line is known again.
    pub id: u64,
    /// The whole id of whoever said it.
    pub author: String,
    /// What they called themselves.
    pub name: Name,
    /// What they said.
    pub text: String,
    /// When, by their clock: milliseconds since 1970.
    pub at: u64,
}

/// What programs say to each other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Saying {
    /// To somebody who has just come, and again when the way to them has changed: how we are, and what we know.
    Greeting {
        presence: Presence,
        lines: usize,
        digest: u64,
    },
    Presence(Presence),
    Chat {
        id: u64,
        text: String,
        at: u64,
    },
    /// Hand over the lines from this one on.
    Ask {
        from: usize,
    },
    /// Some lines, the first of which has this place; none when there are no more.
    Past {
        from: usize,
        lines: Vec<ChatLine>,
    },
}

/// Something that the person should see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News {
    /// A line that was not known.
    Chat(ChatLine),
    /// How somebody is.
    Presence(PeerId, Presence),
}

/// Why a line cannot be said.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TalkError {
    /// Nothing in it, or too much.
    #[error("a line of {0} bytes; 1 to {CHAT_MAX_TEXT} can be said")]
    Length(usize),
    /// Something that is no text.
    #[error("a line must not contain the character {0:?}")]
    Character(char),
    /// Too many in a short time.
    #[error("you are writing faster than the others can read")]
    TooFast,
}

/// Chat and presence of one room.
#[derive(Debug)]
pub struct Talk {
    me: (String, Name),
    presence: Presence,
    lines: VecDeque<ChatLine>,
    peers: BTreeMap<PeerId, Companion>,
    asked: Option<(PeerId, Time)>,
    budget: Bucket,
    outgoing: VecDeque<(Option<PeerId>, Bytes)>,
    news: VecDeque<News>,
}

#[derive(Debug)]
struct Companion {
    name: Name,
    presence: Presence,
    budget: Bucket,
    /// What they said they know, until we know it too.
    knows: Option<u64>,
}

impl Talk {
    /// Nothing was said yet.
    pub fn new(me: PeerId, name: Name, now: Time) -> Self {
        Talk {
            me: (me.to_string(), name),
            presence: Presence::default(),
            lines: VecDeque::new(),
            peers: BTreeMap::new(),
            asked: None,
            budget: Bucket::new(CHAT_RATE.0, CHAT_RATE.1, now),
            outgoing: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    /// A peer can be spoken to.
    pub fn handle_peer_joined(&mut self, peer: PeerId, name: Name, now: Time) {
        if self.peers.len() < MAX_ROOM_MEMBERS || self.peers.contains_key(&peer) {
            let budget = Bucket::new(SAID_RATE.0, SAID_RATE.1, now);
            self.peers.insert(peer, Companion { name, presence: Presence::default(), budget, knows: None });
            self.greet(peer);
        }
    }

    /// The way to a peer has changed: something may have been lost in between.
    pub fn handle_path(&mut self, peer: PeerId) {
        if self.peers.contains_key(&peer) {
            self.greet(peer);
        }
    }

    /// A peer is gone; what it said stays.
    pub fn handle_peer_left(&mut self, peer: PeerId, now: Time) {
        self.peers.remove(&peer);
        if self.asked.is_some_and(|(asked, _)| asked == peer) {
            self.asked = None;
            self.ask_next(now);
        }
    }

    /// A peer's program says something. What is not understood, or too much, is dropped.
    pub fn handle_said(&mut self, peer: PeerId, bytes: &[u8], now: Time, unix_ms: u64) {
        let Some(companion) = self.peers.get_mut(&peer) else { return };
        if !companion.budget.take(1, now) {
            tracing::debug!(?peer, "says too much at once");
            return;
        }
        let saying = match serde_json::from_slice(bytes) {
            Ok(saying) => saying,
            Err(error) => {
                tracing::debug!(?peer, %error, "says what is not understood");
                return;
            }
        };
        match saying {
            Saying::Greeting { presence, lines, digest } => {
                companion.knows = (lines > 0).then_some(digest);
                self.note_presence(peer, presence);
                self.ask_next(now);
            }
            Saying::Presence(presence) => self.note_presence(peer, presence),
            Saying::Chat { id, text, at } => {
                let (author, name) = (peer.to_string(), companion.name.clone());
                self.learn(ChatLine { id, author, name, text, at: at.min(unix_ms + MAX_CHAT_AHEAD_MS) });
            }
            Saying::Ask { from } => self.hand_over(peer, from),
            Saying::Past { from, lines } => self.handle_past(peer, from, lines, now, unix_ms),
        }
    }

    /// Says a line to everybody.
    ///
    /// # Errors
    /// When it is empty, too long, no text, or one of too many.
    pub fn say(&mut self, text: String, id: u64, now: Time, unix_ms: u64) -> Result<(), TalkError> {
        check(&text)?;
        if !self.budget.take(1, now) {
            return Err(TalkError::TooFast);
        }
        self.outgoing.push_back((None, encode(&Saying::Chat { id, text: text.clone(), at: unix_ms })));
        let (author, name) = self.me.clone();
        self.learn(ChatLine { id, author, name, text, at: unix_ms });
        Ok(())
    }

    /// Tells everybody how we are, if that is news.
    pub fn set_presence(&mut self, presence: Presence) {
        if std::mem::replace(&mut self.presence, presence) != presence {
            self.outgoing.push_back((None, encode(&Saying::Presence(presence))));
        }
    }

    /// How we are.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// How everybody is.
    pub fn presences(&self) -> impl Iterator<Item = (PeerId, Presence)> {
        self.peers.iter().map(|(peer, companion)| (*peer, companion.presence))
    }

    /// What was said so far, the oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &ChatLine> {
        self.lines.iter()
    }

    /// Whether we said a line.
    pub fn is_ours(&self, line: &ChatLine) -> bool {
        line.author == self.me.0
    }

    /// What is to be said next: to one, or to everybody.
    pub fn poll_transmit(&mut self) -> Option<(Option<PeerId>, Bytes)> {
        self.outgoing.pop_front()
    }

    /// The next news.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    fn greet(&mut self, peer: PeerId) {
        let (presence, lines, digest) = (self.presence, self.lines.len(), self.digest());
        self.outgoing.push_back((Some(peer), encode(&Saying::Greeting { presence, lines, digest })));
    }

    fn note_presence(&mut self, peer: PeerId, presence: Presence) {
        let Some(companion) = self.peers.get_mut(&peer) else { return };
        companion.presence = presence;
        self.news.push_back(News::Presence(peer, presence));
    }

    /// Asks one who knows something else than we do, one at a time: most of them know the same.
    fn ask_next(&mut self, now: Time) {
        if self.asked.is_some_and(|(_, since)| now.since(since) < HISTORY_PATIENCE) {
            return;
        }
        let ours = self.digest();
        for companion in self.peers.values_mut() {
            companion.knows = companion.knows.filter(|digest| *digest != ours);
        }
        let next = self.peers.iter_mut().find(|(_, companion)| companion.knows.is_some());
        self.asked = next.map(|(peer, companion)| {
            companion.knows = None;
            (*peer, now)
        });
        if let Some((peer, _)) = self.asked {
            self.outgoing.push_back((Some(peer), encode(&Saying::Ask { from: 0 })));
        }
    }

    fn hand_over(&mut self, peer: PeerId, from: usize) {
        let mut room = MAX_SAID_LEN - FRAME_OF_PAST;
        let fits = |line: &&ChatLine| {
            let length = encode(line).len() + 1;
            let left = room.checked_sub(length);
            room = left.unwrap_or(room);
            left.is_some()
        };
        let lines: Vec<ChatLine> = self.lines.iter().skip(from).take_while(fits).cloned().collect();
        self.outgoing.push_back((Some(peer), encode(&Saying::Past { from, lines })));
    }

    /// Lines that were said before; only whom we asked is listened to.
    fn handle_past(&mut self, peer: PeerId, from: usize, lines: Vec<ChatLine>, now: Time, unix_ms: u64) {
        if self.asked.is_none_or(|(asked, _)| asked != peer) {
            return;
        }
        let next = from.saturating_add(lines.len());
        if lines.is_empty() || next > CHAT_HISTORY {
            self.asked = None;
            return self.ask_next(now);
        }
        for mut line in lines {
            line.at = line.at.min(unix_ms + MAX_CHAT_AHEAD_MS);
            self.learn(line);
        }
        self.asked = Some((peer, now));
        self.outgoing.push_back((Some(peer), encode(&Saying::Ask { from: next })));
    }

    /// Takes a line in its place, if it is one and was not known.
    fn learn(&mut self, line: ChatLine) {
        if check(&line.text).is_err() || self.lines.iter().any(|known| known.id == line.id) {
            return;
        }
        if line.author.parse::<PeerId>().is_err() {
            return;
        }
        let place = self.lines.partition_point(|known| known.at <= line.at);
        self.lines.insert(place, line.clone());
        if self.lines.len() > CHAT_HISTORY {
            self.lines.pop_front();
        }
        self.news.push_back(News::Chat(line));
    }

    /// Equal for those who know the same lines.
    fn digest(&self) -> u64 {
        self.lines.iter().fold(0_u64, |digest, line| digest.wrapping_add(line.id | 1))
    }
}

/// What is around the lines in a message of them, in bytes.
const FRAME_OF_PAST: usize = 64;

fn encode<T: Serialize>(saying: &T) -> Bytes {
    serde_json::to_vec(saying).expect("texts and numbers make JSON").into()
}

fn check(text: &str) -> Result<(), TalkError> {
    if text.trim().is_empty() || text.len() > CHAT_MAX_TEXT {
        return Err(TalkError::Length(text.len()));
    }
    match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        Some(bad) => Err(TalkError::Character(bad)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reaches_everybody_once_and_bears_its_authors_name() {
        let mut room = Room::of(3);
        room.talks[0].say("tea?".into(), 7, Time::ZERO, 1000).unwrap();
        room.settle();
        for at in 1..3 {
            let heard = room.chat(at);
            assert_eq!(heard, [("p0".to_owned(), "tea?".to_owned())], "{at}");
        }
    }

    #[test]
    fn who_comes_later_reads_what_was_said_before_even_if_it_is_much() {
        let mut room = Room::of(2);
        for id in 0..CHAT_HISTORY as u64 {
            room.talks[0].say("x".repeat(CHAT_MAX_TEXT), id, Time::from_millis(id * 1000), id).unwrap();
        }
        room.settle();
        room.enter();
        room.settle();
        assert_eq!(room.talks[2].lines().count(), CHAT_HISTORY);
        assert!(room.talks[2].lines().map(|line| line.id).eq(0..CHAT_HISTORY as u64));
        assert_eq!(room.chat(2).len(), CHAT_HISTORY);
    }

    #[test]
    fn who_comes_later_knows_how_everybody_is() {
        let mut room = Room::of(1);
        let presence = Presence { muted: true, camera: false, hand: true };
        room.talks[0].set_presence(presence);
        room.enter();
        room.settle();
        assert_eq!(room.talks[1].presences().collect::<Vec<_>>(), [(id(0), presence)]);
    }

    #[test]
    fn what_was_lost_with_a_connection_is_made_good_when_there_is_a_way_again() {
        let mut room = Room::of(2);
        room.talks[0].say("lost".into(), 1, Time::ZERO, 5).unwrap();
        while room.talks[0].poll_transmit().is_some() {}
        room.talks[0].handle_path(id(1));
        room.settle();
        assert_eq!(room.chat(1), [("p0".to_owned(), "lost".to_owned())]);
    }

    #[test]
    fn a_history_nobody_asked_for_is_not_believed() {
        let mut room = Room::of(2);
        let line = ChatLine { id: 1, author: id(5).to_string(), name: name(5), text: "forged".into(), at: 0 };
        let saying = encode(&Saying::Past { from: 0, lines: vec![line] });
        room.talks[1].handle_said(id(0), &saying, Time::ZERO, 0);
        assert_eq!(room.chat(1), []);
    }

    #[test]
    fn a_flood_is_dropped_and_memory_stays_bounded() {
        let mut room = Room::of(2);
        for number in 0..10_000 {
            let saying = encode(&Saying::Chat { id: number, text: "flood".into(), at: 0 });
            room.talks[1].handle_said(id(0), &saying, Time::ZERO, 0);
        }
        assert!(room.chat(1).len() as u64 <= SAID_RATE.1);
        assert_eq!(room.talks[0].say("x".repeat(CHAT_MAX_TEXT + 1), 1, Time::ZERO, 0), Err(TalkError::Length(4001)));
        assert_eq!(room.talks[0].say("a\u{7}".into(), 1, Time::ZERO, 0), Err(TalkError::Character('\u{7}')));
    }

    #[test]
    fn noise_changes_nothing() {
        let mut room = Room::of(2);
        for noise in [&b""[..], b"{", b"[1,2]", b"{\"chat\":{}}", &[0xff; 900]] {
            room.talks[1].handle_said(id(0), noise, Time::ZERO, 0);
        }
        assert_eq!((room.chat(1), room.talks[1].poll_transmit()), (vec![], None));
    }

    /// Everybody in a room, with a perfect network between them.
    struct Room {
        talks: Vec<Talk>,
        now: Time,
    }

    impl Room {
        fn of(count: usize) -> Self {
            let mut room = Room { talks: Vec::new(), now: Time::ZERO };
            (0..count).for_each(|_| room.enter());
            room.settle();
            for talk in &mut room.talks {
                while talk.poll_news().is_some() {}
            }
            room
        }

        fn enter(&mut self) {
            let newcomer = self.talks.len();
            self.talks.push(Talk::new(id(newcomer), name(newcomer), self.now));
            for other in 0..newcomer {
                self.talks[other].handle_peer_joined(id(newcomer), name(newcomer), self.now);
                self.talks[newcomer].handle_peer_joined(id(other), name(other), self.now);
            }
        }

        fn settle(&mut self) {
            loop {
                let mut is_quiet = true;
                for from in 0..self.talks.len() {
                    while let Some((to, bytes)) = self.talks[from].poll_transmit() {
                        is_quiet = false;
                        assert!(bytes.len() <= MAX_SAID_LEN, "{}", bytes.len());
                        for at in (0..self.talks.len()).filter(|at| *at != from && to.is_none_or(|to| to == id(*at))) {
                            self.now += std::time::Duration::from_millis(100);
                            self.talks[at].handle_said(id(from), &bytes, self.now, 1_000_000);
                        }
                    }
                }
                if is_quiet {
                    return;
                }
            }
        }

        fn chat(&mut self, at: usize) -> Vec<(String, String)> {
            let news = std::iter::from_fn(|| self.talks[at].poll_news());
            let line = |news| match news {
                News::Chat(line) => Some((line.name.to_string(), line.text)),
                News::Presence(..) => None,
            };
            news.filter_map(line).collect()
        }
    }

    fn id(number: usize) -> PeerId {
        PeerId::from_bytes([u8::try_from(number).unwrap(); 32])
    }

    fn name(number: usize) -> Name {
        format!("p{number}").parse().unwrap()
    }
}
