//! `peer call` as a person uses it: real programs over loopback, with a real sound server whose loudspeakers are the
//! microphones. What is said at one end comes out of the other.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "stage/sound_server.rs"]
mod sound_server;
#[expect(dead_code, reason = "the other tests of the program use the rest of it")]
mod stage;

use std::io::Write;
use std::process::{Command, Output};

use meipo::link::Link;
use meipo::trust::host::HostKey;
use peer::pattern::find_onset;
use pulseaudio::PlaybackStream;
use tokio::time::Instant;

use sound_server::{Ear, SoundServer};
use stage::{PATIENCE, PEER, Process, Room};

#[test]
fn a_voice_is_heard_and_where_its_delay_comes_from_is_stated() {
    let Some(server) = SoundServer::start(&SINKS) else { return };
    let room = Room::open();
    let mut alice = caller(&room, &server, "alice", &["--raw"]);
    let mut bob = caller(&room, &server, "bob", &["--raw"]);
    alice.wait("bob", |event| event["event"] == "track" && event["source"] == "microphone");
    bob.wait("alice", |event| event["event"] == "track" && event["source"] == "microphone");
    let (mouth, ear) = (server.listen("alice_mouth"), server.listen("bob_ear"));
    let _voice = server.speak("alice_mouth");
    // The voice has begun, and the path is what it will be.
    bob.wait("delay", |event| event["event"] == "mouth-to-ear" && event["jitter_buffer_ms"].as_f64() > Some(0.0));
    // Both are recorded at the same time; what is not taken yet waits.
    let (said, heard) = (onsets(mouth.hear(8 * SECOND)), onsets(ear.hear(8 * SECOND)));
    let delays: Vec<u64> = heard.iter().filter_map(|at| Some(at - said.iter().rfind(|said| *said < at)?)).collect();
    assert!(delays.len() >= 2, "{said:?} {heard:?}");
    let stated = bob.wait("statement", |event| event["event"] == "mouth-to-ear" && event["speaker_ms"].is_number());
    for part in ["codec_ms", "network_ms", "jitter_buffer_ms", "voice_ms", "total_ms"] {
        assert!(stated[part].is_number(), "{part}: {stated}");
    }
    println!("mouth to ear measured in µs: {delays:?}; stated: {stated}");
}

#[test]
fn muted_is_silence_and_what_is_typed_is_read() {
    let Some(server) = SoundServer::start(&SINKS) else { return };
    let room = Room::open();
    let mut bob = caller(&room, &server, "bob", &["--raw"]);
    let mut alice = caller(&room, &server, "alice", &["--raw", "--muted"]);
    bob.wait("muted", |event| event["event"] == "presence" && event["name"] == "alice" && event["muted"] == true);
    let ear = server.listen("bob_ear");
    let _voice = server.speak("alice_mouth");
    assert_eq!(ear.power(SECOND, SECOND), 0.0);
    type_line(&mut alice, "/unmute");
    bob.wait("unmuted", |event| event["event"] == "presence" && event["muted"] == false);
    ear.until_heard();
    type_line(&mut alice, "/mute");
    alice.wait("off", |event| event["event"] == "microphone" && event["muted"] == true);
    bob.wait("bob's view", |event| event["event"] == "presence" && event["muted"] == true);
    assert_eq!(ear.power(2 * SECOND, SECOND), 0.0);
    type_line(&mut alice, "茶? //");
    let line = bob.wait("line", |event| event["event"] == "chat");
    assert_eq!((&line["name"], &line["text"]), (&"alice".into(), &"茶? //".into()));
    type_line(&mut alice, "/leave");
    bob.wait("goodbye", |event| event["event"] == "peer-left" && event["reason"] == "left");
    assert!(alice.ended().success());
}

#[test]
fn a_host_mutes_everyone_and_puts_somebody_out_by_name() {
    let Some(server) = SoundServer::start(&SINKS) else { return };
    let mut room = Room::open();
    let link = room.link.parse::<Link>().unwrap().with_host_key(HostKey::from_bytes([5; 32]));
    room.link = link.to_host_text();
    let mut alice = caller(&room, &server, "alice", &["--raw"]);
    room.link = link.to_string();
    let mut bob = caller(&room, &server, "bob", &["--raw"]);
    bob.wait("alice", |event| event["event"] == "track");
    let ear = server.listen("alice_ear");
    let _voice = server.speak("bob_mouth");
    ear.until_heard();
    type_line(&mut alice, "/muteall");
    bob.wait("rules", |event| event["event"] == "rules" && event["silenced"] == true);
    bob.wait("off", |event| event["event"] == "microphone" && event["muted"] == true);
    alice.wait("silence", |event| event["event"] == "presence" && event["muted"] == true);
    bob.seen.clear();
    type_line(&mut bob, "/unmute");
    type_line(&mut alice, "/unmuteall");
    bob.wait("on", |event| event["event"] == "microphone" && event["muted"] == false);
    assert!(!bob.seen.iter().any(|event| event["event"] == "microphone" && event["muted"] == true));
    server.listen("alice_ear").until_heard();
    type_line(&mut alice, "/remove bob");
    alice.wait("removal", |event| event["event"] == "peer-left" && event["reason"] == "removed");
    assert!(!bob.ended().success());
}

#[test]
fn a_loudspeaker_in_front_of_the_microphone_sends_no_echo_back_and_a_voice_all_the_same() {
    let Some(server) = SoundServer::start(&SINKS) else { return };
    let echo = {
        let pair = NearLoudspeaker::sit(&server, &["--no-echo-cancellation"]);
        pair.ear.until_heard();
        pair.ear.power(1, 4 * SECOND)
    };
    let pair = NearLoudspeaker::sit(&server, &[]);
    let ends = Instant::now() + PATIENCE;
    let enhancement = loop {
        let left = pair.ear.power(1, 2 * SECOND);
        let enhancement = 10.0 * (echo / left.max(f64::MIN_POSITIVE)).log10();
        if enhancement >= 20.0 {
            break enhancement;
        }
        assert!(Instant::now() < ends, "{enhancement:.1} dB: {echo:e} without, {left:e} with cancellation");
    };
    println!("echo return loss enhancement: {enhancement:.1} dB");
    drop(pair.voice);
    let _hers = server.speak("alice_ear");
    pair.ear.until_heard();
}

#[test]
fn a_sound_server_that_comes_back_is_used_again() {
    let Some(server) = SoundServer::start(&SINKS) else { return };
    let room = Room::open();
    let mut bob = caller(&room, &server, "bob", &["--raw"]);
    let mut alice = caller(&room, &server, "alice", &["--raw"]);
    bob.wait("alice", |event| event["event"] == "track");
    server.kill();
    let gone = |event: &serde_json::Value| {
        event["event"] == "error" && event["message"].as_str().unwrap().contains("the sound server is gone")
    };
    alice.wait("loss", gone);
    bob.wait("loss", gone);
    (alice.seen, bob.seen) = (Vec::new(), Vec::new());
    server.run(&SINKS);
    alice.wait("devices", |event| event["event"] == "devices");
    bob.wait("devices", |event| event["event"] == "devices");
    let ear = server.listen("bob_ear");
    let _voice = server.speak("alice_mouth");
    ear.until_heard();
    assert!(bob.seen.iter().all(|event| event["event"] != "peer-left"), "the call went on");
}

#[test]
fn devices_are_listed_and_a_wrong_name_is_answered_with_the_right_ones() {
    let Some(server) = SoundServer::start(&SINKS) else { return };
    let peer = |line: &[&str]| -> Output {
        Command::new(PEER).args(line).env("PULSE_SERVER", server.address()).output().unwrap()
    };
    let listed = peer(&["call", "--list-devices", "--json"]);
    let devices: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(devices["speakers"][1]["name"], "alice_ear", "{devices}");
    assert_eq!(devices["microphones"][0]["name"], "alice_mouth.monitor", "{devices}");
    assert!(devices["speakers"].as_array().unwrap().iter().any(|device| device["default"] == true), "{devices}");
    let text = String::from_utf8(peer(&["call", "--list-devices"]).stdout).unwrap();
    assert!(text.starts_with("microphones:\n") && text.contains("\"bob_ear\""), "{text}");
    let link = Room::link_to(9, &meipo::net::identity::Identity::generate().unwrap());
    let refused = peer(&["call", &link, "--speaker", "nobody's"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && said.contains("no speaker \"nobody's\"") && said.contains("bob_ear"),
        "{said}"
    );
}

#[test]
fn a_machine_without_a_sound_server_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let link = Room::link_to(9, &meipo::net::identity::Identity::generate().unwrap());
    let mut command = Command::new(PEER);
    command.args(["call", &link]).env_remove("PULSE_SERVER").env_remove("PULSE_RUNTIME_PATH");
    let output = command.env("XDG_RUNTIME_DIR", folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("no sound server") && said.contains("PipeWire"), "{said}");
}

/// Bob speaks, and Alice, treated like this, hears him through a loudspeaker that stands before her microphone.
struct NearLoudspeaker {
    /// What Bob hears.
    ear: Ear,
    voice: PlaybackStream,
    _room: Room,
    _people: [Process; 2],
}

impl NearLoudspeaker {
    fn sit(server: &SoundServer, treatment: &[&str]) -> Self {
        let room = Room::open();
        let near = ["--microphone", "alice_ear.monitor", "--speaker", "alice_ear"];
        let mut alice = call(&room, server, "alice", &[&near, treatment].concat());
        let mut bob = caller(&room, server, "bob", &["--raw"]);
        bob.wait("alice", |event| event["event"] == "track");
        alice.wait("bob", |event| event["event"] == "track");
        let (ear, voice) = (server.listen("bob_ear"), server.speak("bob_mouth"));
        server.listen("alice_ear").until_heard();
        NearLoudspeaker { ear, voice, _room: room, _people: [alice, bob] }
    }
}

/// Somebody with a mouth and an ear of their own.
fn caller(room: &Room, server: &SoundServer, name: &str, more: &[&str]) -> Process {
    let (mouth, ear) = (format!("{name}_mouth.monitor"), format!("{name}_ear"));
    call(room, server, name, &[&["--microphone", &mouth, "--speaker", &ear], more].concat())
}

fn call(room: &Room, server: &SoundServer, name: &str, more: &[&str]) -> Process {
    let line = [&["call", &room.link, "--json", "--name", name], more].concat();
    let mut process = room.peer_with(&line, &[("PULSE_SERVER", &server.address())]);
    process.wait("devices", |event| event["event"] == "devices");
    process.wait("welcome", |event| event["event"] == "joined");
    process
}

fn type_line(process: &mut Process, line: &str) {
    writeln!(process.input.as_mut().unwrap(), "{line}").unwrap();
}

/// When the bursts came, in microseconds since 1970.
fn onsets((began, samples): (u64, Vec<f32>)) -> Vec<u64> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = samples.get(from..).and_then(find_onset) {
        found.push(began + (from + at) as u64 * 1000 / 48);
        from += at + SECOND / 2;
    }
    found
}

const SINKS: [&str; 4] = ["alice_mouth", "alice_ear", "bob_mouth", "bob_ear"];

/// Samples in a second.
const SECOND: usize = 48_000;
