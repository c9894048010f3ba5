//! The sound of a call in a terminal: what the devices play and capture on one side, frames of everybody on the other.
//!
//! A machine without devices, threads or clocks. The devices set the pace: whenever the loudspeaker wants a block, everybody
//! is mixed at that moment, so nothing waits between the voices and the device, and a device whose clock runs fast or slow
//! is followed by stretching the voices. The microphone is cleaned of what was played before anything else is done with it.

use meipo::media::{Frame, Track, TrackSource};
use meipo::units::{CaptureTime, TrackId};

use super::canceller::{Canceller, Treatment};
use crate::codec::{CodecError, SoundSpan};
use crate::params::{CAPTURE_CLOCK_GAP, CAPTURE_CLOCK_PULL};
use crate::voice::{Block, FULL_SCALE, Level, Microphone, Mixer, sound_track};

/// What happens between the devices and the room.
#[derive(Debug)]
pub struct Studio {
    mixer: Mixer,
    canceller: Option<Canceller>,
    microphone: Microphone,
    clock: CaptureClock,
    is_muted: bool,
    level: Level,
}

/// The only track there is.
const VOICE: TrackId = TrackId(0);

impl Studio {
    /// Nobody is here, and the microphone is open. Capture times count from `epoch_unix_us`, microseconds since 1970.
    ///
    /// # Errors
    /// When the encoder refuses its settings.
    pub fn new(treatment: Treatment, epoch_unix_us: u64) -> Result<Self, CodecError> {
        Ok(Studio {
            mixer: Mixer::new(),
            canceller: Canceller::new(treatment),
            microphone: Microphone::new(VOICE, SoundSpan::Ms10)?,
            clock: CaptureClock { epoch_unix_us, next: None },
            is_muted: false,
            level: Level::default(),
        })
    }

    /// What the room is told of our voice.
    pub fn track(&self) -> Track {
        sound_track(VOICE, TrackSource::Microphone, self.clock.epoch_unix_us)
    }

    /// The voices.
    pub fn mixer(&mut self) -> &mut Mixer {
        &mut self.mixer
    }

    /// Whether what is said here stays here.
    pub fn set_muted(&mut self, is_muted: bool) {
        self.is_muted = is_muted;
    }

    /// How loud the microphone is, 0 to 1, muted or not: a meter that moves tells who is muted by mistake.
    pub fn level(&self) -> f32 {
        self.level.get()
    }

    /// The loudspeaker plays the next 10 ms.
    pub fn play(&mut self) -> Block {
        let block = self.mixer.mix();
        if let Some(canceller) = &mut self.canceller {
            canceller.hear_played(&block);
        }
        block
    }

    /// The microphone has captured 10 ms, which began at `captured_unix_us`.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn capture(&mut self, block: &Block, captured_unix_us: u64) -> Result<Option<Frame>, CodecError> {
        let captured = self.clock.time_of(captured_unix_us);
        let cleaned = self.canceller.as_mut().map_or(*block, |canceller| canceller.clean(block));
        self.level.hear(&cleaned.map(|sample| f32::from(sample) / FULL_SCALE));
        if self.is_muted {
            return Ok(None);
        }
        self.microphone.push(&cleaned, captured)
    }
}

/// Capture times that are as even as the samples are, though blocks are handed over in twos and threes.
#[derive(Debug)]
struct CaptureClock {
    epoch_unix_us: u64,
    /// When the next block will have been captured if it follows on the last, microseconds since the epoch.
    next: Option<u64>,
}

impl CaptureClock {
    fn time_of(&mut self, captured_unix_us: u64) -> CaptureTime {
        let measured = captured_unix_us.saturating_sub(self.epoch_unix_us);
        let time = match self.next {
            Some(next) if u128::from(next.abs_diff(measured)) <= CAPTURE_CLOCK_GAP.as_micros() => {
                next.saturating_add_signed((measured.cast_signed() - next.cast_signed()) / CAPTURE_CLOCK_PULL)
            }
            // Time never goes back, whatever the system's clock does.
            Some(next) => next.max(measured),
            None => measured,
        };
        self.next = Some(time + SPAN_US);
        CaptureTime::from_micros(time)
    }
}

const SPAN_US: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::SOUND_BLOCK;
    use crate::pattern::TestSound;
    use meipo::units::PeerId;

    const ALICE: PeerId = PeerId::from_bytes([1; 32]);

    #[test]
    fn what_is_said_at_one_end_is_heard_at_the_other() {
        let mut call = [Treatment::Raw; 2].map(|treatment| Studio::new(treatment, 0).unwrap());
        let [speaking, hearing] = &mut call;
        hearing.mixer().handle_track(ALICE, &speaking.track()).unwrap();
        let mut voice = Voice::new(1);
        let (mut said, mut heard) = (0.0, 0.0);
        for number in 0..200 {
            let block = voice.block();
            let frame = speaking.capture(&block, number * 10_000).unwrap().unwrap();
            hearing.mixer().handle_frame(ALICE, &frame);
            (said, heard) = (said + power(&block), heard + power(&hearing.play()));
        }
        assert!((0.5..2.0).contains(&(heard / said)), "{}", heard / said);
        let delay = hearing.mixer().delay_of(ALICE).unwrap();
        assert!(delay.as_millis() <= 40, "{delay:?}");
    }

    #[test]
    fn a_muted_microphone_says_nothing_and_its_meter_moves() {
        let mut studio = Studio::new(Treatment::Raw, 0).unwrap();
        studio.set_muted(true);
        let mut voice = Voice::new(1);
        for number in 0..50 {
            assert_eq!(studio.capture(&voice.block(), number * 10_000).unwrap(), None);
        }
        assert!(studio.level() > 0.3, "{}", studio.level());
        studio.set_muted(false);
        let frame = studio.capture(&voice.block(), 500_000).unwrap().unwrap();
        assert_eq!((frame.number.0, frame.captured.as_micros()), (0, 500_000));
    }

    #[test]
    fn who_hears_through_a_loudspeaker_sends_no_echo() {
        let treated = echo_of(Treatment::Full);
        let untreated = echo_of(Treatment::WithoutEcho);
        let enhancement = 10.0 * (untreated / treated).log10();
        assert!(enhancement >= 20.0, "ERLE {enhancement:.1} dB");
    }

    #[test]
    fn capture_times_are_even_and_follow_the_clock() {
        let mut clock = CaptureClock { epoch_unix_us: 1_000_000, next: None };
        let mut time = |unix: u64| clock.time_of(unix).as_micros();
        assert_eq!(time(2_000_000), 1_000_000);
        // Three at once, then none for a while.
        let uneven = [time(2_001_000), time(2_002_000), time(2_030_000)];
        assert!(
            uneven.iter().zip([1_010_000_u64, 1_020_000, 1_030_000]).all(|(at, due)| at.abs_diff(due) < 1000),
            "{uneven:?}"
        );
        let after_a_pause = time(3_000_000);
        assert_eq!(after_a_pause, 2_000_000);
        assert!(time(1_500_000) >= after_a_pause + SPAN_US, "it never goes back");
    }

    #[test]
    fn a_device_that_runs_fast_is_followed_for_an_hour() {
        let mut clock = CaptureClock { epoch_unix_us: 0, next: None };
        for number in 0..360_000_u64 {
            // 200 ppm: a block is over two microseconds early.
            let unix = 1_000_000 + number * 9_998;
            let error = clock.time_of(unix).as_micros().abs_diff(unix);
            assert!(error < 1000, "{error} µs off at block {number}");
        }
    }

    /// The power of what is sent by somebody who is silent in front of a loudspeaker, once the canceller has had five
    /// seconds to learn the room.
    fn echo_of(treatment: Treatment) -> f64 {
        let mut studio = Studio::new(treatment, 0).unwrap();
        let mut talker = Studio::new(Treatment::Raw, 0).unwrap();
        let mut judge = Studio::new(Treatment::Raw, 0).unwrap();
        studio.mixer().handle_track(ALICE, &talker.track()).unwrap();
        judge.mixer().handle_track(ALICE, &studio.track()).unwrap();
        let mut voice = Voice::new(2);
        let mut room = Room::default();
        let mut echo = 0.0;
        for number in 0..1000 {
            let frame = talker.capture(&voice.block(), number * 10_000).unwrap().unwrap();
            studio.mixer().handle_frame(ALICE, &frame);
            let captured = room.hear(&studio.play());
            let frame = studio.capture(&captured, number * 10_000).unwrap().unwrap();
            judge.mixer().handle_frame(ALICE, &frame);
            let sent = power(&judge.play());
            echo += if number >= 500 { sent } else { 0.0 };
        }
        echo
    }

    /// Half of what is played comes back 60 ms later.
    #[derive(Default)]
    struct Room(std::collections::VecDeque<Block>);

    impl Room {
        fn hear(&mut self, played: &Block) -> Block {
            self.0.push_back(played.map(|sample| sample / 2));
            if self.0.len() > 6 { self.0.pop_front().unwrap() } else { [0; SOUND_BLOCK] }
        }
    }

    struct Voice(TestSound);

    impl Voice {
        fn new(seed: u64) -> Self {
            Voice(TestSound::new(seed, 1))
        }

        #[expect(clippy::cast_possible_truncation, reason = "the sound stays within −1 and 1")]
        fn block(&mut self) -> Block {
            let samples = self.0.next_samples(SOUND_BLOCK);
            std::array::from_fn(|at| (samples[at] * 32_767.0) as i16)
        }
    }

    fn power(block: &Block) -> f64 {
        block.iter().map(|sample| f64::from(*sample).powi(2)).sum()
    }
}
