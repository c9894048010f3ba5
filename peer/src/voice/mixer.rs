//! Everybody who is heard here, as one sound.
//!
//! Tracks, frames and the absence of frames go in as the room tells of them; a block comes out each time it is asked for,
//! with everybody at the volume they were given, and never beyond full scale.

use std::collections::BTreeMap;
use std::time::Duration;

use meipo::media::{Frame, Track};
use meipo::units::{PeerId, TrackId};

use super::Block;
use super::limiter::Limiter;
use super::speaker::Speaker;
use crate::codec::CodecError;
use crate::params::{MAX_VOICES_PER_PEER, MAX_VOLUME, SOUND_BLOCK};

/// How loud somebody is to be: 0 is not at all, 1 as they come, 2 twice as loud.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Volume(f32);

impl Volume {
    /// As they come.
    pub const FULL: Volume = Volume(1.0);

    /// `None` beyond 0 to 2.
    pub fn new(factor: f32) -> Option<Self> {
        (0.0..=MAX_VOLUME).contains(&factor).then_some(Volume(factor))
    }
}

/// All voices.
#[derive(Debug)]
pub struct Mixer {
    speakers: BTreeMap<(PeerId, TrackId), Speaker>,
    volumes: BTreeMap<PeerId, Volume>,
    limiter: Limiter,
}

impl Mixer {
    /// Nobody is heard yet.
    pub fn new() -> Self {
        Mixer { speakers: BTreeMap::new(), volumes: BTreeMap::new(), limiter: Limiter::new() }
    }

    /// A peer announces a track. Pictures are none of ours; a track that is announced again is the same voice.
    ///
    /// # Errors
    /// When it is sound that cannot be decoded.
    pub fn handle_track(&mut self, peer: PeerId, track: &Track) -> Result<(), CodecError> {
        let key = (peer, track.id);
        let voices = self.speakers.keys().filter(|(of, _)| *of == peer).count();
        if track.kind.is_audio() && !self.speakers.contains_key(&key) && voices < MAX_VOICES_PER_PEER {
            self.speakers.insert(key, Speaker::new(track)?);
        }
        Ok(())
    }

    /// A frame is due, now. `false` if it is not of a voice.
    pub fn handle_frame(&mut self, peer: PeerId, frame: &Frame) -> bool {
        let Some(speaker) = self.speakers.get_mut(&(peer, frame.track)) else { return false };
        if let Err(error) = speaker.handle_frame(frame) {
            tracing::debug!(?peer, %error, "a frame of sound does not decode");
            // What is missing is concealed when it is needed.
        }
        true
    }

    /// Frames that were due will not come.
    pub fn handle_lost(&mut self, peer: PeerId, track: TrackId, count: u32) {
        if let Some(speaker) = self.speakers.get_mut(&(peer, track)) {
            speaker.handle_lost(count);
        }
    }

    /// A track has ended.
    pub fn handle_track_ended(&mut self, peer: PeerId, track: TrackId) {
        self.speakers.remove(&(peer, track));
    }

    /// A peer is gone; should it come back, it is as loud as it was.
    pub fn handle_peer_left(&mut self, peer: PeerId) {
        self.speakers.retain(|(of, _), _| *of != peer);
    }

    /// How long this person's voice waits between the jitter buffer and whoever takes the mix, its frames' own length
    /// included; `None` without a voice.
    pub fn delay_of(&self, peer: PeerId) -> Option<Duration> {
        let of_peer = self.speakers.iter().filter(|((of, _), _)| *of == peer);
        of_peer.map(|(_, speaker)| speaker.delay()).max()
    }

    /// How loud a peer is to be from now on.
    pub fn set_volume(&mut self, peer: PeerId, volume: Volume) {
        if volume == Volume::FULL {
            self.volumes.remove(&peer);
        } else if self.volumes.len() < meipo::params::MAX_ROOM_MEMBERS || self.volumes.contains_key(&peer) {
            self.volumes.insert(peer, volume);
        }
    }

    /// The next 10 ms.
    pub fn mix(&mut self) -> Block {
        let mut sum = [0.0; SOUND_BLOCK];
        let mut voice = [0.0; SOUND_BLOCK];
        for ((peer, _), speaker) in &mut self.speakers {
            let volume = self.volumes.get(peer).unwrap_or(&Volume::FULL).0;
            if speaker.take(&mut voice) {
                sum.iter_mut().zip(&voice).for_each(|(sum, sample)| *sum += sample * volume);
            }
        }
        self.limiter.run(&mut sum);
        sum.map(to_i16)
    }

    /// How loud each peer speaks, before its volume; those who are silent are at 0.
    pub fn levels(&self) -> BTreeMap<PeerId, f32> {
        let mut levels = BTreeMap::new();
        for ((peer, _), speaker) in &self.speakers {
            let level: &mut f32 = levels.entry(*peer).or_default();
            *level = level.max(speaker.level());
        }
        levels
    }
}

impl Default for Mixer {
    fn default() -> Self {
        Mixer::new()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the limiter keeps samples within −1 to 1, and the cast saturates")]
fn to_i16(sample: f32) -> i16 {
    (sample * 32_767.0) as i16
}

#[cfg(test)]
mod tests {
    use meipo::media::TrackSource;
    use meipo::units::CaptureTime;

    use super::super::{Microphone, sound_track};
    use super::*;
    use crate::codec::SoundSpan;

    #[test]
    fn everybody_is_heard_at_their_volume() {
        let loudness = |volume: f32| {
            let mut mixer = Mixer::new();
            mixer.set_volume(ALICE, Volume::new(volume).unwrap());
            loudest(&listen(&mut mixer, &[ALICE]))
        };
        let full = loudness(1.0);
        assert!((7000..11_000).contains(&full), "{full}");
        assert_eq!(loudness(0.0), 0);
        assert!((loudness(0.5) - full / 2).abs() < 300);
        assert!((loudness(2.0) - full * 2).abs() < 1200);
    }

    #[test]
    fn a_crowd_that_shouts_does_not_clip() {
        let mut mixer = Mixer::new();
        let crowd: Vec<PeerId> = (0..16).map(|number| PeerId::from_bytes([number; 32])).collect();
        let heard = listen(&mut mixer, &crowd);
        assert!((30_000..=32_000).contains(&loudest(&heard)), "{}", loudest(&heard));
    }

    #[test]
    fn levels_tell_who_speaks_and_end_with_the_peer() {
        let mut mixer = Mixer::new();
        mixer.handle_track(BOB, &sound_track(TrackId(0), TrackSource::Microphone, 0)).unwrap();
        listen(&mut mixer, &[ALICE]);
        let levels = mixer.levels();
        assert!(levels[&ALICE] > 0.5 && levels[&BOB] == 0.0, "{levels:?}");
        mixer.handle_peer_left(ALICE);
        assert!(!mixer.levels().contains_key(&ALICE));
    }

    #[test]
    fn a_peer_with_a_hundred_microphones_gets_a_few_decoders() {
        let mut mixer = Mixer::new();
        for number in 0..100 {
            mixer.handle_track(ALICE, &sound_track(TrackId(number), TrackSource::Microphone, 0)).unwrap();
        }
        assert_eq!(mixer.speakers.len(), MAX_VOICES_PER_PEER);
    }

    #[test]
    fn a_volume_is_between_nothing_and_twice_as_loud() {
        assert!([-0.1, 2.1, f32::NAN, f32::INFINITY].into_iter().all(|factor| Volume::new(factor).is_none()));
    }

    /// A second of these people humming together.
    fn listen(mixer: &mut Mixer, people: &[PeerId]) -> Vec<i16> {
        let track = sound_track(TrackId(0), TrackSource::Microphone, 0);
        people.iter().for_each(|peer| mixer.handle_track(*peer, &track).unwrap());
        let mut microphone = Microphone::new(TrackId(0), SoundSpan::Ms20).unwrap();
        let mut heard = Vec::new();
        for block in 0..100 {
            let captured = CaptureTime::from_micros(block as u64 * 10_000);
            if let Some(frame) = microphone.push(&super::super::hum(block), captured).unwrap() {
                people.iter().for_each(|peer| assert!(mixer.handle_frame(*peer, &frame)));
                heard.extend(mixer.mix());
                heard.extend(mixer.mix());
            }
        }
        heard
    }

    fn loudest(samples: &[i16]) -> i32 {
        samples[24_000..].iter().map(|sample| i32::from(*sample).abs()).max().unwrap()
    }

    const ALICE: PeerId = PeerId::from_bytes([1; 32]);
    const BOB: PeerId = PeerId::from_bytes([2; 32]);
}
