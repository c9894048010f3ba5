//! What a page that comes later must be told: the room as it is, not how it came to be.
//!
//! Reports go in as they are told; those that still hold come out in an order that makes sense.

use std::collections::BTreeMap;

use meipo::units::PeerId;

use crate::events::Report;

/// The room as it is.
#[derive(Debug, Default)]
pub struct Memory {
    joined: Option<Report>,
    is_lost: Option<Report>,
    rules: Option<Report>,
    peers: BTreeMap<PeerId, Known>,
}

#[derive(Debug, Default)]
struct Known {
    joined: Option<Report>,
    path: Option<Report>,
    tracks: BTreeMap<u16, Report>,
}

impl Memory {
    /// Something was told.
    pub fn take(&mut self, report: &Report) {
        match report {
            Report::Joined(_) => self.joined = Some(report.clone()),
            Report::PeerJoined(it) => self.peers.entry(it.peer).or_default().joined = Some(report.clone()),
            Report::PeerLeft(it) => drop(self.peers.remove(&it.peer)),
            Report::Track(it) => {
                self.peers.entry(it.peer).or_default().tracks.insert(it.track, report.clone());
            }
            Report::TrackEnded(it) => {
                if let Some(known) = self.peers.get_mut(&it.peer) {
                    known.tracks.remove(&it.track);
                }
            }
            Report::Path(it) => self.peers.entry(it.peer).or_default().path = Some(report.clone()),
            Report::Rules(_) => self.rules = Some(report.clone()),
            Report::RendezvousLost(_) => self.is_lost = Some(report.clone()),
            Report::RendezvousBack => self.is_lost = None,
            Report::Stats(_)
            | Report::Recording(_)
            | Report::Invite(_)
            | Report::Page(_)
            | Report::Chat(_)
            | Report::Presence(_)
            | Report::Microphone(_)
            | Report::Devices(_)
            | Report::MouthToEar(_)
            | Report::Error(_) => {}
        }
    }

    /// Everything that still holds.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        let peers = self.peers.values().filter(|known| known.joined.is_some());
        let of_peers = peers.flat_map(|known| known.joined.iter().chain(&known.path).chain(known.tracks.values()));
        self.joined.iter().chain(&self.is_lost).chain(&self.rules).chain(of_peers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{PeerJoined, PeerLeft, RendezvousLost, RulesReport, Shape, TrackEnded, TrackReport};

    #[test]
    fn a_later_page_learns_who_is_there_and_what_they_show() {
        let mut memory = Memory::default();
        for report in [joined(ALICE), joined(BOB), track(ALICE, 1), track(ALICE, 2), track(BOB, 1)] {
            memory.take(&report);
        }
        memory.take(&Report::TrackEnded(TrackEnded { peer: ALICE, name: String::new(), track: 1 }));
        memory.take(&Report::PeerLeft(PeerLeft { peer: BOB, name: String::new(), reason: "left" }));
        assert_eq!(memory.reports().cloned().collect::<Vec<_>>(), [joined(ALICE), track(ALICE, 2)]);
    }

    #[test]
    fn a_rendezvous_that_is_back_is_no_news() {
        let mut memory = Memory::default();
        memory.take(&Report::RendezvousLost(RendezvousLost { reason: String::new(), is_final: false }));
        assert_eq!(memory.reports().count(), 1);
        memory.take(&Report::RendezvousBack);
        assert_eq!(memory.reports().count(), 0);
    }

    #[test]
    fn a_later_page_learns_the_newest_rules() {
        let mut memory = Memory::default();
        let rules = |muted| {
            let (locked, removed, silenced) = (false, Vec::new(), muted);
            Report::Rules(RulesReport { muted, locked, removed, silenced })
        };
        memory.take(&rules(true));
        memory.take(&rules(false));
        assert_eq!(memory.reports().cloned().collect::<Vec<_>>(), [rules(false)]);
    }

    fn joined(peer: PeerId) -> Report {
        Report::PeerJoined(PeerJoined { peer, name: String::new(), safety_number: String::new(), host: false })
    }

    fn track(peer: PeerId, track: u16) -> Report {
        let shape = Shape::Audio { sample_rate: 48_000, channels: 1 };
        Report::Track(TrackReport { peer, name: String::new(), track, codec: "opus".into(), source: "camera", shape })
    }

    const ALICE: PeerId = PeerId::from_bytes([1; 32]);
    const BOB: PeerId = PeerId::from_bytes([2; 32]);
}
