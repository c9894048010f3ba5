//! One voice: frames of one sound track in, blocks of samples out, whenever they are asked for.
//!
//! A frame that is not there when its sound is needed is concealed; sound that came too early or too late for an even
//! stream is made shorter or longer by whole periods of its pitch, so neither clocks that drift nor a stuttering machine
//! click. What such a machine needs is kept for seconds. While frames are being lost, a frame's length more is held back, so
//! that the copy in the frame after a lost one comes in time: it sounds better than anything that is made up. No more than
//! [`VOICE_QUEUE`] ever waits.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use meipo::media::stretch::{lengthen, shorten};
use meipo::media::{Frame, Track};
use meipo::units::FrameNumber;

use super::level::Level;
use super::samples_in;
use crate::codec::{AudioDecoder, CodecError, audio_decoder};
use crate::params::{
    MAX_CONCEALED, SAMPLE_RATE, SOUND_BLOCK, VOICE_FADE, VOICE_LOSS_MEMORY, VOICE_MARGIN, VOICE_MEMORY, VOICE_QUEUE,
    VOICE_REVIEW, VOICE_SLACK,
};

/// One voice.
pub(super) struct Speaker {
    decoder: Box<dyn AudioDecoder>,
    channels: usize,
    queue: VecDeque<f32>,
    state: State,
    last: Option<FrameNumber>,
    /// Frames that did not come and whose sound was not invented yet.
    missing: u32,
    /// Frames whose sound was invented since the last one that came.
    invented: u32,
    slack: Slack,
    /// Frames to come until losses are forgotten.
    wary: u32,
    /// Samples of the newest frame.
    span: usize,
    level: Level,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing is heard until enough is there to go on evenly.
    Waiting,
    /// Sound is given out.
    Playing,
}

/// How much was left after blocks were taken.
#[derive(Clone, Debug, Default)]
struct Slack {
    least: usize,
    blocks: u32,
    /// The least of each of the last reviews, as it is since they were acted upon: a machine that stutters does so only now
    /// and then.
    reviews: VecDeque<usize>,
}

impl Speaker {
    /// # Errors
    /// When the track is no sound that can be decoded.
    pub(super) fn new(track: &Track) -> Result<Self, CodecError> {
        let decoder = audio_decoder(track)?;
        Ok(Speaker {
            channels: usize::from(decoder.channels()),
            decoder,
            queue: VecDeque::new(),
            state: State::Waiting,
            last: None,
            missing: 0,
            invented: 0,
            slack: Slack::default(),
            wary: 0,
            span: 0,
            level: Level::default(),
        })
    }

    /// A frame is due.
    ///
    /// # Errors
    /// When it does not decode.
    pub(super) fn handle_frame(&mut self, frame: &Frame) -> Result<(), CodecError> {
        // After a new connection a frame may come again.
        if self.last.is_some_and(|last| frame.number <= last) {
            return Ok(());
        }
        self.last = Some(frame.number);
        self.wary = self.wary.saturating_sub(1);
        let missing = std::mem::take(&mut self.missing).saturating_sub(std::mem::take(&mut self.invented));
        let missing = missing.min(MAX_CONCEALED);
        for _ in 1..missing {
            let sound = self.decoder.conceal()?;
            self.append(&sound);
        }
        if missing > 0 {
            let sound = self.decoder.decode_fec(&frame.data)?;
            self.append(&sound);
        }
        let sound = self.decoder.decode(&frame.data)?;
        self.span = sound.len() / self.channels;
        self.append(&sound);
        Ok(())
    }

    /// How old a sample is when it is given out: what waits here, and the frame it had to wait for to be complete.
    pub(super) fn delay(&self) -> Duration {
        Duration::from_secs_f64((self.queue.len() + self.span) as f64 / f64::from(SAMPLE_RATE))
    }

    /// Frames that were due will not come.
    pub(super) fn handle_lost(&mut self, count: u32) {
        self.missing = self.missing.saturating_add(count);
        self.wary = VOICE_LOSS_MEMORY;
    }

    /// The next block of this voice; `false` if it is silent.
    pub(super) fn take(&mut self, block: &mut [f32; SOUND_BLOCK]) -> bool {
        block.fill(0.0);
        let is_heard = self.fill(block);
        self.level.hear(block);
        is_heard
    }

    /// How loud it is: 0 for a quiet room, 1 for as loud as can be.
    pub(super) fn level(&self) -> f32 {
        // Below a hundredth nobody sees a difference.
        self.level.get()
    }

    fn fill(&mut self, block: &mut [f32; SOUND_BLOCK]) -> bool {
        if self.state == State::Waiting {
            if self.queue.len() < SOUND_BLOCK + samples_in(VOICE_SLACK.0) {
                return false;
            }
            self.state = State::Playing;
            self.slack = Slack::default();
            self.fade_in();
        }
        while self.queue.len() < SOUND_BLOCK && self.invented < MAX_CONCEALED {
            self.invented += 1;
            let Ok(sound) = self.decoder.conceal() else { break };
            self.enqueue(&mono(&sound, self.channels));
        }
        let count = self.queue.len().min(SOUND_BLOCK);
        for (sample, queued) in block.iter_mut().zip(self.queue.drain(..count)) {
            *sample = queued;
        }
        if count < SOUND_BLOCK {
            self.state = State::Waiting;
            fade_out(block.get_mut(..count).unwrap_or_default());
        }
        self.slack.note(if self.invented > 0 { 0 } else { self.queue.len() });
        count > 0
    }

    /// Takes decoded sound, a little shorter or longer if need be.
    fn append(&mut self, sound: &[f32]) {
        let mono = mono(sound, self.channels);
        let more = if self.wary > 0 { SOUND_BLOCK * 2 } else { 0 };
        let (least, most) = (samples_in(VOICE_SLACK.0), samples_in(VOICE_SLACK.1) + more);
        let settled = self.slack.settled();
        let is_too_much = settled.is_some_and(|settled| settled > most + samples_in(VOICE_MARGIN));
        let is_too_little = settled.is_some_and(|settled| settled < least);
        let stretched = match is_too_much || self.slack.standing().is_some_and(|standing| standing > most) {
            true => shorten(&mono, 1).inspect(|it| self.slack.handle_shorter(it.change)),
            false if is_too_little => lengthen(&mono, 1).inspect(|it| self.slack.handle_longer(it.change)),
            false => None,
        };
        self.enqueue(&stretched.map_or(mono, |stretched| stretched.samples));
        if self.queue.len() > samples_in(VOICE_QUEUE) {
            let stale = self.queue.len() - SOUND_BLOCK * 2 - samples_in(VOICE_SLACK.0);
            self.queue.drain(..stale);
            self.fade_in();
            self.slack = Slack::default();
        }
    }

    fn enqueue(&mut self, samples: &[f32]) {
        self.queue.extend(samples);
    }

    fn fade_in(&mut self) {
        let span = samples_in(VOICE_FADE);
        for (at, sample) in self.queue.iter_mut().take(span).enumerate() {
            *sample *= at as f32 / span as f32;
        }
    }
}

impl Slack {
    fn note(&mut self, left: usize) {
        self.least = if self.blocks == 0 { left } else { self.least.min(left) };
        self.blocks += 1;
        if self.blocks >= VOICE_REVIEW {
            self.blocks = 0;
            self.reviews.push_back(self.least);
            while self.reviews.len() > VOICE_MEMORY {
                self.reviews.pop_front();
            }
        }
    }

    /// What was always left in the last review; `None` before the first is over.
    fn settled(&self) -> Option<usize> {
        self.reviews.back().copied()
    }

    /// What was always left lately; `None` before that is known.
    fn standing(&self) -> Option<usize> {
        self.reviews.iter().min().copied().filter(|_| self.reviews.len() == VOICE_MEMORY)
    }

    fn handle_shorter(&mut self, samples: usize) {
        self.reviews.iter_mut().for_each(|left| *left = left.saturating_sub(samples));
    }

    fn handle_longer(&mut self, samples: usize) {
        self.reviews.iter_mut().for_each(|left| *left += samples);
    }
}

impl fmt::Debug for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Speaker").field("queue", &self.queue.len()).field("state", &self.state).finish_non_exhaustive()
    }
}

/// Everything is heard in the middle.
fn mono(sound: &[f32], channels: usize) -> Vec<f32> {
    match channels {
        1 => sound.to_vec(),
        channels => sound.chunks(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32).collect(),
    }
}

fn fade_out(samples: &mut [f32]) {
    let span = samples_in(VOICE_FADE).min(samples.len());
    for (at, sample) in samples.iter_mut().rev().take(span).enumerate() {
        *sample *= at as f32 / span as f32;
    }
}

#[cfg(test)]
mod tests {
    use meipo::units::{CaptureTime, TrackId};

    use super::super::{Microphone, hum, sound_track};
    use super::*;
    use crate::codec::SoundSpan;

    #[test]
    fn an_even_voice_is_heard_without_a_step_and_hardly_later_than_it_came() {
        let mut call = Call::new();
        let heard = call.run(100, |_| Fate::Comes);
        assert!(steepest(&heard[9600..]) < STEEP, "{}", steepest(&heard[9600..]));
        assert!(call.speaker.queue.len() <= 960, "{}", call.speaker.queue.len());
    }

    #[test]
    fn lost_frames_are_concealed_and_the_voice_goes_on() {
        let mut call = Call::new();
        let heard = call.run(200, |number| if number % 10 == 7 { Fate::Lost } else { Fate::Comes });
        // The first losses come as a surprise; after them there is time for the copies in later packets.
        let is_silent = |block: &&[f32]| block.iter().all(|sample| sample.abs() < 0.1);
        let silent = heard[96_000..].chunks(480).filter(is_silent).count();
        assert_eq!(silent, 0);
        assert!(call.speaker.queue.len() <= samples_in(VOICE_QUEUE), "{}", call.speaker.queue.len());
    }

    #[test]
    fn a_burst_after_a_pause_is_not_played_late() {
        let mut call = Call::new();
        call.run(20, |_| Fate::Comes);
        for number in 20..60 {
            call.frame(number);
        }
        assert!(call.speaker.queue.len() <= samples_in(VOICE_QUEUE), "{}", call.speaker.queue.len());
        call.number = 60;
        call.run(100, |_| Fate::Comes);
        assert!(call.speaker.queue.len() <= 960 + samples_in(VOICE_SLACK.1), "{}", call.speaker.queue.len());
    }

    #[test]
    fn who_stops_sending_falls_silent_within_a_tenth_of_a_second_and_is_heard_again() {
        let mut call = Call::new();
        call.run(50, |_| Fate::Comes);
        let after: Vec<f32> = (0..60).flat_map(|_| call.block()).collect();
        assert!(after[4800 + 960..].iter().all(|sample| *sample == 0.0));
        assert!(call.speaker.level() < 0.2, "{}", call.speaker.level());
        let again = call.run(50, |_| Fate::Comes);
        assert!(again[24_000..].iter().any(|sample| sample.abs() > 0.2));
    }

    #[test]
    fn clocks_that_drift_do_not_click_or_pile_up() {
        let mut call = Call::new();
        call.run(50, |_| Fate::Comes);
        let mut heard = Vec::new();
        for round in 0..1000 {
            // Every 250th frame of 20 ms comes twenty milliseconds too soon, as it would from a fast clock.
            if round % 250 == 249 {
                call.next_frame();
            }
            call.next_frame();
            heard.extend(call.block());
            heard.extend(call.block());
        }
        assert!(steepest(&heard) < STEEP, "{}", steepest(&heard));
        assert!(
            call.speaker.queue.len() <= 960 + samples_in(VOICE_SLACK.1 + VOICE_MARGIN),
            "{}",
            call.speaker.queue.len()
        );
        call.run(300, |_| Fate::Comes);
        assert!(call.speaker.queue.len() <= 960 + samples_in(VOICE_SLACK.1), "{}", call.speaker.queue.len());
    }

    #[test]
    fn a_machine_that_stutters_makes_the_voice_wait_a_little_and_nothing_up() {
        let mut call = Call::new();
        call.run(50, |_| Fate::Comes);
        let mut made_up = 0;
        for round in 0..1000 {
            // Every 1.2 s the frame comes only after both its blocks were wanted.
            let is_late = round % 60 == 59;
            if !is_late {
                call.next_frame();
            }
            call.block();
            call.block();
            if is_late {
                made_up += u32::from(round >= 300 && call.speaker.invented > 0);
                call.next_frame();
            }
        }
        assert_eq!(made_up, 0);
        assert!(
            call.speaker.queue.len() <= 960 + samples_in(VOICE_SLACK.1 + VOICE_MARGIN),
            "{}",
            call.speaker.queue.len()
        );
        call.run(400, |_| Fate::Comes);
        assert!(call.speaker.queue.len() <= 960 + samples_in(VOICE_SLACK.1), "{}", call.speaker.queue.len());
    }

    #[test]
    fn frames_that_come_again_are_not_heard_again() {
        let mut call = Call::new();
        call.run(20, |_| Fate::Comes);
        let waiting = call.speaker.queue.len();
        call.frame(3);
        assert_eq!(call.speaker.queue.len(), waiting);
    }

    enum Fate {
        Comes,
        Lost,
    }

    /// Somebody who hums, and how they are heard.
    struct Call {
        speaker: Speaker,
        microphone: Microphone,
        /// What was said so far.
        frames: Vec<Frame>,
        number: usize,
    }

    impl Call {
        fn new() -> Self {
            let track = sound_track(TrackId(0), meipo::media::TrackSource::Microphone, 0);
            let microphone = Microphone::new(TrackId(0), SoundSpan::Ms20).unwrap();
            Call { speaker: Speaker::new(&track).unwrap(), microphone, frames: Vec::new(), number: 0 }
        }

        fn hum(&mut self) {
            for block in self.frames.len() * 2..self.frames.len() * 2 + 2 {
                let captured = CaptureTime::from_micros(block as u64 * 10_000);
                self.frames.extend(self.microphone.push(&hum(block), captured).unwrap());
            }
        }

        fn frame(&mut self, number: usize) {
            while self.frames.len() <= number {
                self.hum();
            }
            self.speaker.handle_frame(&self.frames[number].clone()).unwrap();
        }

        fn next_frame(&mut self) {
            self.frame(self.number);
            self.number += 1;
        }

        fn block(&mut self) -> [f32; SOUND_BLOCK] {
            let mut block = [0.0; SOUND_BLOCK];
            self.speaker.take(&mut block);
            block
        }

        /// So many frames in step with two blocks each.
        fn run(&mut self, count: usize, fate: impl Fn(usize) -> Fate) -> Vec<f32> {
            let mut heard = Vec::new();
            let mut lost = 0;
            for _ in 0..count {
                match fate(self.number) {
                    Fate::Comes => {
                        if lost > 0 {
                            self.speaker.handle_lost(std::mem::take(&mut lost));
                        }
                        self.next_frame();
                    }
                    Fate::Lost => {
                        lost += 1;
                        self.number += 1;
                    }
                }
                heard.extend(self.block());
                heard.extend(self.block());
            }
            heard
        }
    }

    fn steepest(samples: &[f32]) -> f32 {
        samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }

    /// A tone of 200 Hz at a quarter of full scale rises by 0.0073 from one sample to the next; a click by far more.
    const STEEP: f32 = 0.03;
}
