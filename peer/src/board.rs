//! What the live table shows: reports go in, rows and a short log stay.

use std::collections::{BTreeMap, VecDeque};

use meipo::link::Link;
use meipo::units::PeerId;

use crate::call::MouthToEar;
use crate::events::{Line, Report, Stats};
use crate::output::Message;
use crate::params::BOARD_LOG;

/// Everything on the screen.
#[derive(Debug)]
pub struct Board {
    /// Which room, at which rendezvous.
    pub place: String,
    /// How others get here; empty if that is not known.
    pub invitation: String,
    /// Our name and the beginning of our id, once we are in.
    pub me: Option<String>,
    /// Whether the rendezvous is there.
    pub rendezvous: Rendezvous,
    /// One for each peer that can be spoken to; in the demo, for each that tells and each it tells of.
    pub rows: BTreeMap<(Option<String>, PeerId), Row>,
    /// What happened lately, the newest last.
    pub log: VecDeque<String>,
    /// How loud everybody is.
    pub meters: Meters,
}

/// How loud everybody is now, for whoever draws it: 0 for silence to 1 for full scale.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meters {
    /// Our microphone, heard or not.
    pub mine: f32,
    /// Whether what is said here is sent.
    pub is_open: bool,
    /// The voices of the others.
    pub theirs: BTreeMap<PeerId, f32>,
}

/// Whether the rendezvous is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rendezvous {
    /// It has not let us in yet.
    Entering,
    /// It is there.
    There,
    /// It is not; calls go on.
    Lost,
}

/// One line of the table.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The newest statistics.
    pub stats: Stats,
    /// `ipv4` or `ipv6`, where it is known.
    pub address_family: Option<&'static str>,
    /// Frames in the last second.
    pub frame_rate: u64,
    /// Whether their microphone is off, where that is told.
    pub is_muted: bool,
    /// Whether they raise a hand.
    pub has_hand_up: bool,
    /// How old their voice is, in a call in a terminal.
    pub mouth_to_ear: Option<MouthToEar>,
}

impl Board {
    /// An empty screen.
    pub fn new(place: String) -> Self {
        Board {
            place,
            invitation: String::new(),
            me: None,
            rendezvous: Rendezvous::Entering,
            rows: BTreeMap::new(),
            log: VecDeque::new(),
            meters: Meters::default(),
        }
    }

    /// How a room is named on a screen that others may see: without its secret.
    pub fn place_of(link: &Link) -> String {
        format!("{} at {}:{}", link.room(), link.host(), link.port())
    }

    /// Takes whatever was handed in.
    pub fn handle(&mut self, message: Message) {
        match message {
            Message::Line(line) => self.take(*line),
            Message::Note(note) => self.note(note),
            Message::Meters(meters) => self.meters = meters,
        }
    }

    /// Takes what happened.
    pub fn take(&mut self, line: Line) {
        let Line { report, at } = line;
        match &report {
            Report::Stats(stats) => return self.take_stats(at, stats.clone()),
            Report::MouthToEar(heard) => return self.take_mouth_to_ear(heard),
            Report::Presence(presence) => {
                let Some(row) = self.rows.get_mut(&(at, presence.peer)) else { return };
                (row.is_muted, row.has_hand_up) = (presence.muted, presence.hand);
                return;
            }
            Report::Invite(invite) => {
                self.invitation.clone_from(&invite.link);
                return;
            }
            Report::Joined(joined) => {
                self.rendezvous = Rendezvous::There;
                let id: String = joined.id.short();
                self.me = at.is_none().then(|| format!("{} ({id})", joined.name));
            }
            Report::RendezvousLost(_) => self.rendezvous = Rendezvous::Lost,
            Report::RendezvousBack => self.rendezvous = Rendezvous::There,
            Report::PeerJoined(joined) => {
                let row = self.rows.entry((at.clone(), joined.peer)).or_default();
                row.stats.name.clone_from(&joined.name);
            }
            Report::PeerLeft(left) => {
                self.rows.remove(&(at.clone(), left.peer));
            }
            Report::Path(path) => {
                if let Some(row) = self.rows.get_mut(&(at.clone(), path.peer)) {
                    row.address_family = path.address_family;
                    row.stats.path = Some(path.kind);
                    row.stats.rtt_ms = path.rtt_ms.or(row.stats.rtt_ms);
                }
            }
            Report::Rules(_)
            | Report::Track(_)
            | Report::TrackEnded(_)
            | Report::Recording(_)
            | Report::Page(_)
            | Report::Chat(_)
            | Report::Microphone(_)
            | Report::Devices(_)
            | Report::Error(_) => {}
        }
        let who = at.map_or(String::new(), |at| format!("[{at}] "));
        self.note(format!("{who}{report}"));
    }

    /// Takes a remark that is no event.
    pub fn note(&mut self, message: String) {
        self.log.push_back(message);
        if self.log.len() > BOARD_LOG {
            self.log.pop_front();
        }
    }

    fn take_mouth_to_ear(&mut self, heard: &MouthToEar) {
        let row = heard.peer.and_then(|peer| self.rows.get_mut(&(None, peer)));
        if let Some(row) = row {
            row.mouth_to_ear = Some(heard.clone());
        }
    }

    fn take_stats(&mut self, at: Option<String>, stats: Stats) {
        let Some(peer) = stats.peer else { return };
        let Some(row) = self.rows.get_mut(&(at, peer)) else { return };
        row.frame_rate = stats.frames.saturating_sub(row.stats.frames);
        row.stats = stats;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{PeerJoined, PeerLeft};

    const ALICE: PeerId = PeerId::from_bytes([1; 32]);

    #[test]
    fn a_peer_has_a_row_as_long_as_it_is_here() {
        let mut board = Board::new("tea".into());
        board.take(line(stats(5)));
        assert!(board.rows.is_empty());
        let name = "alice".to_owned();
        board.take(line(Report::PeerJoined(PeerJoined {
            peer: ALICE,
            name: name.clone(),
            safety_number: "1".into(),
            host: false,
        })));
        board.take(line(stats(30)));
        board.take(line(stats(75)));
        let row = &board.rows[&(None, ALICE)];
        assert_eq!((row.stats.frames, row.frame_rate), (75, 45));
        board.take(line(Report::PeerLeft(PeerLeft { peer: ALICE, name, reason: "left" })));
        assert!(board.rows.is_empty());
        assert_eq!(board.log.back().map(String::as_str), Some("alice has left"));
    }

    #[test]
    fn the_log_stays_short_and_holds_no_statistics() {
        let mut board = Board::new("tea".into());
        for _ in 0..1000 {
            board.take(line(Report::RendezvousBack));
            board.take(line(stats(1)));
        }
        assert_eq!(board.log.len(), BOARD_LOG);
    }

    fn line(report: Report) -> Line {
        Line { report, at: None }
    }

    fn stats(frames: u64) -> Report {
        Report::Stats(Stats { peer: Some(ALICE), frames, ..Stats::default() })
    }
}
