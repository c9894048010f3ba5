//! How much pictures that were shown are like what was drawn, by PSNR and SSIM of ffmpeg.
//!
//! Receivers keep about one picture a second with the number and the time of its time code. After the call each is drawn
//! anew from these two and compared, at the size at which it was drawn: a smaller one is scaled up first. The lines of the
//! time code are left out, because not everybody's looks the same.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::programs::{Programs, output_of};

/// A picture that was shown, raw in a file, and what was drawn.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Shown {
    pub(crate) file: PathBuf,
    /// Pixels a line, and lines: as it was received.
    pub(crate) size: (u32, u32),
    pub(crate) frame: u32,
    pub(crate) unix_us: u64,
}

/// The means over some pictures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    /// Peak signal-to-noise ratio over all planes, in decibels.
    pub(crate) psnr_db: f64,
    /// Structural similarity over all planes, 1 for the same picture.
    pub(crate) ssim: f64,
}

impl Shown {
    /// A picture that `peer/examples/support/samples.rs` has kept.
    fn from_file(file: PathBuf) -> Option<Self> {
        let name = file.file_stem()?.to_str()?;
        let [frame, unix_us, size] = name.split('-').collect::<Vec<_>>().try_into().ok()?;
        let (width, height) = size.split_once('x')?;
        let size = (width.parse().ok()?, height.parse().ok()?);
        Some(Shown { size, frame: frame.parse().ok()?, unix_us: unix_us.parse().ok()?, file })
    }
}

impl Quality {
    /// That of these pictures; `None` if there are none.
    pub(crate) fn of(shown: &[Shown], programs: &Programs) -> Result<Option<Self>, String> {
        let mut by_size: BTreeMap<_, Vec<&Shown>> = BTreeMap::new();
        shown.iter().for_each(|picture| by_size.entry(picture.size).or_default().push(picture));
        let (mut psnr, mut ssim) = (Vec::new(), Vec::new());
        for (size, pictures) in by_size {
            let folder = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
            append(&pictures, &folder.path().join("shown.yuv")).map_err(|error| format!("kept pictures: {error}"))?;
            redraw(&pictures, &folder.path().join("drawn.yuv"), programs)?;
            compare(folder.path(), size)?;
            psnr.extend(figures(&folder.path().join("psnr.log"), "psnr_avg:")?);
            ssim.extend(figures(&folder.path().join("ssim.log"), "All:")?);
        }
        if psnr.len() != shown.len() || ssim.len() != shown.len() {
            return Err(format!("ffmpeg compared {} and {} of {} pictures", psnr.len(), ssim.len(), shown.len()));
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok((!shown.is_empty()).then(|| Quality { psnr_db: mean(&psnr), ssim: mean(&ssim) }))
    }
}

/// All pictures in a folder of `peer/examples/support/samples.rs` that were drawn since then, in the order in which they were.
pub(crate) fn kept(folder: &Path, since_unix_us: u64) -> Result<Vec<Shown>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("the kept pictures: {error}"))?;
    let all = entries.filter_map(|entry| Shown::from_file(entry.ok()?.path()));
    let mut shown: Vec<Shown> = all.filter(|shown| shown.unix_us >= since_unix_us).collect();
    shown.sort_by_key(|shown| shown.unix_us);
    Ok(shown)
}

fn append(pictures: &[&Shown], path: &Path) -> io::Result<()> {
    let mut all = File::create(path)?;
    pictures.iter().try_for_each(|picture| io::copy(&mut File::open(&picture.file)?, &mut all).map(drop))
}

fn redraw(pictures: &[&Shown], path: &Path, programs: &Programs) -> Result<(), String> {
    let mut command = Command::new(programs.example("redraw"));
    command.arg(path).args(pictures.iter().map(|picture| format!("{}-{}", picture.frame, picture.unix_us)));
    output_of(&mut command).map(drop)
}

/// Lets ffmpeg write a line for each pair into `psnr.log` and `ssim.log`.
fn compare(folder: &Path, (width, height): (u32, u32)) -> Result<(), String> {
    let mut command = Command::new("ffmpeg");
    command.current_dir(folder).args(["-nostdin", "-v", "error"]);
    for (size, file) in [(format!("{width}x{height}"), "shown.yuv"), (DRAWN.to_owned(), "drawn.yuv")] {
        command.args(["-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", &size, "-i", file]);
    }
    command.args(["-filter_complex", FILTERS, "-f", "null", "-"]);
    output_of(&mut command).map(drop)
}

/// The figure of this name in each line.
fn figures(log: &Path, name: &str) -> Result<Vec<f64>, String> {
    let text = fs::read_to_string(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let figure = |line: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok());
    Ok(text.lines().filter_map(figure).collect())
}

/// The size at which everybody's pictures are drawn.
const DRAWN: &str = "640x480";
/// The topmost 48 lines hold the time code, see `TIME_CODE_ROWS` of the peer.
const FILTERS: &str = "[0]scale=640:480:flags=bicubic,crop=640:432:0:48[shown];[1]crop=640:432:0:48,split[drawn][same];\
                       [shown][drawn]psnr=stats_file=psnr.log[again];[again][same]ssim=stats_file=ssim.log";
