//! Writes the test pattern as raw files, so that others can be measured with the same pictures and the same voice:
//! `material FOLDER` makes `pictures.yuv` (640×480, 30 a second, I420) and `voice.wav` (48 kHz, mono, 16 bits).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use peer::pattern::{TestPicture, TestSound};

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("material FOLDER")?);
    let mut file = BufWriter::new(File::create(folder.join("pictures.yuv"))?);
    let pattern = TestPicture::new(640, 480, HUE);
    for frame in 0..PICTURES {
        file.write_all(pattern.draw(frame, u64::from(frame) * 1_000_000 / RATE).planes())?;
    }
    file.flush()?;
    let mut file = BufWriter::new(File::create(folder.join("voice.wav"))?);
    let samples = TestSound::new(u64::from(HUE), 1).next_samples(SAMPLES);
    file.write_all(&wav_head(SAMPLES * 2)?)?;
    for sample in samples {
        #[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates, which is what is wanted")]
        let sample = (sample * f32::from(i16::MAX)) as i16;
        file.write_all(&sample.to_le_bytes())?;
    }
    Ok(file.flush()?)
}

/// The head of a WAV file with this many bytes of samples.
fn wav_head(bytes: usize) -> anyhow::Result<Vec<u8>> {
    let bytes = u32::try_from(bytes)?;
    let mut head = b"RIFF".to_vec();
    head.extend((36 + bytes).to_le_bytes());
    head.extend(b"WAVEfmt ");
    head.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    head.extend([1_u16, 1].map(u16::to_le_bytes).concat());
    head.extend([48_000_u32, 96_000].map(u32::to_le_bytes).concat());
    // Bytes and bits of a sample.
    head.extend([2_u16, 16].map(u16::to_le_bytes).concat());
    head.extend(b"data");
    head.extend(bytes.to_le_bytes());
    Ok(head)
}

const HUE: u16 = 200;
const RATE: u64 = 30;
/// Five seconds, to be shown there and back.
const PICTURES: u32 = 150;
/// Half a minute.
const SAMPLES: usize = 30 * 48_000;
