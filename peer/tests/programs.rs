//! The program as a person runs it: real processes over loopback, a rendezvous in this one.
//!
//! What is waited for are the events a process prints; no test sleeps.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the report")]

mod stage;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use meipo::limits::Limits;
use meipo::net::identity::Identity;
use meipo::params::PLAYOUT_LEAST;
use meipo::units::Bitrate;
use peer::container::Source;
use serde_json::Value;
use tempfile::TempDir;

use stage::{PEER, Room};

#[test]
fn a_test_pattern_is_watched_and_its_age_is_known() {
    let room = Room::open();
    let mut watch = room.peer(&["watch", &room.link, "--json", "--name", "bob"]);
    watch.wait("welcome", |event| event["event"] == "joined");
    let pattern = ["publish", &room.link, "--test-pattern", "320x240@15", "--bitrate", "300k", "--name", "alice"];
    let mut publish = room.peer(&[&pattern[..], &["--json"]].concat());
    watch.wait("alice", |event| event["event"] == "peer-joined" && event["name"] == "alice");
    watch.wait("pictures", |event| event["event"] == "track" && event["kind"] == "video" && event["width"] == 320);
    watch.wait("sound", |event| event["event"] == "track" && event["kind"] == "audio" && event["codec"] == "opus");
    watch.wait("path", |event| event["event"] == "path" && event["kind"] == "direct");
    let stats = watch.wait("latency", |event| event["latency_ms"].is_number() && event["frames"].as_u64() > Some(60));
    let least = PLAYOUT_LEAST.as_secs_f64() * 1000.0;
    assert!((least..1000.0).contains(&stats["latency_ms"].as_f64().unwrap()), "{stats}");
    assert_eq!((&stats["decode_errors"], &stats["undecodable"]), (&0.into(), &0.into()), "{stats}");
    assert!(publish.terminate().success());
    watch.wait("goodbye", |event| event["event"] == "peer-left" && event["reason"] == "left");
    assert!(watch.terminate().success());
}

#[test]
fn on_a_narrow_way_the_pattern_becomes_smaller_and_goes_on() {
    let room = Room::with(Limits { relay_session_rate: Bitrate::from_kilobits(200), ..Limits::default() });
    let mut watch = room.peer(&["watch", &room.link, "--relay-only", "--json", "--name", "bob"]);
    watch.wait("welcome", |event| event["event"] == "joined");
    let pattern = ["publish", &room.link, "--test-pattern", "640x480@30", "--relay-only", "--name", "alice", "--json"];
    let _publish = room.peer(&pattern);
    let is_smaller = |event: &Value| event["event"] == "track" && event["width"].as_u64() <= Some(320);
    watch.wait("whole pictures", |event| event["event"] == "track" && event["width"] == 640);
    watch.wait("smaller pictures", |event| is_smaller(event) && event["kind"] == "video");
    watch.seen.clear();
    let frames = watch.wait("a report", |event| event["event"] == "stats")["frames"].as_u64().unwrap();
    let stats = watch.wait("more", |event| event["frames"].as_u64() > Some(frames + 300));
    assert_eq!(stats["decode_errors"], 0, "{stats}");
}

#[test]
fn a_published_file_is_recorded_bit_for_bit() {
    let Some(clip) = clip("clip.mkv") else { return };
    let room = Room::open();
    let folder = room.folder.path().join("recordings");
    let mut record = room.peer(&["record", &room.link, text(&folder), "--json", "--name", "carol"]);
    record.wait("welcome", |event| event["event"] == "joined");
    let mut publish = room.peer(&["publish", &room.link, text(&clip.file), "--name", "alice", "--json"]);
    let file = record.wait("file", |event| event["event"] == "recording")["file"].clone();
    record.wait("goodbye", |event| event["event"] == "peer-left");
    assert!(publish.ended().success());
    assert!(record.terminate().success());
    let recorded = PathBuf::from(file.as_str().unwrap());
    assert!(recorded.file_name().unwrap().to_str().unwrap().starts_with("alice-"), "{recorded:?}");
    for stream in ["0:v", "0:a"] {
        let (expected, found) = (frames(&clip.file, stream), frames(&recorded, stream));
        assert!(expected.len() > 50, "{} frames of {stream}", expected.len());
        assert_eq!(hashes(&found), hashes(&expected), "{stream}");
        assert_eq!(shifted(&found), shifted(&expected), "{stream}");
    }
}

#[test]
fn a_file_waits_for_as_many_as_it_is_told() {
    let Some(clip) = clip("waiting.mkv") else { return };
    let room = Room::open();
    let line = ["publish", &room.link, text(&clip.file), "--wait-for", "2", "--json"];
    let mut publish = room.peer(&line);
    publish.wait("welcome", |event| event["event"] == "joined");
    let mut first = room.peer(&["watch", &room.link, "--json", "--name", "bob"]);
    publish.wait("bob", |event| event["name"] == "bob");
    let mut second = room.peer(&["watch", &room.link, "--json", "--name", "carol"]);
    for watch in [&mut first, &mut second] {
        watch.wait("end", |event| event["event"] == "peer-left" && event["reason"] == "left");
        let most = watch.seen.iter().filter_map(|event| event["frames"].as_u64()).max();
        assert!(most > Some(100), "{most:?} frames");
    }
    assert!(publish.ended().success());
}

#[test]
fn standard_input_is_published_as_it_comes() {
    let Some(clip) = clip("stdin.mkv") else { return };
    let room = Room::open();
    let mut watch = room.peer(&["watch", &room.link, "--json", "--name", "bob"]);
    watch.wait("welcome", |event| event["event"] == "joined");
    let mut publish = room.peer(&["publish", &room.link, "-", "--name", "alice", "--json"]);
    let bytes = std::fs::read(&clip.file).unwrap();
    let mut input = publish.input.take().unwrap();
    std::thread::spawn(move || input.write_all(&bytes));
    watch.wait("frames", |event| event["frames"].as_u64() > Some(40));
    assert!(publish.ended().success());
    watch.wait("goodbye", |event| event["event"] == "peer-left" && event["reason"] == "left");
}

#[test]
fn a_looped_file_goes_on_without_a_break() {
    let Some(clip) = clip("loop.mkv") else { return };
    let room = Room::open();
    let mut watch = room.peer(&["watch", &room.link, "--json", "--name", "bob"]);
    watch.wait("welcome", |event| event["event"] == "joined");
    let _publish = room.peer(&["publish", &room.link, text(&clip.file), "--loop", "--json"]);
    // One round has 75 pictures and 150 packets of sound.
    let stats = watch.wait("second round", |event| event["frames"].as_u64() > Some(330));
    assert_eq!((&stats["frames_lost"], &stats["decode_errors"]), (&0.into(), &0.into()), "{stats}");
}

#[test]
fn a_killed_recorder_leaves_a_file_that_plays() {
    let room = Room::open();
    let folder = room.folder.path().join("recordings");
    let mut record = room.peer(&["record", &room.link, text(&folder), "--json"]);
    record.wait("welcome", |event| event["event"] == "joined");
    let _publish = room.peer(&["publish", &room.link, "--test-pattern", "320x240@15", "--name", "alice", "--json"]);
    let file = record.wait("file", |event| event["event"] == "recording")["file"].clone();
    // Five seconds of pictures and sound.
    let stats = record.wait("frames", |event| event["frames"].as_u64() > Some(325));
    record.kill();
    let mut source = Source::open(Path::new(file.as_str().unwrap())).unwrap();
    assert_eq!(source.tracks().len(), 2);
    let kept = std::iter::from_fn(|| source.next_frame().unwrap()).count() as u64;
    let lost = stats["frames"].as_u64().unwrap().saturating_sub(kept);
    assert!(lost <= 2 * 65, "{lost} frames are not in the file");
}

#[test]
fn the_demo_shows_everybody_to_everybody() {
    let room = Room::open();
    let mut demo = room.peer(&["demo", "--headless", "--seconds", "6", "--pattern", "160x120@10", "--json"]);
    let pairs = ["alice", "bob", "carol"].map(|at| ["alice", "bob", "carol"].map(|name| (at, name)));
    assert!(demo.ended().success());
    for (at, name) in pairs.into_iter().flatten().filter(|(at, name)| at != name) {
        let is_seen = |event: &Value| event["at"] == at && event["name"] == name && event["frames"].as_u64() > Some(60);
        assert!(demo.seen.iter().any(is_seen), "{at} does not see {name}: {:#?}", demo.seen);
    }
}

#[test]
fn two_programs_of_one_user_meet_without_flags() {
    let room = Room::open();
    let mut first = room.peer(&["watch", &room.link, "--json", "--name", "bob"]);
    first.wait("welcome", |event| event["event"] == "joined");
    let mut second = room.peer(&["watch", &room.link, "--json", "--name", "carol"]);
    second.wait("bob", |event| event["event"] == "peer-joined" && event["name"] == "bob");
    first.wait("carol", |event| event["event"] == "peer-joined" && event["name"] == "carol");
}

#[test]
fn a_closed_pipe_ends_the_program_quietly() {
    let room = Room::open();
    let mut watch = room.peer(&["watch", &room.link, "--json", "--name", "bob"]);
    watch.wait("welcome", |event| event["event"] == "joined");
    let mut head = watch.hang_up();
    let _other = room.peer(&["publish", &room.link, "--test-pattern", "160x120@5", "--json"]);
    assert!(head.wait().unwrap().success());
}

#[test]
fn a_bad_link_is_explained() {
    for (link, reason) in [
        ("https://example.org/tea", "starts with meipo://"),
        ("meipo://example.org/tea", "copied whole"),
        ("tea", "no link"),
    ] {
        let output = Command::new(PEER).args(["watch", link]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("peer: ") && said.contains(reason), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_room_that_is_never_entered_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let link = Room::link_to(9, &Identity::generate().unwrap());
    let mut command = Command::new(PEER);
    let output = command.args(["watch", &link, "--seconds", "1", "--json"]).env("XDG_STATE_HOME", folder.path());
    let output = output.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no answer"), "{output:?}");
}

/// Three seconds of moving pictures and a tone.
struct Clip {
    file: PathBuf,
    _folder: TempDir,
}

/// A clip made by ffmpeg; `None`, with a word about it, where there is no ffmpeg. CI must have it.
fn clip(name: &str) -> Option<Clip> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    let pictures = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=3"];
    let sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=3"];
    let h264 = ["-c:v", "libx264", "-profile:v", "baseline", "-g", "25", "-pix_fmt", "yuv420p", "-b:v", "500k"];
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error"]).args(pictures).args(sound).args(h264).args(["-c:a", "libopus"]).arg(&file);
    match ffmpeg.status() {
        Ok(status) => assert!(status.success(), "{ffmpeg:?}"),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "ffmpeg: {error}");
            eprintln!("skipped: no ffmpeg here ({error})");
            return None;
        }
    }
    Some(Clip { file, _folder: folder })
}

/// The encoded frames of a stream: when each is shown, and its hash.
fn frames(file: &Path, stream: &str) -> Vec<(i64, String)> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(file).args(["-map", stream, "-c", "copy", "-f", "framemd5", "-"]);
    let output = ffmpeg.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let frame = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        (fields[2].parse().unwrap(), fields[5].to_owned())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(frame).collect()
}

fn hashes(frames: &[(i64, String)]) -> Vec<&str> {
    frames.iter().map(|(_, hash)| hash.as_str()).collect()
}

/// Times from the first frame on.
fn shifted(frames: &[(i64, String)]) -> Vec<i64> {
    frames.iter().map(|(time, _)| time - frames[0].0).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
