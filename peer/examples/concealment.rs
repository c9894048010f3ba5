//! How well lost sound is made up: `concealment SPEECH.wav FOLDER` encodes speech, loses packets, and writes what each
//! decoder makes of the rest. `benches/ladder/speech/concealment.py` makes the speech and judges.
//!
//! For each recording one line of JSON goes to standard output. The same packets are lost for every decoder.
#![expect(clippy::disallowed_types, reason = "a program has a clock")]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use meipo::units::Bitrate;
use peer::codec::{AudioEncoder, AudioSettings, CodecError, OPUS_LOOKAHEAD, OpusEncoder, SoundSpan};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (speech, folder) = arguments.next().zip(arguments.next()).context("concealment SPEECH.wav FOLDER")?;
    let speech: Vec<i16> = WavReader::open(speech)?.into_samples().collect::<Result<_, _>>()?;
    for kilobits in [32, 24] {
        let (packets, encode) = encode(&speech, Bitrate::from_kilobits(kilobits))?;
        for (losses, lose) in LOSSES {
            for seed in 0..SEEDS {
                let lost = lose.lost(packets.len(), seed);
                for (name, decoder) in decoders()? {
                    let wav = format!("{kilobits}-{losses}-{name}-{seed}.wav").replace([' ', '%'], "_");
                    let heard = listen(decoder, &packets, &lost)?;
                    write(&Path::new(&folder).join(&wav), &heard.samples)?;
                    let line = serde_json::json!({
                        "kilobits": kilobits, "losses": losses, "decoder": name, "wav": wav, "encode_us": micros(&encode),
                        "decode_us": micros(&heard.decode), "conceal_us": micros(&heard.conceal),
                        "lost": lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64,
                    });
                    println!("{line}");
                }
            }
        }
    }
    Ok(())
}

/// Packets, and how long each took.
fn encode(speech: &[i16], bitrate: Bitrate) -> Result<(Vec<Bytes>, Vec<Duration>), CodecError> {
    let settings = AudioSettings { channels: 1, span: SoundSpan::Ms20, bitrate, expected_loss: 0 };
    let mut encoder = OpusEncoder::new(&settings)?;
    let spans = speech.as_chunks::<SPAN>().0.iter();
    let timed = spans.map(|span| {
        let span = span.map(|sample| f32::from(sample) / 32_768.0);
        let began = Instant::now();
        Ok((encoder.encode(&span)?, began.elapsed()))
    });
    Ok(timed.collect::<Result<Vec<_>, CodecError>>()?.into_iter().unzip())
}

/// Decodes a packet; an empty one is concealed.
type Decode = Box<dyn FnMut(&[u8]) -> anyhow::Result<Vec<f32>>>;

/// All that are compiled in.
fn decoders() -> anyhow::Result<Vec<(&'static str, Decode)>> {
    let mut ropus = ropus::Decoder::new(48_000, ropus::Channels::Mono)?;
    let ropus: Decode = Box::new(move |packet| {
        let mut samples = vec![0.0; SPAN];
        ropus.decode_float(packet, &mut samples, ropus::DecodeMode::Normal)?;
        Ok(samples)
    });
    let all = [("ropus", ropus)].into_iter();
    #[cfg(feature = "libopus")]
    let all = all.chain([("libopus", libopus(0)?), ("libopus, deep", libopus(peer::params::OPUS_CONCEALMENT)?)]);
    Ok(all.collect())
}

#[cfg(feature = "libopus")]
fn libopus(complexity: u8) -> anyhow::Result<Decode> {
    let failed = |error: opusic_c::ErrorCode| anyhow::anyhow!(error.message());
    let decoder = opusic_c::Decoder::new(opusic_c::Channels::Mono, opusic_c::SampleRate::Hz48000);
    let mut decoder = decoder.map_err(failed)?;
    decoder.set_complexity(complexity).map_err(failed)?;
    Ok(Box::new(move |packet| {
        let mut samples = vec![0.0; SPAN];
        decoder.decode_float_to_slice(packet, &mut samples, false).map_err(failed)?;
        Ok(samples)
    }))
}

/// What came out, and how long each span took.
#[derive(Default)]
struct Heard {
    samples: Vec<f32>,
    decode: Vec<Duration>,
    conceal: Vec<Duration>,
}

/// Plays on as `voice::Speaker` does: what is missing is concealed for a while, then there is silence.
fn listen(mut decode: Decode, packets: &[Bytes], lost: &[bool]) -> anyhow::Result<Heard> {
    let mut heard = Heard::default();
    let mut run = 0;
    for (packet, is_lost) in packets.iter().zip(lost) {
        run = if *is_lost { run + 1 } else { 0 };
        let began = Instant::now();
        let sound = match run {
            0 => decode(packet)?,
            1..=peer::params::MAX_CONCEALED => decode(&[])?,
            _ => vec![0.0; SPAN],
        };
        if run == 0 { &mut heard.decode } else { &mut heard.conceal }.push(began.elapsed());
        heard.samples.extend(sound);
    }
    Ok(heard)
}

/// How packets are lost.
#[derive(Clone, Copy)]
struct Lose {
    share: f64,
    /// The shortest and the longest run.
    run: (u32, u32),
}

impl Lose {
    fn lost(self, count: usize, seed: u64) -> Vec<bool> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (least, most) = self.run;
        let mean = f64::from(least + most) / 2.0;
        // A run begins with this probability wherever none is.
        let begins = self.share / (mean * (1.0 - self.share) + self.share);
        let mut lost = Vec::with_capacity(count + most as usize);
        while lost.len() < count {
            if f64::from(random.next_u32()) < begins * f64::from(u32::MAX) {
                let run = least + random.next_u32() % (most - least + 1);
                lost.extend((0..run).map(|_| true));
            } else {
                lost.push(false);
            }
        }
        lost.truncate(count);
        lost
    }
}

fn write(path: &Path, samples: &[f32]) -> hound::Result<()> {
    let spec = WavSpec { channels: 1, sample_rate: 48_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut file = WavWriter::create(path, spec)?;
    for sample in samples.iter().skip(OPUS_LOOKAHEAD.into()) {
        #[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates, which is what is wanted")]
        file.write_sample((sample * 32_768.0) as i16)?;
    }
    file.finalize()
}

/// The median, in microseconds: another program that gets in between does not matter.
fn micros(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// Samples in a packet's span.
const SPAN: usize = 960;
/// Each has other losses of the same kind.
const SEEDS: u64 = 2;
/// What is lost of plain packets, and what stays lost in runs after copies have made good the rest.
const LOSSES: [(&str, Lose); 5] = [
    ("none", Lose { share: 0.0, run: (1, 1) }),
    ("1 % in runs of 2-6", Lose { share: 0.01, run: (2, 6) }),
    ("5 % in runs of 2-6", Lose { share: 0.05, run: (2, 6) }),
    ("10 %", Lose { share: 0.1, run: (1, 1) }),
    ("10 % in bursts of 5", Lose { share: 0.1, run: (5, 5) }),
];
