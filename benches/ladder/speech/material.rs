//! What is said: sentences of the Harvard lists (IEEE 297), spoken by flite in three voices.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hound::{SampleFormat, WavSpec, WavWriter};
use tempfile::TempDir;

use crate::call::Plan;
use crate::programs::output_of;

/// Speech for a whole measurement, and where in it each judged piece begins.
#[derive(Clone, Debug)]
pub(super) struct Speech {
    samples: Vec<i16>,
    begins: Vec<Duration>,
}

impl Speech {
    /// Speaks as long as the plan says. What is said while a call settles is not judged.
    pub(super) fn make(plan: Plan) -> Result<Self, String> {
        let folder = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
        let count = u32::try_from(plan.span.as_millis() / UTTERANCE.as_millis()).unwrap_or(u32::MAX);
        let begins: Vec<Duration> = (0..count).map(|nth| plan.settle + UTTERANCE * nth).collect();
        let mut speech = Speech { samples: vec![0; samples_in(plan.settle + plan.span)], begins };
        let warm_up = speak(folder.path(), VOICE, WARM_UP)?;
        for turn in (1..).map_while(|nth| plan.settle.checked_sub(TURN * nth)) {
            speech.say(turn, &warm_up)?;
        }
        let pairs = SENTENCES.as_chunks::<2>().0;
        for (nth, begin) in speech.begins.clone().into_iter().enumerate() {
            // After the last pair other voices say the first.
            let voice = VOICES.get((nth + nth / pairs.len()) % VOICES.len()).copied().unwrap_or(VOICE);
            for (at, sentence) in
                [begin, begin + TURN].into_iter().zip(pairs.iter().cycle().nth(nth).into_iter().flatten())
            {
                speech.say(at, &speak(folder.path(), voice, sentence)?)?;
            }
        }
        Ok(speech)
    }

    /// At [`RATE`], one channel.
    pub(super) fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// When each judged piece begins; each is [`UTTERANCE`] long.
    pub(super) fn begins(&self) -> &[Duration] {
        &self.begins
    }

    /// Puts a sentence into a turn that begins at `at`.
    fn say(&mut self, at: Duration, sentence: &[i16]) -> Result<(), String> {
        let turn = self.samples.get_mut(samples_in(at + PAUSE)..samples_in(at + TURN - PAUSE)).unwrap_or_default();
        let place = turn.get_mut(..sentence.len()).ok_or("a sentence is too long for its turn")?;
        place.copy_from_slice(sentence);
        Ok(())
    }
}

/// One sentence, as loud as every other.
fn speak(folder: &Path, voice: &str, sentence: &str) -> Result<Vec<i16>, String> {
    let spoken = folder.join("sentence.wav");
    let mut flite = Command::new("flite");
    flite.args(["-voice", voice, "-t", sentence, "-o"]).arg(&spoken);
    output_of(&mut flite)?;
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(&spoken);
    ffmpeg.args(["-ar", &RATE.to_string(), "-ac", "1", "-f", "s16le", "-"]);
    let mut samples = samples_of(&output_of(&mut ffmpeg)?);
    let power = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len().max(1) as f64;
    let gain = LEVEL / power.sqrt().max(1.0);
    for sample in &mut samples {
        *sample = loudened(*sample, gain);
    }
    Ok(samples)
}

#[expect(clippy::cast_possible_truncation, reason = "it is clamped to what fits")]
fn loudened(sample: i16, gain: f64) -> i16 {
    (f64::from(sample) * gain).clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
}

/// Raw samples as everything here exchanges them.
pub(super) fn samples_of(bytes: &[u8]) -> Vec<i16> {
    bytes.as_chunks::<2>().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect()
}

/// The same samples as bytes.
pub(super) fn bytes_of(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// How many samples a span of time has.
pub(super) fn samples_in(span: Duration) -> usize {
    usize::try_from(span.as_micros() * u128::from(RATE) / 1_000_000).unwrap_or(usize::MAX)
}

/// Writes a file that every player understands: 16 bits, one channel.
pub(super) fn write_wav(path: &Path, samples: &[i16]) -> hound::Result<()> {
    let spec = WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut file = WavWriter::create(path, spec)?;
    samples.iter().try_for_each(|sample| file.write_sample(*sample))?;
    file.finalize()
}

/// Samples in a second.
pub(super) const RATE: u32 = 48_000;
/// What is judged at once: P.862 wants 8 to 12 seconds, with pauses.
pub(super) const UTTERANCE: Duration = Duration::from_secs(8);
/// Each sentence has its turn, half an utterance.
const TURN: Duration = Duration::from_secs(4);
/// Silence before a sentence, and at least after it.
const PAUSE: Duration = Duration::from_millis(400);
/// 26 dB below the loudest there is, as P.830 has it.
const LEVEL: f64 = 32_768.0 * 0.05;

const VOICE: &str = "slt";
const VOICES: [&str; 3] = [VOICE, "rms", "awb"];
const WARM_UP: &str = "The birch canoe slid on the smooth planks.";
const SENTENCES: [&str; 12] = [
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
    "The boy was there when the sun rose.",
    "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.",
];
