//! Clips made by ffmpeg go through `Source` into `Recorder` and come out with the same packets.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use meipo::media::{Track, TrackKind};
use peer::container::{Recorder, Source};
use proptest::prelude::*;
use tempfile::TempDir;

#[test]
fn h264_with_b_frames_survives_from_matroska() {
    round_trip("clip.mkv", &["-c:v", "libx264", "-bf", "3", "-g", "40", "-c:a", "libopus"], &["avc1.", "opus"], Exact);
}

#[test]
fn h264_with_b_frames_survives_from_mp4() {
    round_trip(
        "clip.mp4",
        &["-c:v", "libx264", "-bf", "3", "-g", "40", "-c:a", "libopus"],
        &["avc1.", "opus"],
        Rounded,
    );
}

#[test]
fn h264_with_b_frames_survives_from_fragmented_mp4() {
    let fragmented =
        ["-c:v", "libx264", "-bf", "2", "-g", "25", "-c:a", "libopus", "-movflags", "frag_keyframe+empty_moov"];
    round_trip("clip.mp4", &fragmented, &["avc1.", "opus"], Rounded);
}

#[test]
fn vp8_survives_from_webm() {
    let vp8 = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"];
    round_trip("clip.webm", &vp8, &["vp8", "opus"], Exact);
}

#[test]
fn vp9_survives_from_webm_and_mp4() {
    let vp9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"];
    round_trip("clip.webm", &vp9, &["vp09.00.", "opus"], Exact);
    round_trip("clip.mp4", &vp9, &["vp09.00.", "opus"], Rounded);
}

#[test]
fn av1_survives_from_matroska_and_mp4() {
    let av1 = ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-c:a", "libopus"];
    if !ffmpeg_lists("libaom-av1") {
        return;
    }
    round_trip("clip.mkv", &av1, &["av01.0.", "opus"], Exact);
    round_trip("clip.mp4", &av1, &["av01.0.", "opus"], Rounded);
}

#[test]
fn pictures_alone_and_sound_alone_survive() {
    round_trip("clip.mkv", &["-c:v", "libx264", "-an"], &["avc1."], Exact);
    round_trip("clip.mkv", &["-vn", "-c:a", "libopus"], &["opus"], Exact);
}

#[test]
fn a_pipe_gives_its_first_frames_while_it_is_still_written() {
    let Some(_) = clip("unused.mkv", &["-c:v", "libx264", "-an"]) else {
        return;
    };
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=20", "-t", "30"]);
    ffmpeg.args([
        "-c:v",
        "libx264",
        "-tune",
        "zerolatency",
        "-g",
        "20",
        "-f",
        "matroska",
        "-live",
        "1",
        "-flush_packets",
        "1",
        "-",
    ]);
    let mut ffmpeg = ffmpeg.stdout(Stdio::piped()).spawn().unwrap();
    let mut source = Source::from_reader(ffmpeg.stdout.take().unwrap()).unwrap();
    let times: Vec<_> = (0..5).map(|_| source.next_frame().unwrap().unwrap().captured.as_micros()).collect();
    assert!(ffmpeg.try_wait().unwrap().is_none(), "ffmpeg has ended; the frames did not come as they were written");
    ffmpeg.kill().unwrap();
    ffmpeg.wait().unwrap();
    assert_eq!(times, [0, 50_000, 100_000, 150_000, 200_000]);
}

#[test]
fn tracks_that_cannot_be_used_are_listed_with_the_reason() {
    let Some((_dir, path)) = clip("clip.mp4", &["-c:v", "libx264", "-c:a", "aac"]) else {
        return;
    };
    let source = Source::open(&path).unwrap();
    assert_eq!(source.tracks().len(), 1);
    let [skipped] = source.skipped() else { panic!("{:?}", source.skipped()) };
    assert!(skipped.reason.contains("Opus"), "{skipped:?}");
}

#[test]
fn a_cut_recording_still_plays() {
    let Some((dir, path)) = clip("clip.mkv", &["-c:v", "libx264", "-bf", "2", "-c:a", "libopus"]) else {
        return;
    };
    let recording = dir.path().join("rec.mkv");
    record(&path, &recording);
    let bytes = std::fs::read(&recording).unwrap();
    let cut = dir.path().join("cut.mkv");
    for share in [5, 7, 9] {
        std::fs::write(&cut, &bytes[..bytes.len() * share / 10]).unwrap();
        let packets = packets(&cut).values().map(Vec::len).sum::<usize>();
        assert!(packets > 20 * share, "{packets} packets in {share} tenths");
        let mut source = Source::open(&cut).unwrap();
        let frames = std::iter::from_fn(|| source.next_frame().unwrap()).count();
        assert!(frames >= packets, "{frames} frames, {packets} packets");
    }
}

#[test]
fn a_recording_says_how_long_it_is_and_has_an_index() {
    let Some((dir, path)) = clip("clip.mkv", &["-c:v", "libx264", "-g", "25", "-c:a", "libopus"]) else {
        return;
    };
    let recording = dir.path().join("rec.mkv");
    record(&path, &recording);
    let shown = run("ffprobe", &["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"], &recording);
    let seconds: f64 = shown.trim().parse().unwrap();
    assert!((seconds - 4.0).abs() < 0.2, "{seconds}");
    let first = ["-v", "error", "-read_intervals", "3%+#1", "-select_streams", "v", "-show_entries", "packet=pts_time"];
    let shown = run("ffprobe", &[&first[..], &["-of", "csv=p=0"]].concat(), &recording);
    let seconds: f64 = shown.trim().trim_end_matches(',').parse().unwrap();
    assert!(seconds > 1.9, "seeking to 3 s lands at {seconds} s");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn damaged_mp4_never_panics(places in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8)) {
        let bytes = small_mp4();
        if bytes.is_empty() {
            return Ok(());
        }
        let mut bytes = bytes.to_vec();
        let index = bytes.windows(4).position(|window| window == b"moov").unwrap();
        for (place, value) in places {
            let len = bytes.len() - index;
            bytes[index + place % len] = value;
        }
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("damaged.mp4");
        std::fs::write(&path, bytes).unwrap();
        if let Ok(mut source) = Source::open(&path) {
            while let Ok(Some(_)) = source.next_frame() {}
        }
    }
}

use Times::{Exact, Rounded};

/// How times may differ between a clip and its recording.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Times {
    /// Not at all: both count milliseconds.
    Exact,
    /// By the rounding to milliseconds.
    Rounded,
}

/// One packet as ffmpeg sees it.
#[derive(Debug)]
struct Packet {
    seconds: f64,
    decoded: f64,
    size: u64,
    hash: String,
}

/// Makes a clip, records it, and compares the packets of both.
fn round_trip(name: &str, codecs: &[&str], expected: &[&str], times: Times) {
    let Some((dir, path)) = clip(name, codecs) else { return };
    let recording = dir.path().join("rec.mkv");
    let tracks = record(&path, &recording);
    assert_eq!(tracks.len(), expected.len());
    for (track, expected) in tracks.iter().zip(expected) {
        assert!(track.codec.starts_with(expected), "{}", track.codec);
        track.check().unwrap();
        if let TrackKind::Video { width, height, millihertz } = track.kind {
            assert_eq!((width, height, millihertz), (160, 120, 25_000));
        }
    }
    let tolerance = if times == Exact { 1e-6 } else { 0.0011 };
    let (before, after) = (packets(&path), packets(&recording));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let start = |packets: &BTreeMap<String, Vec<Packet>>| {
        packets.values().flatten().map(|packet| packet.seconds).fold(f64::MAX, f64::min)
    };
    let shift = start(&after) - start(&before);
    for (stream, before) in &before {
        let after = &after[stream];
        assert_eq!(before.len(), after.len(), "stream {stream}");
        for (before, after) in before.iter().zip(after) {
            assert_eq!((before.size, &before.hash), (after.size, &after.hash), "stream {stream}");
            let moved = after.seconds - before.seconds - shift;
            if times == Exact {
                assert!((after.decoded - before.decoded - shift).abs() <= tolerance, "{before:?} {after:?}");
            }
            assert!(moved.abs() <= tolerance, "stream {stream}: {before:?} {after:?}, shift {shift}");
        }
    }
}

/// Four seconds of test picture and tone, encoded as `codecs` say. `None` where there is no ffmpeg.
fn clip(name: &str, codecs: &[&str]) -> Option<(TempDir, PathBuf)> {
    if !has_ffmpeg() {
        return None;
    }
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(name);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=25"]);
    ffmpeg.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "4"]);
    ffmpeg.args(codecs).args(["-pix_fmt", "yuv420p", "-strict", "-2"]).arg(&path);
    assert!(ffmpeg.status().unwrap().success(), "{ffmpeg:?}");
    Some((dir, path))
}

/// Whether ffmpeg can be run; its absence is reported, and not accepted where tests must be complete.
fn has_ffmpeg() -> bool {
    let found = Command::new("ffmpeg").arg("-version").output().is_ok();
    if !found {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "ffmpeg not found");
        eprintln!("skipped: ffmpeg not found");
    }
    found
}

fn ffmpeg_lists(encoder: &str) -> bool {
    has_ffmpeg() && {
        let listed = Command::new("ffmpeg").args(["-v", "error", "-encoders"]).output().unwrap();
        String::from_utf8_lossy(&listed.stdout).contains(encoder)
    }
}

/// Copies every frame of `from` into a recording.
fn record(from: &Path, to: &Path) -> Vec<Track> {
    let mut source = Source::open(from).unwrap();
    let mut recorder = Recorder::create(to, source.tracks()).unwrap();
    let mut next = vec![0; source.tracks().len()];
    while let Some(frame) = source.next_frame().unwrap() {
        let number = &mut next[usize::from(frame.track.0)];
        assert_eq!(frame.number.0, *number, "frames are numbered without gaps");
        *number += 1;
        recorder.write(&frame).unwrap();
    }
    recorder.finish().unwrap();
    source.tracks().to_vec()
}

/// The packets of each stream, by kind: a clip and its recording may list them in another order.
fn packets(path: &Path) -> BTreeMap<String, Vec<Packet>> {
    let mut packets: BTreeMap<String, Vec<Packet>> = BTreeMap::new();
    for (kind, map) in [("pictures", "0:v?"), ("sound", "0:a?")] {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg
            .args(["-v", "quiet", "-copyts", "-i"])
            .arg(path)
            .args(["-map", map, "-c", "copy", "-f", "framemd5", "-"]);
        let output = ffmpeg.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let base = text.lines().find_map(|line| line.strip_prefix("#tb 0: ")).unwrap_or("1/1");
        let (numerator, denominator) = base.split_once('/').unwrap();
        let tick = numerator.parse::<f64>().unwrap() / denominator.parse::<f64>().unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<_> = line.split(',').map(str::trim).collect();
            packets.entry(kind.to_owned()).or_default().push(Packet {
                seconds: fields[2].parse::<f64>().unwrap() * tick,
                decoded: fields[1].parse::<f64>().unwrap() * tick,
                size: fields[4].parse().unwrap(),
                hash: fields[5].to_owned(),
            });
        }
    }
    packets
}

fn run(program: &str, args: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(args).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A short MP4 file, made once; empty where there is no ffmpeg.
fn small_mp4() -> &'static [u8] {
    static CLIP: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    CLIP.get_or_init(|| {
        let made = clip("clip.mp4", &["-t", "0.5", "-c:v", "libx264", "-bf", "2", "-c:a", "libopus"]);
        made.map_or(Vec::new(), |(_dir, path)| std::fs::read(path).unwrap())
    })
}
