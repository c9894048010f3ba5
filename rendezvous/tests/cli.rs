//! The program as a person or a script meets it.

use std::path::Path;
use std::process::{Command, Output};

use clap::CommandFactory;
use meipo::link::Link;
use rendezvous::args::Args;

#[test]
fn an_invitation_prints_the_link_alone() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["invite", "tea", "--public-addr", "rv.example:7000"], &[]);
    let link: Link = text(&output.stdout).trim().parse().unwrap();
    assert_eq!((link.room(), link.port()), ("tea", 7000));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert!(text(&output.stderr).contains("Whoever has this link"));
}

#[test]
fn an_invitation_with_a_host_is_two_links_each_with_a_word_for_whom_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["invite", "tea", "--host", "--public-addr", "rv.example"], &[]);
    let shown = text(&output.stdout);
    let labels: Vec<&str> = shown.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(labels, ["host", "guests"]);
    assert!(text(&output.stderr).contains("keep the host's to yourself"));
}

#[test]
fn an_invitation_for_programs_is_json() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["invite", "--json"], &[("MEIPO_PUBLIC_ADDR", "rv.example")]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(value["link"].as_str().unwrap().parse::<Link>().is_ok());
    assert!(value["guessed_address"].is_null());
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rv.toml");
    std::fs::write(&file, "listen = \"[::]:1\"\nlog_json = true\nno_tunnel = true\n").unwrap();
    let environment =
        [("MEIPO_CONFIG", file.to_str().unwrap()), ("MEIPO_LISTEN", "[::]:2"), ("MEIPO_LOG_JSON", "false")];
    let output = run(folder.path(), &["check-config", "--listen", "[::]:3"], &environment);
    let shown = text(&output.stdout);
    assert!(output.status.success());
    for line in ["listen = \"[::]:3\"", "log_json = false", "no_tunnel = true"] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn a_wrong_configuration_fails_with_its_place_on_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rv.toml");
    std::fs::write(&file, "\nlissten = 1\n").unwrap();
    let output = run(folder.path(), &["check-config", "--config", file.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let error = text(&output.stderr);
    assert!(error.contains("rv.toml") && error.contains("line 2") && error.contains("lissten"), "{error}");
}

#[test]
fn a_key_that_does_not_serve_is_no_reason_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["invite"], &[]);
    let key = folder.path().join("data").join("identity.pem");
    std::fs::write(&key, "spoilt").unwrap();
    let output = run(folder.path(), &["invite"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("identity.pem"));
    assert_eq!(std::fs::read_to_string(&key).unwrap(), "spoilt");
}

#[test]
fn switches_in_the_environment_are_written_as_people_write_them() {
    let folder = tempfile::tempdir().unwrap();
    for (value, shown) in [("1", "no_tunnel = true"), ("yes", "no_tunnel = true"), ("off", "no_tunnel = false")] {
        let output = run(folder.path(), &["check-config"], &[("MEIPO_NO_TUNNEL", value)]);
        assert!(text(&output.stdout).contains(shown), "{output:?}");
    }
    let output = run(folder.path(), &["check-config"], &[("MEIPO_NO_TUNNEL", "maybe")]);
    assert!(text(&output.stderr).contains("write 1, yes, true or on"), "{output:?}");
}

#[test]
fn an_address_that_is_taken_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(folder.path(), &["--listen", &address], &[]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains(&address) && error.contains("--listen gives another"), "{error}");
}

#[test]
fn a_log_filter_that_is_none_is_explained_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--listen", "127.0.0.1:0"], &[("RUST_LOG", "a=b=c")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).lines().count(), 1);
    assert!(text(&output.stderr).contains("RUST_LOG=debug"), "{output:?}");
}

#[cfg(unix)]
#[test]
fn a_relay_alone_runs_until_it_is_told_to_stop() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("relay.key");
    let mut relay = Command::new(env!("CARGO_BIN_EXE_rendezvous"))
        .args(["relay", "--listen", "127.0.0.1:0", "--key-file", key.to_str().unwrap()])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(relay.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("relay runs"), "{line}");
    Command::new("kill").arg(relay.id().to_string()).status().unwrap();
    assert!(relay.wait().unwrap().success());
    assert!(key.exists());
}

#[test]
fn the_readme_s_configuration_works_and_its_variables_are_all() {
    let readme = include_str!("../../README.md");
    let (_, example) = readme.split_once("```toml\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rendezvous.toml");
    std::fs::write(&file, example.split_once("```").unwrap().0).unwrap();
    let output = run(folder.path(), &["check-config", "--config", file.to_str().unwrap()], &[]);
    assert!(output.status.success(), "{output:?}");
    let command = Args::command();
    let subcommands = command.get_subcommands().flat_map(clap::Command::get_arguments);
    for variable in command.get_arguments().chain(subcommands).filter_map(clap::Arg::get_env) {
        assert!(readme.contains(&format!("`{}`", variable.to_str().unwrap())), "{variable:?}");
    }
}

/// Runs the program with its data in `folder` and no environment of ours but `environment`.
fn run(folder: &Path, line: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rendezvous"));
    command.env_clear().env("MEIPO_DATA_DIR", folder.join("data"));
    command.envs(environment.iter().copied());
    command.args(line).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program prints text")
}
