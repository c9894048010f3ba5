//! Writes the test pattern as raw files, so that others can be measured with the same pictures and the same voice:
//! `material FOLDER` makes `pictures.yuv` (640×480, 30 a second, I420) and `voice.wav` (48 kHz, mono, 16 bits).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use hound::{SampleFormat, WavSpec, WavWriter};
use peer::pattern::{TestPicture, TestSound};

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("material FOLDER")?);
    let mut file = BufWriter::new(File::create(folder.join("pictures.yuv"))?);
    let pattern = TestPicture::new(640, 480, HUE);
    for frame in 0..PICTURES {
        file.write_all(pattern.draw(frame, u64::from(frame) * 1_000_000 / RATE).planes())?;
    }
    file.flush()?;
    let spec = WavSpec { channels: 1, sample_rate: 48_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut voice = WavWriter::create(folder.join("voice.wav"), spec)?;
    for sample in TestSound::new(u64::from(HUE), 1).next_samples(SAMPLES) {
        #[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates, which is what is wanted")]
        voice.write_sample((sample * f32::from(i16::MAX)) as i16)?;
    }
    Ok(voice.finalize()?)
}

const HUE: u16 = 200;
const RATE: u64 = 30;
/// Five seconds, to be shown there and back.
const PICTURES: u32 = 150;
/// Half a minute.
const SAMPLES: usize = 30 * 48_000;
