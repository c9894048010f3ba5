//! What a person gets wrong: one sentence says what, where and what to do, and the exit code says that nothing was done.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use meipo::link::{Host, Link};
use meipo::net::identity::Identity;
use meipo::trust::RoomSecret;

#[test]
fn a_link_that_is_none_is_explained_once() {
    let whole = link();
    let (place, _) = whole.split_once('#').unwrap();
    for (link, reason) in [
        ("not a link", "this is no link"),
        (place, "copied whole"),
        (whole.rsplit_once('.').unwrap().0, "the dot is missing"),
        (whole.get(..whole.len() - 3).unwrap(), "the room secret behind the dot is wrong"),
        ("meipo://127.0.0.1:0/tea#a.b", "server id"),
        ("", "a LINK is missing"),
    ] {
        let said = refused(&["watch", link], &[]);
        assert!(said.contains(reason), "{link}: {said}");
        assert_no_echo(&said);
    }
}

#[test]
fn a_file_that_cannot_be_published_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let missing = folder.path().join("missing.mkv").to_str().unwrap().to_owned();
    for (path, reason) in [
        (missing, "No such file"),
        (file("empty.mkv", b""), "is empty"),
        (file("notes.txt", b"dear diary"), "ffmpeg -i"),
        (folder.path().to_str().unwrap().to_owned(), "Is a directory"),
    ] {
        let said = refused(&["publish", &link(), &path], &[]);
        assert!(said.contains(&path) && said.contains(reason), "{said}");
        assert_no_echo(&said);
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_does_not_serve_is_named_with_the_way_out() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, "spoilt").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let inside_a_file = format!("{}/key.pem", key("file", 0o600));
    for (path, reason) in [
        (key("spoilt.pem", 0o600), "restore it"),
        (key("open.pem", 0o644), "chmod 600"),
        (inside_a_file, "name another"),
    ] {
        let said = refused(&["id", "--identity", &path], &[]);
        assert!(said.contains(&path) && said.contains(reason), "{said}");
        assert_no_echo(&said);
    }
}

#[test]
fn a_folder_that_cannot_be_recorded_into_is_refused_before_anything_comes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below"), "/proc".into()] {
        let path = path.to_str().unwrap();
        let said = refused(&["record", &link(), path, "--seconds", "1"], &[]);
        assert!(said.contains(path) && said.contains("give another DIR"), "{said}");
        assert_no_echo(&said);
    }
}

#[test]
fn an_unreachable_rendezvous_is_named_with_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("key.pem");
    let said = refused(&["watch", &link(), "--seconds", "1", "--identity", identity.to_str().unwrap()], &[]);
    assert!(said.contains("127.0.0.1:9") && said.contains("peer doctor"), "{said}");
}

#[test]
fn switches_in_the_environment_are_written_as_people_write_them() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["1", "yes", "true", "0", ""] {
        let output = id(folder.path(), &[], &[("MEIPO_RELAY_ONLY", text), ("MEIPO_NO_TUNNEL", text)]);
        assert!(output.status.success(), "{text:?}: {output:?}");
    }
    assert!(id(folder.path(), &["--direct-only"], &[("MEIPO_RELAY_ONLY", "0")]).status.success());
    let said = String::from_utf8(id(folder.path(), &[], &[("MEIPO_RELAY_ONLY", "maybe")]).stderr).unwrap();
    assert!(said.contains("write 1, yes, true or on"), "{said}");
    let contradiction = id(folder.path(), &["--direct-only"], &[("MEIPO_RELAY_ONLY", "1")]);
    assert_eq!(contradiction.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&contradiction.stderr).contains("MEIPO_RELAY_ONLY"), "{contradiction:?}");
}

#[test]
fn a_filter_that_is_none_is_explained_once() {
    let said = refused(&["id"], &[("RUST_LOG", "a=b=c")]);
    assert!(said.contains("RUST_LOG=debug"), "{said}");
}

#[test]
fn numbers_and_names_out_of_bounds_are_refused_with_the_bounds() {
    let long = "a".repeat(65);
    for (option, value, reason) in [
        ("--seconds", "0", "from 1 to 31536000"),
        ("--seconds", "-1", "from 1 to 31536000"),
        ("--name", "", "must not be empty"),
        ("--name", long.as_str(), "at most 64"),
        ("--name", "a\u{7}b", "must not contain"),
        ("--frobnicate", "1", "unexpected argument"),
    ] {
        let output = run(&["watch", &link(), option, value], &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(reason), "{option} {value}: {said}");
    }
}

/// What the program says when it refuses, on one line.
fn refused(line: &[&str], environment: &[(&str, &str)]) -> String {
    let output = run(line, environment);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line:?}: {said}");
    assert!(said.starts_with("peer: ") && said.lines().count() == 1, "{line:?}: {said}");
    said
}

/// No cause stands in the sentence and behind it once more.
fn assert_no_echo(said: &str) {
    let causes: Vec<&str> = said.trim().split(": ").collect();
    let has_echo = causes.iter().enumerate().any(|(place, cause)| causes.iter().skip(place + 1).any(|c| c == cause));
    assert!(!has_echo, "{said}");
}

fn id(folder: &Path, options: &[&str], environment: &[(&str, &str)]) -> Output {
    let key = folder.join("key.pem");
    run(&[&["id", "--identity", key.to_str().unwrap()], options].concat(), environment)
}

fn run(line: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
    command.env_clear().envs(environment.iter().copied()).args(line).output().unwrap()
}

/// A link to a place where nobody is.
fn link() -> String {
    let id = Identity::generate().unwrap().id();
    Link::new(Host::Ipv4([127, 0, 0, 1].into()), 9, "tea", id, RoomSecret::from_bytes([3; 16])).unwrap().to_string()
}
