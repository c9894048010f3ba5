//! The last sounds that went to one peer, of which later ones carry copies (RFC 2198's idea).

use std::collections::{BTreeMap, VecDeque};

use super::repair::RepairPlan;
use crate::params::{BUNDLE_LEN, COPY_REACH, SOUND_SHARE_PACE};
use crate::units::TrackId;
use crate::wire::packet::Packet;
use crate::wire::repair::len_in_bundle;

/// What was said lately.
#[derive(Debug, Default)]
pub struct Copies {
    /// The last sounds of each track, newest first.
    sounds: BTreeMap<TrackId, VecDeque<Packet>>,
    /// Which share of the packets sent lately was sound, 0 to 1.
    share: f64,
}

impl Copies {
    /// A packet is sent, whatever it is.
    pub fn handle_packet(&mut self) {
        self.share *= 1.0 - SOUND_SHARE_PACE;
    }

    /// What a sound carries besides itself: so many of the sounds before it in its track, as far back as the plan says, as long as
    /// the datagram has room. From now on it is one of them.
    pub fn carried_by(&mut self, sound: &Packet, count: usize, plan: &RepairPlan) -> Vec<Packet> {
        self.share += SOUND_SHARE_PACE;
        let before = self.sounds.entry(sound.header.track).or_default();
        let distances = plan.copy_distances(count, self.share);
        let mut room = BUNDLE_LEN.saturating_sub(len_in_bundle(sound));
        let mut fits = |copy: &&Packet| {
            let left = room.checked_sub(len_in_bundle(copy));
            room = left.unwrap_or(room);
            left.is_some()
        };
        let copied = distances.into_iter().filter_map(|distance| before.get(distance - 1));
        let copied = copied.filter(&mut fits).cloned().collect();
        before.push_front(sound.clone());
        before.truncate(COPY_REACH);
        copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::Header;
    use bytes::Bytes;

    fn sound(track: u16, number: u32) -> Packet {
        Packet { header: Header::alone(track, number), payload: Bytes::new() }
    }

    #[test]
    fn a_sound_carries_those_before_it_in_its_own_track() {
        let (mut copies, plan) = (Copies::default(), RepairPlan::new());
        let mut carried = |track, number, count| {
            let carried = copies.carried_by(&sound(track, number), count, &plan);
            carried.iter().map(|packet| (packet.header.track.0, packet.header.frame.0)).collect::<Vec<_>>()
        };
        assert_eq!(carried(1, 0, 2), [], "there is none before the first");
        assert_eq!(carried(2, 7, 2), []);
        assert_eq!(carried(1, 1, 2), [(1, 0)]);
        assert_eq!(carried(1, 2, 2), [(1, 1), (1, 0)]);
        assert_eq!(carried(1, 3, 1), [(1, 2)]);
        assert_eq!(carried(1, 4, 0), []);
    }

    #[test]
    fn copies_go_only_as_far_as_the_datagram_has_room() {
        let (mut copies, plan) = (Copies::default(), RepairPlan::new());
        let mut carried = |number, len| {
            let payload = Bytes::from(vec![0; len]);
            let sound = Packet { payload, ..sound(1, number) };
            let carried = copies.carried_by(&sound, 3, &plan);
            carried.iter().map(|packet| packet.header.frame.0).collect::<Vec<_>>()
        };
        let beside_nothing = BUNDLE_LEN - 2 * len_in_bundle(&sound(1, 0));
        assert!(carried(0, beside_nothing).is_empty());
        assert_eq!(carried(1, 0), [0], "to the last byte");
        assert_eq!(carried(2, 1), [1], "one more byte, and only what is smaller fits");
        assert!(carried(3, BUNDLE_LEN).is_empty());
    }
}
