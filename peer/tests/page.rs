//! The page's end of `peer join`, played by a test: who is let in, what is said, seen and heard.
//!
//! Real processes over loopback with a rendezvous in this one; what is waited for are messages, and no test sleeps.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the report")]

#[path = "stage/page.rs"]
mod page;
#[expect(dead_code, reason = "the other tests of the program use the rest of it")]
mod stage;

use std::time::Duration;

use futures_util::StreamExt;
use meipo::link::Link;
use meipo::trust::host::HostKey;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Error;

use page::{Page, Program, TONE, fetch, media, piece};
use stage::{PATIENCE, Room};

#[tokio::test]
async fn a_wrong_token_is_refused_with_a_sentence() {
    let room = Room::open();
    let program = Program::join(&room, "alice");
    let mut page = Page::connect(&program).await;
    page.say(json!({ "type": "hello", "version": 1, "token": "guess" })).await;
    let refused = page.wait("refusal", |message| message["type"] == "refused").await;
    assert!(refused["message"].as_str().unwrap().contains("peer join"), "{refused}");
    page.closed().await;
}

#[tokio::test]
async fn a_token_is_good_once_and_a_later_page_takes_over_with_what_it_was_exchanged_for() {
    let room = Room::open();
    let program = Program::join(&room, "alice");
    let (mut first, welcome) = Page::open(&program).await;
    assert_eq!(
        (&welcome["room"], &welcome["name"], &welcome["in_call"]),
        (&json!("test"), &json!("alice"), &json!(false))
    );
    assert_eq!(welcome["video"]["keyframe_interval"], Value::Null, "{welcome}");
    let mut second = Page::connect(&program).await;
    second.say(json!({ "type": "hello", "version": 1, "token": program.token() })).await;
    second.wait("refusal", |message| message["type"] == "refused").await;
    let mut third = Page::connect(&program).await;
    third.say(json!({ "type": "hello", "version": 1, "token": welcome["resume"] })).await;
    third.wait("welcome", |message| message["type"] == "welcome").await;
    first.wait("replacement", |message| message["type"] == "replaced").await;
    first.closed().await;
}

#[tokio::test]
async fn a_page_that_lost_its_place_without_hearing_of_it_does_not_snatch_it_back() {
    let room = Room::open();
    let program = Program::join(&room, "alice");
    let (first, welcome) = Page::open_as(&program, program.token(), 1).await;
    drop(first);
    let resume = welcome["resume"].as_str().unwrap();
    let (first, _) = Page::open_as(&program, resume, 1).await;
    let (mut second, _) = Page::open_as(&program, resume, 2).await;
    drop(first);
    let mut again = Page::connect(&program).await;
    again.say(json!({ "type": "hello", "version": 1, "token": resume, "visit": 1 })).await;
    again.wait("replacement", |message| message["type"] == "replaced").await;
    again.closed().await;
    second.say(json!({ "type": "ping", "t": 1 })).await;
    second.wait("pong", |message| message["type"] == "pong").await;
    let (_third, _) = Page::open_as(&program, resume, 3).await;
    second.wait("replacement", |message| message["type"] == "replaced").await;
}

#[tokio::test]
async fn last_words_are_heard_though_the_page_goes_on_speaking() {
    let room = Room::open();
    let program = Program::join(&room, "alice");
    let (mut first, welcome) = Page::open(&program).await;
    let (_second, _) = Page::open_as(&program, welcome["resume"].as_str().unwrap(), 2).await;
    first.wait("replacement", |message| message["type"] == "replaced").await;
    for _ in 0..100 {
        first.bytes(media(2, 0, 1, 0, &[0; 960])).await;
    }
    let mut end = first.socket.next().await;
    while let Some(Ok(_)) = end {
        end = first.socket.next().await;
    }
    assert!(end.is_none(), "{end:?}");
}

#[tokio::test]
async fn other_pages_and_other_names_of_this_machine_get_nothing() {
    let room = Room::open();
    let program = Program::join(&room, "alice");
    let port = program.port();
    let ours = format!("127.0.0.1:{port}");
    for origin in [Some("http://evil.example"), Some("null"), Some("http://127.0.0.1"), None] {
        let error = Page::try_connect(port, &ours, origin).await.err().unwrap();
        let Error::Http(response) = error else { panic!("{origin:?}: {error}") };
        assert_eq!(response.status(), 403, "{origin:?}");
    }
    for host in ["evil.example", "localhost", &format!("localhost:{port}"), "127.0.0.1"] {
        let (status, body) = fetch(port, host, "/").await;
        assert!(status.contains("403") && body.contains(&ours), "{host}: {status} {body}");
        assert!(Page::try_connect(port, host, Some(&format!("http://{ours}"))).await.is_err(), "{host}");
    }
}

#[tokio::test]
async fn the_page_is_served_under_a_strict_policy() {
    let room = Room::open();
    let program = Program::join(&room, "alice");
    let port = program.port();
    let (head, body) = fetch(port, &format!("127.0.0.1:{port}"), "/").await;
    let head = head.to_lowercase();
    assert!(head.starts_with("http/1.1 200") && body.contains("<html"), "{head}");
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
        &format!("connect-src 'self' ws://127.0.0.1:{port};"),
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "permissions-policy: camera=(self), microphone=(self), display-capture=(self)",
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
    assert!(fetch(port, &format!("127.0.0.1:{port}"), "/../Cargo.toml").await.0.contains("404"));
}

#[tokio::test]
async fn nonsense_is_answered_with_an_error_and_changes_nothing() {
    let room = Room::open();
    let program = Program::join(&room, "alice");
    let (mut page, _) = Page::open(&program).await;
    page.say(json!({ "type": "chat", "text": "too early" })).await;
    page.error("enter the room first").await;
    page.enter("alice").await;
    page.text("{".to_owned()).await;
    page.error("not understood").await;
    page.say(json!({ "type": "dance" })).await;
    page.error("dance").await;
    page.say(json!({ "type": "chat", "text": "x".repeat(33_000) })).await;
    page.error("at most").await;
    page.say(json!({ "type": "chat", "text": "x".repeat(4001) })).await;
    page.error("4001 bytes").await;
    page.say(json!({ "type": "volume", "peer": "nobody", "volume": 1 })).await;
    page.error("nobody").await;
    page.say(json!({ "type": "publish", "track": 1, "source": "camera", "codec": "vp8", "width": 0, "height": 9 }))
        .await;
    page.error("picture of 0×9").await;
    for (bytes, complaint) in [
        (vec![1; 15], "header"),
        (vec![9; 20], "kind 9"),
        (vec![2; 20], "sound of 4 bytes"),
        (vec![3; 16], "file of 0 bytes"),
    ] {
        page.bytes(bytes).await;
        page.error(complaint).await;
    }
    page.bytes(media(1, 0, 1, 0, &vec![0; 600_000])).await;
    page.error("picture of 600000 bytes").await;
    page.say(json!({ "type": "ping", "t": 7.5 })).await;
    page.wait("pong", |message| message["type"] == "pong" && message["t"] == 7.5).await;
}

#[tokio::test]
async fn a_message_that_nobody_could_want_ends_the_page_and_not_the_program() {
    let room = Room::open();
    let program = Program::join(&room, "alice");
    let (mut page, welcome) = Page::open(&program).await;
    page.bytes(vec![1; 2_000_000]).await;
    page.closed().await;
    let mut again = Page::connect(&program).await;
    again.say(json!({ "type": "hello", "version": 1, "token": welcome["resume"] })).await;
    again.wait("welcome", |message| message["type"] == "welcome").await;
}

#[tokio::test]
async fn who_leaves_on_the_page_is_gone_at_once() {
    let room = Room::open();
    let (alice, bob) = (Program::join(&room, "alice"), Program::join(&room, "bob"));
    let (mut alices, _) = Page::open(&alice).await;
    let (mut bobs, _) = Page::open(&bob).await;
    alices.enter("alice").await;
    bobs.enter("bob").await;
    alices.wait("bob", |message| message["event"] == "peer-joined").await;
    bobs.say(json!({ "type": "leave" })).await;
    bobs.wait("goodbye", |message| message["type"] == "left").await;
    alices.wait("leaving", |message| message["event"] == "peer-left" && message["reason"] == "left").await;
    assert!(tokio::task::spawn_blocking(move || bob.ended()).await.unwrap());
}

#[tokio::test]
async fn a_program_that_is_told_to_end_says_goodbye_to_the_page_and_to_the_room() {
    let room = Room::open();
    let (alice, mut bob) = (Program::join(&room, "alice"), Program::join(&room, "bob"));
    let (mut alices, _) = Page::open(&alice).await;
    let (mut bobs, _) = Page::open(&bob).await;
    alices.enter("alice").await;
    bobs.enter("bob").await;
    alices.wait("bob", |message| message["event"] == "peer-joined").await;
    bob.terminate();
    bobs.wait("goodbye", |message| message["type"] == "left").await;
    bobs.closed().await;
    alices.wait("leaving", |message| message["event"] == "peer-left" && message["reason"] == "left").await;
    assert!(tokio::task::spawn_blocking(move || bob.ended()).await.unwrap());
}

#[tokio::test]
async fn two_people_hear_see_and_read_each_other_and_a_third_reads_what_was_said() {
    let room = Room::open();
    let (alice, bob) = (Program::join(&room, "alice"), Program::join(&room, "bob"));
    let (mut alices, _) = Page::open(&alice).await;
    let (mut bobs, _) = Page::open(&bob).await;
    alices.enter("Alice A.").await;
    bobs.enter("bob").await;
    let joined = bobs.wait("alice", |message| message["event"] == "peer-joined").await;
    assert_eq!(joined["name"], "Alice A.");
    let id = joined["peer"].clone();

    alices.say(json!({ "type": "state", "muted": false, "camera": true, "hand": false })).await;
    bobs.wait("presence", |message| message["type"] == "state" && message["peer"] == id && message["muted"] == false)
        .await;
    alices.say(json!({ "type": "publish", "track": 1, "source": "camera", "codec": "avc1.42c01e", "width": 320, "height": 240, "rate": 30 })).await;
    alices.say(json!({ "type": "publish", "track": 2, "source": "microphone" })).await;
    let lane = bobs.wait("lane", |message| message["type"] == "lane" && message["peer"] == id).await;
    bobs.wait("sound", |message| message["event"] == "track" && message["kind"] == "audio").await;

    let sent = alices.show_and_speak(60).await;
    let seen = bobs.pictures(lane["lane"].as_u64().unwrap(), sent.len() / 2).await;
    // A busy machine may let some come too late; what comes is what was sent, in order.
    let mut rest = sent.iter();
    assert!(seen.iter().all(|picture| rest.any(|sent| sent == picture)), "{} of {}", seen.len(), sent.len());
    let pitch = bobs.pitch().await;
    assert!((pitch - TONE).abs() < 20.0, "a tone of {TONE} Hz is heard as {pitch}");

    alices.say(json!({ "type": "chat", "text": "tea? \"now\"" })).await;
    let own = alices.wait("own line", |message| message["type"] == "chat").await;
    assert_eq!((&own["peer"], &own["text"]), (&Value::Null, &json!("tea? \"now\"")));
    let line = bobs.wait("line", |message| message["type"] == "chat").await;
    assert_eq!((&line["peer"], &line["name"], &line["id"]), (&id, &json!("Alice A."), &own["id"]));
    alices.say(json!({ "type": "state", "muted": true, "camera": true, "hand": true })).await;
    bobs.wait("hand", |message| message["type"] == "state" && message["hand"] == true && message["muted"] == true)
        .await;

    let carol = Program::join(&room, "carol");
    let (mut carols, _) = Page::open(&carol).await;
    carols.enter("carol").await;
    carols.wait("history", |message| message["type"] == "chat" && message["id"] == own["id"]).await;
    carols.wait("hand", |message| message["type"] == "state" && message["peer"] == id && message["hand"] == true).await;
}

#[tokio::test]
async fn a_page_that_is_loaded_again_is_told_how_the_call_stands() {
    let room = Room::open();
    let (alice, bob) = (Program::join(&room, "alice"), Program::join(&room, "bob"));
    let (mut alices, welcome) = Page::open(&alice).await;
    let (mut bobs, _) = Page::open(&bob).await;
    alices.enter("alice").await;
    bobs.enter("bob").await;
    bobs.say(json!({ "type": "publish", "track": 9, "source": "microphone" })).await;
    alices.wait("track", |message| message["event"] == "track").await;
    alices.say(json!({ "type": "chat", "text": "before" })).await;
    alices.wait("line", |message| message["type"] == "chat").await;
    drop(alices);
    let mut again = Page::connect(&alice).await;
    again.say(json!({ "type": "hello", "version": 1, "token": welcome["resume"] })).await;
    let welcome = again.wait("welcome", |message| message["type"] == "welcome").await;
    assert_eq!(welcome["in_call"], true);
    again.wait("bob", |message| message["event"] == "peer-joined" && message["name"] == "bob").await;
    again.wait("track", |message| message["event"] == "track" && message["source"] == "microphone").await;
    again.wait("line", |message| message["type"] == "chat" && message["text"] == "before").await;
}

#[tokio::test]
async fn a_file_goes_from_page_to_page_bit_for_bit() {
    let room = Room::open();
    let (alice, bob) = (Program::join(&room, "alice"), Program::join(&room, "bob"));
    let (mut alices, _) = Page::open(&alice).await;
    let (mut bobs, _) = Page::open(&bob).await;
    alices.enter("alice").await;
    bobs.enter("bob").await;
    alices.wait("bob", |message| message["event"] == "peer-joined").await;
    let file: Vec<u8> = (0..1_000_003_u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let offer = json!({ "type": "file", "wish": "offer", "file": 7, "name": "../tea.bin", "size": file.len() });
    alices.say(offer).await;
    let offered = bobs.wait("offer", |message| message["news"] == "offered").await;
    assert_eq!((&offered["name"], &offered["size"]), (&json!("tea.bin"), &json!(file.len())));
    let about = |wish: &str| json!({ "type": "file", "wish": wish, "peer": offered["peer"], "id": offered["id"] });
    bobs.say(about("fetch")).await;
    let number = bobs.wait("beginning", |message| message["news"] == "begun").await["number"].as_u64().unwrap();
    let mut got = Vec::new();
    let ends = Instant::now() + PATIENCE;
    while got.len() < file.len() {
        let is_read = |message: &Value| message["news"] == "read";
        while let Some(read) = alices.take(is_read) {
            alices.bytes(piece(&read, &file)).await;
        }
        for block in bobs.media.extract_if(.., |message| message[0] == 3) {
            assert_eq!(u64::from(u32::from_le_bytes(block[4..8].try_into().unwrap())), number);
            assert_eq!(u64::from_le_bytes(block[8..16].try_into().unwrap()), got.len() as u64);
            got.extend_from_slice(&block[16..]);
        }
        let mut taken = about("taken");
        taken["bytes"] = json!(got.len());
        bobs.say(taken).await;
        let moment = Instant::now() + Duration::from_millis(20);
        alices.receive(moment).await;
        bobs.receive(moment).await;
        assert!(Instant::now() < ends, "{} of {} bytes", got.len(), file.len());
    }
    assert!(got == file, "it is another file");
    let size = file.len();
    alices.wait("arrival", |message| message["news"] == "arrived" && message["bytes"] == size).await;
    bobs.say(about("fetch")).await;
    bobs.wait("beginning", |message| message["news"] == "begun").await;
    drop(alices);
    bobs.wait("end", |message| message["news"] == "withdrawn").await;
    bobs.say(about("fetch")).await;
    bobs.error("cannot be had").await;
}

#[tokio::test]
async fn a_host_mutes_locks_and_removes_and_guests_cannot() {
    let mut room = Room::open();
    let key = HostKey::from_bytes([9; 32]);
    let link = room.link.parse::<Link>().unwrap().with_host_key(key.clone());
    room.link = link.to_host_text();
    let alice = Program::join(&room, "alice");
    room.link = link.to_string();
    let (bob, carol) = (Program::join(&room, "bob"), Program::join(&room, "carol"));
    let (mut alices, of_host) = Page::open(&alice).await;
    let (mut bobs, of_guest) = Page::open(&bob).await;
    assert_eq!((&of_host["host"], &of_guest["host"]), (&json!(true), &json!(false)));
    assert_eq!(of_host["invite"], of_guest["invite"], "the host's key is in no invitation");
    alices.enter("alice").await;
    bobs.enter("bob").await;
    let bobs_id = alices.wait("bob", |message| message["event"] == "peer-joined").await["peer"].clone();
    bobs.wait("host", |message| message["event"] == "peer-joined" && message["host"] == true).await;

    alices.say(json!({ "type": "mute-all", "on": true })).await;
    alices.wait("rules", |message| message["event"] == "rules" && message["silenced"] == false).await;
    bobs.wait("rules", |message| message["event"] == "rules" && message["silenced"] == true).await;
    bobs.say(json!({ "type": "mute-all", "on": false })).await;
    bobs.error("only the host").await;
    alices.say(json!({ "type": "remove", "peer": "nobody" })).await;
    alices.error("nobody").await;

    alices.say(json!({ "type": "lock", "on": true })).await;
    bobs.wait("lock", |message| message["event"] == "rules" && message["locked"] == true).await;
    let (mut carols, _) = Page::open(&carol).await;
    carols.say(json!({ "type": "join", "name": "carol" })).await;
    carols.wait("lock", |message| message["type"] == "excluded" && message["why"] == "locked").await;

    alices.say(json!({ "type": "remove", "peer": bobs_id })).await;
    bobs.wait("removal", |message| message["type"] == "excluded" && message["why"] == "removed").await;
    bobs.closed().await;
    alices.wait("removal", |message| message["event"] == "peer-left" && message["reason"] == "removed").await;
    assert!(!tokio::task::spawn_blocking(move || bob.ended()).await.unwrap(), "it says that something went wrong");
}
