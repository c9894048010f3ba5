//! Real NATs: network namespaces, one for each box and host, removed when the lab is dropped.
//!
//! A bridge in the `internet` namespace is the Internet, 198.51.100.0/24 and 2001:db8::/32. Every
//! NAT box has an interface `wan` there (or in the network of another box) and a bridge `lan` for
//! its clients.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::Process;
use crate::rules::{NatKind, Rules};

pub(crate) struct Lab {
    internet: String,
    namespaces: RefCell<Vec<String>>,
    boxes: Cell<u8>,
    hosts: Cell<u8>,
    _only_one: MutexGuard<'static, ()>,
}

/// A NAT box.
pub(crate) struct NatBox {
    namespace: String,
    number: u8,
    wan: Ipv4Addr,
    lan: [u8; 2],
    clients: Cell<u8>,
    rules: Cell<Rules>,
}

/// A host with its own network stack.
#[derive(Clone, Debug)]
pub(crate) struct Ns {
    name: String,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Option<Ipv6Addr>,
}

impl Lab {
    /// An empty Internet, or `None` without the rights to build one. Labs exist one at a time.
    pub(crate) fn new() -> Option<Lab> {
        if !rustix::process::geteuid().is_root() {
            skip(&NO_ROOT, "natlab needs root");
            return None;
        }
        let only_one = ONLY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
        remove_leftovers();
        let lab = Lab {
            internet: format!("{}internet", prefix(std::process::id())),
            namespaces: RefCell::default(),
            boxes: Cell::new(0),
            hosts: Cell::new(0),
            _only_one: only_one,
        };
        lab.add_namespace(&lab.internet);
        let internet = &lab.internet;
        bridge(internet, "exchange");
        address(internet, "exchange", "198.51.100.254/24");
        address(internet, "exchange", "2001:db8::ffff/64");
        sysctl(internet, "net.ipv6.conf.all.forwarding=1");
        Some(lab)
    }

    /// The host everyone can reach: 198.51.100.1 and .2 (for RFC 5780), 2001:db8::1.
    pub(crate) fn rendezvous_host(&self) -> Ns {
        let ns = self.public_host("rendezvous", 1);
        address(&ns.name, "wan", "198.51.100.2/24");
        ns
    }

    /// A host without any NAT.
    pub(crate) fn public_client(&self) -> Ns {
        let number = next(&self.hosts);
        self.public_host(&format!("public{number}"), 200 + number)
    }

    /// A NAT box on the Internet, with a stateful firewall for IPv6.
    pub(crate) fn nat(&self, kind: NatKind) -> NatBox {
        let nat = self.boxed(kind, &self.internet, "exchange", |number| ([198, 51, 100, 10 + number], [10, number]));
        self.route_v6(&nat);
        nat
    }

    /// A carrier's box: its network is 100.64.0.0/10.
    pub(crate) fn carrier(&self, kind: NatKind) -> NatBox {
        self.boxed(kind, &self.internet, "exchange", |number| ([198, 51, 100, 10 + number], [100, 64]))
    }

    /// A box in the network of another one.
    pub(crate) fn nat_behind(&self, outer: &NatBox, kind: NatKind) -> NatBox {
        let [a, b] = outer.lan;
        let host = 1 + next(&outer.clients);
        self.boxed(kind, &outer.namespace, "lan", |number| ([a, b, 0, host], [10, number]))
    }

    /// A host behind a box.
    pub(crate) fn client(&self, nat: &NatBox) -> Ns {
        let host = 1 + next(&nat.clients);
        let name = format!("{}c{}-{host}", prefix(std::process::id()), nat.number);
        let [a, b] = nat.lan;
        let v4 = Ipv4Addr::new(a, b, 0, host);
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, nat.number.into(), 0, 0, 0, 0, host.into());
        self.add_namespace(&name);
        veth(&name, "eth0", &nat.namespace, &format!("c{host}"), "lan");
        address(&name, "eth0", &format!("{v4}/24"));
        address(&name, "eth0", &format!("{v6}/64"));
        ip(&name, &format!("route add default via {a}.{b}.0.1"));
        let gateway = Ipv6Addr::new(0x2001, 0xdb8, nat.number.into(), 0, 0, 0, 0, 1);
        ip(&name, &format!("-6 route add default via {gateway}"));
        let v6 = Some(v6);
        Ns { name, v4, v6 }
    }

    /// Changes the rules of a box; what it knew is forgotten, for stale entries fake results.
    pub(crate) fn apply(&self, nat: &NatBox, rules: Rules) {
        nat.rules.set(rules);
        nft(&nat.namespace, &rules.script(nat.wan));
        self.flush(nat);
    }

    /// A box forgets its connections; where it preserves ports, they come back the same.
    pub(crate) fn flush(&self, nat: &NatBox) {
        run("ip", &["netns", "exec", &nat.namespace, "conntrack", "-F"]);
    }

    /// A box forgets its connections and gives every client other ports (cones excepted: theirs
    /// are the clients' own).
    pub(crate) fn rebind(&self, nat: &NatBox) {
        let mut rules = nat.rules.get();
        rules.generation += 1;
        self.apply(nat, rules);
    }

    fn public_host(&self, name: &str, number: u8) -> Ns {
        let name = format!("{}{name}", prefix(std::process::id()));
        let v4 = Ipv4Addr::new(198, 51, 100, number);
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into());
        self.add_namespace(&name);
        veth(&name, "wan", &self.internet, &format!("h{number}"), "exchange");
        address(&name, "wan", &format!("{v4}/24"));
        address(&name, "wan", &format!("{v6}/64"));
        ip(&name, "route add default via 198.51.100.254");
        ip(&name, "-6 route add default via 2001:db8::ffff");
        let v6 = Some(v6);
        Ns { name, v4, v6 }
    }

    /// Builds a box; `place` says its outer address and the network behind it.
    fn boxed(
        &self,
        kind: NatKind,
        outer: &str,
        bridge_name: &str,
        place: impl FnOnce(u8) -> ([u8; 4], [u8; 2]),
    ) -> NatBox {
        let number = next(&self.boxes);
        let (wan, lan) = place(number);
        let nat = NatBox {
            namespace: format!("{}b{number}", prefix(std::process::id())),
            number,
            wan: wan.into(),
            lan,
            clients: Cell::new(0),
            rules: Cell::new(Rules::new(kind)),
        };
        let (name, [a, b]) = (&nat.namespace, lan);
        self.add_namespace(name);
        veth(name, "wan", outer, &format!("b{number}"), bridge_name);
        bridge(name, "lan");
        address(name, "wan", &format!("{}/24", nat.wan));
        address(name, "lan", &format!("{a}.{b}.0.1/24"));
        let [wa, wb, wc, _] = wan;
        let last = if bridge_name == "exchange" { 254 } else { 1 };
        ip(name, &format!("route add default via {wa}.{wb}.{wc}.{last}"));
        sysctl(name, "net.ipv4.ip_forward=1");
        nft(name, &nat.rules.get().script(nat.wan));
        nat
    }

    /// Gives a box on the Internet a prefix of its own.
    fn route_v6(&self, nat: &NatBox) {
        let number = nat.number;
        address(&nat.namespace, "wan", &format!("2001:db8::{:x}/64", 0x100 + u16::from(number)));
        address(&nat.namespace, "lan", &format!("2001:db8:{number:x}::1/64"));
        sysctl(&nat.namespace, "net.ipv6.conf.all.forwarding=1");
        ip(&nat.namespace, "-6 route add default via 2001:db8::ffff");
        let hop = format!("2001:db8::{:x}", 0x100 + u16::from(number));
        ip(&self.internet, &format!("-6 route add 2001:db8:{number:x}::/64 via {hop}"));
    }

    fn add_namespace(&self, name: &str) {
        self.namespaces.borrow_mut().push(name.to_owned());
        run("ip", &["netns", "add", name]);
        // Without addresses of their own at once, neighbours stay silent for a second.
        sysctl(name, "net.ipv6.conf.all.accept_dad=0");
        sysctl(name, "net.ipv6.conf.default.accept_dad=0");
        ip(name, "link set lo up");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in self.namespaces.borrow().iter() {
            remove(name);
        }
    }
}

impl NatBox {
    /// The outer address.
    pub(crate) fn wan(&self) -> Ipv4Addr {
        self.wan
    }

    /// The rules in force.
    pub(crate) fn rules(&self) -> Rules {
        self.rules.get()
    }
}

impl Ns {
    /// Runs `act` on a thread of this host: sockets it opens are this host's, wherever they go.
    pub(crate) fn enter<R: Send>(&self, act: impl FnOnce() -> R + Send) -> R {
        let namespace = File::open(Path::new("/run/netns").join(&self.name)).expect("the namespace exists");
        let inside = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).expect("root enters a namespace");
            act()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().expect("the thread inside does not panic"))
    }

    /// The same host without IPv6.
    pub(crate) fn without_v6(self) -> Ns {
        sysctl(&self.name, "net.ipv6.conf.all.disable_ipv6=1");
        Ns { v6: None, ..self }
    }

    /// Starts a program on this host whose standard output is JSON, one value a line.
    pub(crate) fn spawn(&self, program: &Path, args: &[&str]) -> Process {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).args(args);
        Process::start(command)
    }

    /// Counts from now on the UDP packets this host sends to or receives from any of `others`.
    pub(crate) fn count_udp_with(&self, others: &[IpAddr]) {
        let mut script = String::from("table inet count {\n  counter met { }\n");
        for (chain, hook, end) in [("in", "input", "saddr"), ("out", "output", "daddr")] {
            script += &format!("  chain {chain} {{ type filter hook {hook} priority -10; policy accept;\n");
            for other in others {
                let family = if other.is_ipv4() { "ip" } else { "ip6" };
                script += &format!("    {family} {end} {other} meta l4proto udp counter name met\n");
            }
            script += "  }\n";
        }
        nft(&self.name, &(script + "}\n"));
    }

    /// How many UDP packets `count_udp_with` has counted.
    pub(crate) fn udp_counted(&self) -> u64 {
        let args = ["netns", "exec", &self.name, "nft", "-j", "list", "counter", "inet", "count", "met"];
        let json: serde_json::Value = serde_json::from_str(&run("ip", &args)).expect("nft -j prints JSON");
        let entries = json.pointer("/nftables").and_then(|entries| entries.as_array());
        let mut counts = entries.into_iter().flatten().map(|entry| entry.pointer("/counter/packets"));
        let count = counts.find_map(|packets| packets?.as_u64());
        count.expect("nft prints the counter")
    }
}

/// Says once why tests are skipped, past the capture of the test's output; in CI nothing may be.
pub(crate) fn skip(once: &Once, reason: &str) {
    let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!is_ci, "{reason}, and CI skips nothing");
    once.call_once(|| {
        let line = writeln!(std::io::stderr(), "skipped: {reason}");
        line.expect("standard error is open");
    });
}

fn bridge(ns: &str, name: &str) {
    ip(ns, &format!("link add name {name} type bridge"));
    ip(ns, &format!("link set {name} up"));
}

/// A cable between `end` in `ns` and a bridge elsewhere.
fn veth(ns: &str, end: &str, other: &str, other_end: &str, bridge: &str) {
    ip(ns, &format!("link add name {end} type veth peer name {other_end} netns {other}"));
    ip(other, &format!("link set {other_end} master {bridge} up"));
    ip(ns, &format!("link set {end} up"));
}

fn address(ns: &str, interface: &str, address: &str) {
    ip(ns, &format!("address add {address} dev {interface}"));
}

fn sysctl(ns: &str, setting: &str) {
    run("ip", &["netns", "exec", ns, "sysctl", "-qw", setting]);
}

fn ip(ns: &str, args: &str) {
    let words: Vec<&str> = ["-n", ns].into_iter().chain(args.split_whitespace()).collect();
    run("ip", &words);
}

fn nft(ns: &str, script: &str) {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", ns, "nft", "-f", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("ip can be run");
    let mut stdin = child.stdin.take().expect("a piped standard input");
    stdin.write_all(script.as_bytes()).expect("nft reads its script");
    drop(stdin);
    let output = child.wait_with_output().expect("nft ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft in {ns} said {error}to\n{script}");
}

/// Runs a command to its end and returns what it printed; a failure names the command.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program} {}: {error}", args.join(" ")));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {error}", args.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Removes a namespace as far as it exists; after a panic it may be half built.
fn remove(name: &str) {
    let mut command = Command::new("ip");
    let result = command.args(["netns", "delete", name]).stderr(Stdio::null()).status();
    result.expect("ip can be run");
}

/// Removes what a killed run has left behind.
fn remove_leftovers() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("meipo").and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

fn prefix(pid: u32) -> String {
    format!("meipo{pid}-")
}

/// Counts from 1.
fn next(counter: &Cell<u8>) -> u8 {
    counter.set(counter.get() + 1);
    counter.get()
}

static ONLY_ONE: Mutex<()> = Mutex::new(());
static NO_ROOT: Once = Once::new();
