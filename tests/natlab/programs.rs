//! The lab starts, hears and ends programs, and leaves nothing behind.

use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use crate::lab::{Lab, Ns};
use crate::process::Process;
use crate::rules::NatKind;

#[test]
fn a_program_runs_on_its_host_and_its_events_are_heard() {
    let Some(lab) = Lab::new() else { return };
    let client = lab.client(&lab.nat(NatKind::PortRestricted));
    let mut program = shell(&client, "echo noise; ip -j -4 address show dev eth0; echo '{\"event\":\"last\"}'");
    let listing = program.wait_for("address", LIMIT, |event| event.is_array());
    program.wait_for("last event", LIMIT, |event| event["event"] == "last");
    assert_eq!(listing.pointer("/0/addr_info/0/local"), Some(&client.v4.to_string().into()));
    assert_eq!(program.seen().len(), 2);
}

#[test]
fn a_program_that_says_nothing_more_is_not_waited_for() {
    let Some(lab) = Lab::new() else { return };
    let mut program = shell(&lab.public_client(), "echo '{}'");
    assert_eq!(program.collect(LIMIT).len(), 1);
    let failure = catch_unwind(AssertUnwindSafe(|| program.wait_for("miracle", LIMIT, |_| true)));
    let text = failure.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("no miracle") && text.contains("{}"), "{text}");
}

#[test]
fn a_program_is_told_to_end_or_killed() {
    let Some(lab) = Lab::new() else { return };
    let host = lab.public_client();
    let mut polite = shell(&host, "trap 'exit 7' TERM; echo '{}'; while :; do sleep 0.05; done");
    polite.wait_for("start", LIMIT, |_| true);
    assert_eq!(polite.terminate().code(), Some(7));

    let mut stubborn = shell(&host, "trap '' TERM; echo '{}'; while :; do sleep 0.05; done");
    stubborn.wait_for("start", LIMIT, |_| true);
    assert_eq!(stubborn.kill().signal(), Some(9));
}

#[test]
fn a_lab_leaves_nothing_behind_when_a_test_panics() {
    let panic = catch_unwind(|| {
        let Some(lab) = Lab::new() else { return };
        let _client = lab.client(&lab.nat(NatKind::FullCone));
        panic!("as a test would");
    });
    // The same names are taken again: a leftover would be in the way.
    let Some(lab) = Lab::new() else { return };
    assert!(panic.is_err());
    let _client = lab.client(&lab.nat(NatKind::FullCone));
}

fn shell(host: &Ns, script: &str) -> Process {
    host.spawn(Path::new("sh"), &["-c", script])
}

const LIMIT: Duration = Duration::from_secs(5);
