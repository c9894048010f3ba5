//! What the README says of events and of the environment is all there is.

use clap::CommandFactory;
use meipo::units::PeerId;
use peer::args::Args;
use peer::events::{
    Chat, DevicesReport, ErrorReport, Invite, Joined, Line, MicrophoneReport, MouthToEar, PageReport, PathReport,
    PeerJoined, PeerLeft, PresenceReport, Recording, RendezvousLost, Report, RulesReport, Shape, Stats, TrackEnded,
    TrackReport,
};

#[test]
fn every_event_and_every_field_is_in_the_readme() {
    for report in one_of_each() {
        let line = serde_json::to_value(Line { report, at: Some("alice".to_owned()) }).unwrap();
        let object = line.as_object().unwrap();
        let event = object.get("event").unwrap().as_str().unwrap();
        assert!(README.contains(&format!("`{event}`")), "{event}");
        for field in object.keys() {
            assert!(README.contains(&format!("`{field}`")), "{field} of {event}");
        }
    }
}

#[test]
fn every_variable_is_in_the_readme() {
    let command = Args::command();
    let subcommands = command.get_subcommands().flat_map(clap::Command::get_arguments);
    for argument in command.get_arguments().chain(subcommands) {
        let Some(variable) = argument.get_env() else { continue };
        let variable = variable.to_str().unwrap();
        assert!(README.contains(&format!("`{variable}`")), "{variable}");
    }
}

/// One event of each kind, with all its fields.
fn one_of_each() -> Vec<Report> {
    let peer = PeerId::from_bytes([1; 32]);
    let name = || "alice".to_owned();
    let track = |shape| TrackReport { peer, name: name(), track: 0, codec: "opus".to_owned(), source: "file", shape };
    vec![
        Report::Joined(Joined {
            id: peer,
            name: name(),
            room: "tea".to_owned(),
            host: true,
            observed: "[::1]:1".to_owned(),
        }),
        Report::PeerJoined(PeerJoined { peer, name: name(), safety_number: "1".to_owned(), host: false }),
        Report::PeerLeft(PeerLeft { peer, name: name(), reason: "left" }),
        Report::Rules(RulesReport { muted: true, locked: true, removed: vec![peer], silenced: true }),
        Report::Track(track(Shape::Audio { sample_rate: 48_000, channels: 1 })),
        Report::Track(track(Shape::Video { width: 2, height: 2, frame_rate: None })),
        Report::TrackEnded(TrackEnded { peer, name: name(), track: 0 }),
        Report::Path(PathReport { peer, name: name(), kind: "direct", rtt_ms: None, address_family: None }),
        Report::Stats(Stats { peer: Some(peer), ..Stats::default() }),
        Report::Recording(Recording { peer, name: name(), file: "alice.mkv".to_owned() }),
        Report::RendezvousLost(RendezvousLost { reason: "no answer".to_owned(), is_final: false }),
        Report::RendezvousBack,
        Report::Invite(Invite { link: "meipo://".to_owned() }),
        Report::Page(PageReport { url: "http://127.0.0.1:1/#t".to_owned() }),
        Report::Chat(Chat { peer: Some(peer), name: name(), text: "tea?".to_owned(), at: 0 }),
        Report::Presence(PresenceReport { peer, name: name(), muted: true, hand: false }),
        Report::Microphone(MicrophoneReport { muted: true }),
        Report::Devices(DevicesReport { microphone: None, speaker: None }),
        Report::MouthToEar(MouthToEar::default()),
        Report::Error(ErrorReport { message: "bad".to_owned(), peer: Some(peer), name: Some(name()) }),
    ]
}

const README: &str = include_str!("../../README.md");
