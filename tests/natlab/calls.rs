//! Whole calls between real NATs: `peer` and `rendezvous` as a person starts them.
//!
//! Media flows behind every pair of NATs; it goes directly exactly where it can.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{Lab, NatBox, Ns, skip};
use crate::process::Process;
use crate::rules::{NatKind, Rules};

#[test]
fn media_flows_behind_every_pair_of_nats_and_directly_where_it_can() {
    let kinds = [
        (NatKind::FullCone, Class::Open),
        (NatKind::AddressRestricted, Class::Open),
        (NatKind::PortRestricted, Class::Restricted),
        (NatKind::SymmetricRandom, Class::Symmetric),
    ];
    let mut wrong = Vec::new();
    for (left, left_class) in kinds {
        for (right, right_class) in kinds {
            let Some(lab) = ready() else { return };
            let mut call = Call::between(&lab, left, right);
            let expected = kind_between(left_class, right_class);
            let frames = call.watch.frames(Duration::from_secs(10));
            let kind = call.watch.settles_on(expected, BIRTHDAY_LIMIT);
            if frames == 0 || kind != expected {
                wrong.push(format!("{left:?} × {right:?}: {frames} frames, {kind}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn port_prediction_opens_a_sequential_nat_to_a_port_restricted_one() {
    let Some(lab) = ready() else { return };
    let mut call = Call::between(&lab, NatKind::SymmetricSequential, NatKind::PortRestricted);
    call.watch.wait_for_path("direct", BIRTHDAY_LIMIT);
}

#[test]
fn a_double_nat_is_opened() {
    let Some(lab) = ready() else { return };
    let carrier = lab.carrier(NatKind::PortRestricted);
    let home = lab.nat_behind(&carrier, NatKind::PortRestricted);
    let (left, right) = (lab.client(&home), lab.client(&lab.nat(NatKind::PortRestricted)));
    let mut call = Call::start(&lab, &left, &right, &[]);
    call.watch.wait_for_path("direct", DIRECT_LIMIT);
}

#[test]
fn blocked_udp_is_tunnelled() {
    let Some(lab) = ready() else { return };
    let mut call = Call::between(&lab, NatKind::UdpBlocked, NatKind::PortRestricted);
    // It is alice whom nothing but TCP leaves; bob hears her from the relay by UDP.
    let is_tunnelled = |event: &Value| is_event("path")(event) && event["kind"] == "tunnelled";
    call.publish.wait_for("tunnelled path", DIRECT_LIMIT, is_tunnelled);
    call.watch.wait_for_path("relayed", DIRECT_LIMIT);
    assert!(call.watch.frames(Duration::from_secs(10)) > 0, "{}", call.watch.story());
}

#[test]
fn two_firewalls_of_ipv6_are_opened_over_ipv6() {
    let Some(lab) = ready() else { return };
    let kinds = [NatKind::SymmetricRandom, NatKind::SymmetricRandom];
    let [left, right] = kinds.map(|kind| lab.client(&lab.nat(kind)));
    let mut call = Call::start(&lab, &left, &right, &[]);
    let path = call.watch.wait_for_path("direct", DIRECT_LIMIT);
    assert_eq!(path.get("address_family"), Some(&Value::from("ipv6")), "{path}");
}

#[test]
fn the_switch_from_the_relay_to_a_direct_path_loses_no_frame() {
    let Some(lab) = ready() else { return };
    // Ports must be guessed first, so the call begins on the relay.
    let mut call = Call::between(&lab, NatKind::SymmetricRandom, NatKind::PortRestricted);
    call.watch.wait_for_path("direct", BIRTHDAY_LIMIT);
    call.watch.process.collect(Duration::from_secs(5));
    let kinds = call.watch.path_kinds();
    assert!(kinds.contains(&"relayed".to_owned()), "{kinds:?}\n{}", call.watch.story());
    assert!(call.watch.latest("frames") > 0, "{}", call.watch.story());
    assert_eq!(call.watch.latest("frames_lost"), 0, "{}", call.watch.story());
}

#[test]
fn a_box_that_forgets_makes_a_gap_of_a_second_at_most() {
    for act in [Lab::flush as fn(&Lab, &NatBox), Lab::rebind] {
        let Some(lab) = ready() else { return };
        let nat = lab.nat(NatKind::PortRestricted);
        let (left, right) = (lab.client(&nat), lab.client(&lab.nat(NatKind::PortRestricted)));
        let mut call = Call::start(&lab, &left, &right, &[]);
        call.watch.wait_for_path("direct", DIRECT_LIMIT);
        let before = call.watch.latest("frames");
        act(&lab, &nat);
        call.watch.process.collect(Duration::from_secs(8));
        let (after, gap) = (call.watch.latest("frames"), call.watch.largest("longest_gap_ms"));
        assert!(after >= before + 60, "{before} to {after} frames\n{}", call.watch.story());
        assert!(gap <= 1000, "a gap of {gap} ms\n{}", call.watch.story());
    }
}

#[test]
fn a_narrow_way_still_carries_the_call() {
    let Some(lab) = ready() else { return };
    let nat = lab.nat(NatKind::PortRestricted);
    let mut rules = Rules::new(NatKind::PortRestricted);
    rules.mtu = Some(1300);
    lab.apply(&nat, rules);
    let (left, right) = (lab.client(&nat), lab.client(&lab.nat(NatKind::PortRestricted)));
    let mut call = Call::start(&lab, &left, &right, &[]);
    call.watch.wait_for_path("direct", DIRECT_LIMIT);
    assert!(call.watch.frames(Duration::from_secs(10)) > 0, "{}", call.watch.story());
}

#[test]
fn relay_only_sends_no_packet_between_the_callers() {
    let Some(lab) = ready() else { return };
    let [left_box, right_box] = [(); 2].map(|()| lab.nat(NatKind::FullCone));
    let (left, right) = (lab.client(&left_box), lab.client(&right_box));
    left.count_udp_with(&addresses(&right_box, &right));
    right.count_udp_with(&addresses(&left_box, &left));
    let mut call = Call::start(&lab, &left, &right, &["--relay-only"]);
    let frames = call.watch.frames(Duration::from_secs(10));
    call.watch.process.collect(Duration::from_secs(5));
    assert!(frames > 0, "{}", call.watch.story());
    assert_eq!(call.watch.path_kinds(), ["relayed"], "{}", call.watch.story());
    assert_eq!((left.udp_counted(), right.udp_counted()), (0, 0));
}

#[test]
fn the_doctor_names_each_nat() {
    let Some(lab) = ready() else { return };
    let rendezvous = Rendezvous::start(&lab);
    let (independent, address, both) = ("endpoint-independent", "address-dependent", "address-and-port-dependent");
    let mut wrong = Vec::new();
    for (kind, mapping, filtering) in [
        (NatKind::FullCone, independent, independent),
        (NatKind::AddressRestricted, independent, address),
        (NatKind::PortRestricted, independent, both),
        (NatKind::PortChanged, independent, both),
        (NatKind::SymmetricByAddress, address, both),
        (NatKind::SymmetricRandom, both, both),
    ] {
        let client = lab.client(&lab.nat(kind));
        let mut doctor = client.spawn(&program("peer"), &["doctor", &rendezvous.link, "--json"]);
        let is_finding = |event: &Value| event.get("mapping").is_some();
        let found = doctor.wait_for("finding", Duration::from_secs(20), is_finding);
        let words = [&found["mapping"], &found["filtering"]];
        if words != [&Value::from(mapping), &Value::from(filtering)] {
            wrong.push(format!("{kind:?}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_rendezvous_that_dies_and_returns_costs_no_media() {
    let Some(lab) = ready() else { return };
    let mut call = Call::between(&lab, NatKind::PortRestricted, NatKind::PortRestricted);
    call.watch.wait_for_path("direct", DIRECT_LIMIT);
    call.rendezvous.process.kill();
    call.watch.process.collect(Duration::from_secs(3));
    call.rendezvous.restart();
    call.watch.process.collect(Duration::from_secs(5));
    assert_eq!(call.watch.latest("frames_lost"), 0, "{}", call.watch.story());
    let gap = call.watch.largest("longest_gap_ms");
    assert!(gap <= 1000, "a gap of {gap} ms\n{}", call.watch.story());
    assert!(call.rendezvous.process.terminate().success());
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Class {
    Open,
    Restricted,
    Symmetric,
}

/// Birthday probing opens one symmetric side; nothing opens two.
fn kind_between(left: Class, right: Class) -> &'static str {
    match (left, right) {
        (Class::Symmetric, Class::Symmetric) => "relayed",
        (Class::Open | Class::Restricted, _) | (_, Class::Open | Class::Restricted) => "direct",
    }
}

/// A rendezvous, a publisher called alice and a watcher called bob.
struct Call {
    watch: Watcher,
    publish: Process,
    rendezvous: Rendezvous,
}

impl Call {
    fn between(lab: &Lab, left: NatKind, right: NatKind) -> Self {
        // IPv6 would open what IPv4 cannot; the pair of NATs is what is asked about.
        let [left, right] = [left, right].map(|kind| lab.client(&lab.nat(kind)).without_v6());
        Call::start(lab, &left, &right, &[])
    }

    fn start(lab: &Lab, left: &Ns, right: &Ns, options: &[&str]) -> Self {
        let rendezvous = Rendezvous::start(lab);
        let peer = program("peer");
        let identity = rendezvous.folder.path().join("alice");
        let identity = identity.to_str().expect("a path in UTF-8");
        let link = rendezvous.link.as_str();
        let publish = ["publish", link, "--test-pattern", "320x240@15", "--bitrate", "200k", "--name", "alice"];
        let more = ["--json", "--seconds", "300", "--identity", identity];
        let mut publish = left.spawn(&peer, &[&publish, &more[..], options].concat());
        publish.wait_for("joined", Duration::from_secs(10), is_event("joined"));
        let watch = right.spawn(&peer, &[&["watch", link, "--json", "--name", "bob"], options].concat());
        Call { watch: Watcher { process: watch }, publish, rendezvous }
    }
}

/// What bob prints.
struct Watcher {
    process: Process,
}

impl Watcher {
    fn wait_for_path(&mut self, kind: &str, limit: Duration) -> Value {
        let is_path = |event: &Value| is_event("path")(event) && event.get("kind") == Some(&Value::from(kind));
        self.process.wait_for(&format!("{kind} path"), limit, is_path)
    }

    /// The kind of path in use once it is `expected`, or after `limit`; a relayed one must last.
    fn settles_on(&mut self, expected: &str, limit: Duration) -> String {
        let current = self.path_kinds().pop();
        if current.as_deref() != Some(expected) && expected == "direct" {
            self.process.look_for(limit, |event| is_event("path")(event) && event["kind"] == "direct");
        } else if expected == "relayed" {
            self.process.collect(limit);
        }
        self.path_kinds().pop().unwrap_or_default()
    }

    /// How many frames have come, as soon as there is one.
    fn frames(&mut self, limit: Duration) -> u64 {
        if self.latest("frames") == 0 {
            self.process.look_for(limit, |event| number(event, "frames") > Some(0));
        }
        self.latest("frames")
    }

    /// All kinds of path so far, in their order.
    fn path_kinds(&self) -> Vec<String> {
        let paths = self.process.seen().iter().filter(|event| is_event("path")(event));
        let kinds = paths.filter_map(|event| event.get("kind")?.as_str());
        kinds.map(str::to_owned).collect()
    }

    /// The number of this name in the newest event that has it; 0 before.
    fn latest(&self, name: &str) -> u64 {
        let mut found = self.process.seen().iter().rev();
        found.find_map(|event| number(event, name)).unwrap_or(0)
    }

    /// The largest number of this name in any event; panics when none has it.
    fn largest(&self, name: &str) -> u64 {
        let found = self.process.seen().iter().filter_map(|event| number(event, name));
        found.max().unwrap_or_else(|| panic!("no {name}\n{}", self.story()))
    }

    fn story(&self) -> String {
        self.process.story()
    }
}

/// The rendezvous at 198.51.100.1, and the link to a room of it.
struct Rendezvous {
    process: Process,
    host: Ns,
    folder: TempDir,
    link: String,
}

impl Rendezvous {
    fn start(lab: &Lab) -> Self {
        let host = lab.rendezvous_host();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let process = Rendezvous::run(&host, folder.path());
        let mut invite = Command::new(program("rendezvous"));
        invite.args(["invite", "lab", "--public-addr", PUBLIC, "--data-dir"]);
        let output = invite.arg(folder.path()).output().expect("rendezvous can be run");
        let text = String::from_utf8_lossy(&output.stdout);
        let link = text.split_whitespace().find(|word| word.starts_with("meipo://"));
        let link = link.unwrap_or_else(|| panic!("no link in {output:?}")).to_owned();
        Rendezvous { process, host, folder, link }
    }

    fn restart(&mut self) {
        self.process = Rendezvous::run(&self.host, self.folder.path());
    }

    /// Runs the program until it says it listens.
    fn run(host: &Ns, folder: &Path) -> Process {
        let folder = folder.to_str().expect("a path in UTF-8");
        let listen = ["--listen", "0.0.0.0:1935", "--public-addr", PUBLIC, "--data-dir", folder];
        let alternate = ["--stun-alternate", "198.51.100.2:1936", "--json"];
        let mut process = host.spawn(&program("rendezvous"), &[&listen[..], &alternate].concat());
        process.wait_for("listening", Duration::from_secs(10), is_event("listening"));
        process
    }
}

/// Everything a packet to a host behind a box could be addressed to.
fn addresses(nat: &NatBox, host: &Ns) -> Vec<IpAddr> {
    let v6 = host.v6.map(IpAddr::V6);
    [IpAddr::V4(nat.wan()), IpAddr::V4(host.v4)].into_iter().chain(v6).collect()
}

fn is_event(name: &str) -> impl Fn(&Value) -> bool {
    move |event| event.get("event").and_then(Value::as_str) == Some(name)
}

fn number(event: &Value, name: &str) -> Option<u64> {
    event.get(name)?.as_u64()
}

/// A lab, if there are programs to put into it.
fn ready() -> Option<Lab> {
    if ["peer", "rendezvous"].iter().all(|name| program(name).exists()) {
        return Lab::new();
    }
    skip(&NO_PROGRAMS, "calls need `cargo build -p peer -p rendezvous` (or MEIPO_BIN_DIR)");
    None
}

/// A program under test: in `MEIPO_BIN_DIR`, or where cargo put it, two folders above this test.
fn program(name: &str) -> PathBuf {
    match std::env::var_os("MEIPO_BIN_DIR") {
        Some(folder) => Path::new(&folder).join(name),
        None => {
            let test = std::env::current_exe().expect("a running program has a path");
            let folder = test.ancestors().nth(2).expect("target/debug/deps/natlab-…");
            folder.join(name)
        }
    }
}

const PUBLIC: &str = "198.51.100.1:1935";

/// Introduction, a few rounds of probing and a busy machine.
const DIRECT_LIMIT: Duration = Duration::from_secs(15);

/// Probing 1024 ports is rate-limited.
const BIRTHDAY_LIMIT: Duration = Duration::from_secs(30);

static NO_PROGRAMS: Once = Once::new();
