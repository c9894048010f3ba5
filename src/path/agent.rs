//! The way to one peer: probes go out, proofs come in, the best proven path carries media.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hmac::Mac;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::punch::{Guess, Punch};
use super::route::{Policy, Route, Score, SocketIndex};
use crate::bucket::Bucket;
use crate::params::{
    DEAD_AFTER, MAX_PATHS, MAX_PROBES_IN_FLIGHT, PROBE_AGAIN, PROBE_BURST, PROBE_IDLE, PROBE_POSTPONED, PROBE_SUSPECT,
    PROBE_TIMEOUT, PROBES_UNPROVEN, PROBES_UNPROVEN_PER_SECOND, PUNCH_AFTER, PUNCH_LISTEN, PUNCH_REST, RELAY_RTT_GUESS,
    SUSPECT_AFTER,
};
use crate::trust::{PairSecret, ProbeKey, RoomSecret, hmac_sha256};
use crate::units::{PeerId, Time};
use crate::wire::control::{Candidate, CandidateKind, Mapping};
use crate::wire::stun::{self, ChangeRequest, Class, Stun, TransactionId};

/// What an agent is made of.
#[derive(Clone, Copy, Debug)]
pub struct AgentConfig {
    /// Which ways may be used.
    pub policy: Policy,
    /// Whether symmetric NATs are gambled with.
    pub may_gamble: bool,
    /// Makes the agent's random numbers.
    pub seed: u64,
}

/// What proves that a probe comes from the peer: one pair of names and one key for each introduction.
#[derive(Clone, Debug)]
pub struct Keys {
    key: ProbeKey,
    /// The name in the probes we send.
    ours: u64,
    /// The name in the probes we answer.
    theirs: u64,
}

impl Keys {
    /// The keys of `us` and `them` after an introduction with `pair`.
    pub fn new(secret: &RoomSecret, pair: &PairSecret, us: &PeerId, them: &PeerId) -> Self {
        let key = secret.probe_key(pair);
        Keys { ours: username(&key, us), theirs: username(&key, them), key }
    }

    /// The name in the probes the other side sends.
    pub fn their_username(&self) -> u64 {
        self.theirs
    }
}

/// What an agent has to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AgentEvent {
    /// Send by this way from now on.
    Selected(Route),
    /// No way is known to work; the last one is kept until a better one proves itself.
    Silent,
    /// What comes by this way comes from the peer.
    Source(Route),
    /// Open this many further sockets and call [`Agent::handle_sockets_open`].
    OpenSockets(u16),
    /// The path in use is suspected dead: whatever can refresh NAT mappings should speak now.
    Suspected,
}

/// Finds and keeps the way to one peer.
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    /// The newest introduction's first; the one before still answers while the other side catches up.
    keys: Vec<Keys>,
    paths: BTreeMap<Route, Path>,
    selected: Option<Route>,
    in_flight: BTreeMap<TransactionId, (Route, Time)>,
    punch: Option<Punch>,
    /// When something was last guessed.
    punched: Option<Time>,
    /// Until when guesses of the other side may hit our further sockets.
    listens_until: Option<Time>,
    ours: Mapping,
    theirs: Mapping,
    /// Where the rendezvous sees the peer.
    target: Option<SocketAddr>,
    /// What addresses that have proven nothing may cost.
    unproven: Bucket,
    /// Since when the selected path has been spoken into without an answer.
    unanswered_since: Option<Time>,
    /// Since when the peer has spoken by other ways only.
    elsewhere_since: Option<Time>,
    last_suspect_probe: Time,
    transmits: VecDeque<(Route, Vec<u8>)>,
    events: VecDeque<AgentEvent>,
    rng: ChaCha8Rng,
}

/// What is known of one way.
#[derive(Debug, Default)]
struct Path {
    proof: Option<Proof>,
    /// Probes sent since the last reason to hope.
    attempts: usize,
    /// When the last burst of probes began.
    began: Option<Time>,
    next_probe: Option<Time>,
    is_source: bool,
    /// Whether it is worth asking for ever: it worked once, or the rendezvous sees the peer there.
    may_return: bool,
}

/// A path that answered a probe, or that the introducer vouches for.
#[derive(Clone, Copy, Debug)]
struct Proof {
    rtt: Duration,
}

impl Agent {
    /// An agent that knows no way yet.
    pub fn new(config: AgentConfig, keys: Keys) -> Self {
        Agent {
            config,
            keys: vec![keys],
            paths: BTreeMap::new(),
            selected: None,
            in_flight: BTreeMap::new(),
            punch: None,
            punched: None,
            listens_until: None,
            ours: Mapping::Unknown,
            theirs: Mapping::Unknown,
            target: None,
            unproven: Bucket::new(PROBES_UNPROVEN_PER_SECOND, PROBES_UNPROVEN, Time::ZERO),
            unanswered_since: None,
            elsewhere_since: None,
            last_suspect_probe: Time::ZERO,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            rng: ChaCha8Rng::seed_from_u64(config.seed),
        }
    }

    /// A new introduction of the same peer: its keys come first, the former ones are kept for a while.
    pub fn rekey(&mut self, keys: Keys) {
        self.keys.insert(0, keys);
        self.keys.truncate(2);
    }

    /// Whether a probe with this name is for this agent.
    pub fn answers_to(&self, username: u64) -> bool {
        self.keys.iter().any(|keys| keys.theirs == username)
    }

    /// Whether a response with this transaction answers a probe of this agent.
    pub fn awaits(&self, transaction: &TransactionId) -> bool {
        self.in_flight.contains_key(transaction)
    }

    /// A relay session that both sides may use. `is_vouched`: the introducer has bound both addresses already.
    pub fn add_relay(&mut self, route: Route, is_vouched: bool, now: Time) {
        if !self.config.policy.allows(&route) {
            return;
        }
        let path = self.paths.entry(route).or_default();
        path.is_source = true;
        path.restart(now);
        if is_vouched && path.proof.is_none() {
            path.proof = Some(Proof { rtt: RELAY_RTT_GUESS });
        }
        self.events.push_back(AgentEvent::Source(route));
        self.select();
    }

    /// Removes the ways through relay sessions that a newer introduction has replaced.
    pub fn keep_relays(&mut self, keep: impl Fn(&Route) -> bool) {
        self.paths.retain(|route, _| route.is_direct() || keep(route));
        self.reselect_if_gone();
    }

    /// Addresses the peer may be reached at, as admitted by [`super::candidate::probeable`]: all are probed anew.
    /// `ours` and `theirs` say how the NATs map, for guessing ports where nothing else helps.
    pub fn probe(&mut self, candidates: &[Candidate], ours: Mapping, theirs: Mapping, now: Time) {
        // A symmetric NAT gives each destination the next port: the address that others predict comes first.
        let mut candidates = candidates.to_vec();
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.kind));
        for candidate in &candidates {
            let route = Route::Direct { socket: SocketIndex(0), remote: candidate.address };
            self.hope(route, now);
            if let Some(path) = self.paths.get_mut(&route) {
                path.may_return |= candidate.kind == CandidateKind::Reflexive;
            }
        }
        let reflexive = candidates.iter().find(|c| c.kind == CandidateKind::Reflexive && c.address.is_ipv4());
        self.target = reflexive.map(|candidate| candidate.address);
        (self.ours, self.theirs) = (ours, theirs);
        self.plan(now);
        self.handle_timeout(now);
    }

    /// More is known of how our own NAT maps.
    pub fn handle_mapping(&mut self, ours: Mapping, now: Time) {
        self.ours = ours;
        self.plan(now);
        self.handle_timeout(now);
    }

    /// Our own network has changed: every way must prove itself again, and the one in use is kept until another has.
    pub fn handle_network_change(&mut self, now: Time) {
        for path in self.paths.values_mut() {
            path.restart(now);
        }
        self.unanswered_since = self.unanswered_since.or(Some(now));
        self.punched = None;
        self.handle_timeout(now);
    }

    /// The sockets asked for are open.
    pub fn handle_sockets_open(&mut self, now: Time) {
        if let Some(punch) = &mut self.punch {
            punch.handle_sockets_open(now);
        }
        self.handle_timeout(now);
    }

    /// Something that asks for an answer was sent by the selected path.
    pub fn handle_asked(&mut self, now: Time) {
        self.unanswered_since.get_or_insert(now);
    }

    /// Something that was sent by the selected path was answered, whichever way the answer took: the path works.
    pub fn handle_answered(&mut self) {
        self.unanswered_since = None;
    }

    /// Something of the peer's came by `route`. That says nothing of our own direction; but a peer that speaks by another
    /// way than ours may have lost ours.
    pub fn handle_received(&mut self, route: Route, now: Time) {
        if self.selected == Some(route) {
            self.elsewhere_since = None;
        } else {
            self.elsewhere_since.get_or_insert(now);
        }
    }

    /// A STUN message of the peer's came by `route`. It is ignored unless it proves itself.
    pub fn handle_stun(&mut self, route: Route, message: &Stun, bytes: &[u8], now: Time) {
        if !self.config.policy.allows(&route) {
            return;
        }
        match message.class {
            Class::Request { username: Some(username), change: ChangeRequest::None } => {
                self.handle_request(route, username, message, bytes, now);
            }
            Class::Response { .. } => self.handle_response(message, bytes, now),
            Class::Request { .. } | Class::Error(_) => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.in_flight.retain(|_, (_, sent)| now.since(*sent) < PROBE_TIMEOUT);
        self.suspect(now);
        self.send_due_probes(now);
        self.guess(now);
    }

    /// The next probe or answer to send, and the way it takes.
    pub fn poll_transmit(&mut self) -> Option<(Route, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<AgentEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let probes = self.paths.values().filter_map(|path| path.next_probe).min();
        let punch = self.punch.as_ref().and_then(Punch::poll_timeout);
        let suspicion = self.doubted_since().map(|since| {
            let first = since + self.suspect_after();
            first.max(self.last_suspect_probe + PROBE_SUSPECT)
        });
        [probes, punch, suspicion, self.listens_until].into_iter().flatten().min()
    }

    /// The way in use.
    pub fn selected(&self) -> Option<Route> {
        self.selected
    }

    /// Round-trip time of the way in use, once measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.selected.and_then(|route| self.proof(&route)).map(|proof| proof.rtt)
    }

    /// Whether a further socket of ours is in use.
    pub fn uses_socket(&self, socket: SocketIndex) -> bool {
        let is_on = |route: &Route| matches!(route, Route::Direct { socket: used, .. } if *used == socket);
        self.listens_until.is_some() || self.paths.iter().any(|(route, path)| is_on(route) && path.proof.is_some())
    }

    fn proof(&self, route: &Route) -> Option<Proof> {
        self.paths.get(route).and_then(|path| path.proof)
    }

    /// Notes a way that may work, and probes it soon.
    fn hope(&mut self, route: Route, now: Time) {
        if !self.config.policy.allows(&route) {
            return;
        }
        if !self.paths.contains_key(&route) && self.paths.len() >= MAX_PATHS {
            let hopeless = self.paths.iter().find(|(_, path)| path.proof.is_none() && !path.is_source);
            let Some(hopeless) = hopeless.map(|(route, _)| *route) else {
                return;
            };
            self.paths.remove(&hopeless);
        }
        let path = self.paths.entry(route).or_default();
        // Whoever names an address twice gains nothing by it.
        let is_fresh = path.began.is_some_and(|began| now.since(began) < PROBE_AGAIN);
        if path.proof.is_none() && !is_fresh {
            path.restart(now);
        }
    }

    /// Begins a campaign of guesses where one makes sense, but not the same again, nor lottery after lottery.
    fn plan(&mut self, now: Time) {
        let has_direct = self.selected.is_some_and(|route| route.is_direct());
        let may_guess = self.config.may_gamble && self.config.policy != Policy::RelayOnly && !has_direct;
        let Some(target) = self.target.filter(|_| may_guess) else { return };
        let Some(punch) = Punch::plan(self.ours, self.theirs, target, now) else { return };
        let is_pending = self.punch.as_ref().is_some_and(|present| !present.has_begun());
        let is_like = self.punch.as_ref().is_some_and(|present| present.is_like(&punch));
        let rest = if punch.is_lottery() { PUNCH_REST } else { PUNCH_AFTER };
        let has_rested = self.punched.is_none_or(|began| now.since(began) >= rest);
        if if is_pending { !is_like } else { has_rested } {
            self.punch = Some(punch);
        }
    }

    fn handle_request(&mut self, route: Route, username: u64, message: &Stun, bytes: &[u8], now: Time) {
        let Some(keys) = self.keys.iter().find(|keys| keys.theirs == username).cloned() else {
            return;
        };
        if !message.verify(bytes, &keys.key) {
            return;
        }
        let mapped = match route {
            Route::Direct { remote, .. } => remote,
            Route::Relay { .. } => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        };
        let answer = stun::encode_response(message.transaction, mapped, Some(&keys.key), None, bytes.len());
        self.transmits.extend(answer.map(|answer| (route, answer)));
        if !self.paths.contains_key(&route) {
            self.hope(route, now);
        }
        self.become_source(route);
        let Some(path) = self.paths.get_mut(&route) else { return };
        if path.proof.is_none() && path.attempts >= PROBE_BURST.len() {
            path.restart(now);
        }
        self.handle_timeout(now);
    }

    fn handle_response(&mut self, message: &Stun, bytes: &[u8], now: Time) {
        let Some((route, sent)) = self.in_flight.get(&message.transaction).copied() else {
            return;
        };
        if !self.keys.iter().any(|keys| message.verify(bytes, &keys.key)) {
            return;
        }
        self.in_flight.remove(&message.transaction);
        let measured = now.since(sent);
        let Some(path) = self.paths.get_mut(&route) else { return };
        let rtt = match path.proof {
            Some(proof) if proof.rtt != RELAY_RTT_GUESS => (proof.rtt * 7 + measured) / 8,
            Some(_) | None => measured,
        };
        path.proof = Some(Proof { rtt });
        path.attempts = PROBE_BURST.len();
        path.next_probe = Some(now + PROBE_IDLE);
        path.may_return = true;
        if self.selected == Some(route) {
            self.unanswered_since = None;
            self.elsewhere_since = None;
        }
        self.become_source(route);
        self.select();
    }

    fn become_source(&mut self, route: Route) {
        if let Some(path) = self.paths.get_mut(&route)
            && !path.is_source
        {
            path.is_source = true;
            self.events.push_back(AgentEvent::Source(route));
        }
    }

    /// Takes the best proven path if it is worth leaving the present one for.
    fn select(&mut self) {
        let score = |(route, path): (&Route, &Path)| path.proof.map(|proof| (Score::new(route, proof.rtt), *route));
        let Some((best, route)) = self.paths.iter().filter_map(score).min() else {
            return;
        };
        let current = self.selected.and_then(|current| {
            let proof = self.proof(&current)?;
            Some(Score::new(&current, proof.rtt))
        });
        let is_better = current.is_none_or(|current| best.is_worth_leaving(current));
        if is_better && self.selected != Some(route) {
            self.selected = Some(route);
            self.unanswered_since = None;
            self.elsewhere_since = None;
            self.events.push_back(AgentEvent::Selected(route));
        }
        if route.is_direct() {
            self.punch = None;
            self.listens_until = None;
        }
    }

    fn reselect_if_gone(&mut self) {
        if self.selected.is_some_and(|route| !self.paths.contains_key(&route)) {
            self.selected = None;
            self.select();
        }
    }

    /// In whole microseconds, as time has no others.
    fn suspect_after(&self) -> Duration {
        let patience = self.rtt().unwrap_or_default().as_micros() * 3 / 2;
        SUSPECT_AFTER.max(Duration::from_micros(u64::try_from(patience).unwrap_or(u64::MAX)))
    }

    fn doubted_since(&self) -> Option<Time> {
        [self.unanswered_since, self.elsewhere_since].into_iter().flatten().min()
    }

    /// Silence makes the selected path suspect, then dead.
    fn suspect(&mut self, now: Time) {
        let Some(since) = self.doubted_since() else { return };
        let silent = now.since(since);
        if silent < self.suspect_after() || now.since(self.last_suspect_probe) < PROBE_SUSPECT {
            return;
        }
        self.last_suspect_probe = now;
        self.events.push_back(AgentEvent::Suspected);
        let proven = self.paths.iter().filter(|(_, path)| path.proof.is_some());
        let routes: Vec<Route> = proven.map(|(route, _)| *route).chain(self.selected).collect();
        for route in routes {
            self.send_probe(route, now);
        }
        if silent >= DEAD_AFTER.max(self.suspect_after() + self.rtt().unwrap_or_default() * 2) {
            self.demote(now);
        }
    }

    /// The selected path has been silent too long: it must prove itself again.
    fn demote(&mut self, now: Time) {
        let Some(route) = self.selected else { return };
        let had_proof = self.paths.get_mut(&route).is_some_and(|path| path.proof.take().is_some());
        if had_proof {
            for path in self.paths.values_mut().filter(|path| path.proof.is_none()) {
                path.restart(now);
            }
        }
        self.unanswered_since = Some(now);
        self.elsewhere_since = None;
        self.select();
        if had_proof && self.selected == Some(route) {
            self.events.push_back(AgentEvent::Silent);
        }
    }

    fn send_due_probes(&mut self, now: Time) {
        let due: Vec<Route> = self
            .paths
            .iter()
            .filter(|(_, path)| path.next_probe.is_some_and(|at| at <= now))
            .map(|(r, _)| *r)
            .collect();
        for route in due {
            let is_proven = self.proof(&route).is_some();
            if self.is_needless(&route) {
                self.postpone(route, PROBE_AGAIN, now);
                continue;
            }
            if route.is_direct() && !is_proven && !self.unproven.take(1, now) {
                self.postpone(route, PROBE_POSTPONED, now);
                continue;
            }
            self.send_probe(route, now);
            if let Some(path) = self.paths.get_mut(&route) {
                path.schedule_next(is_proven, now);
            }
        }
    }

    /// Whether a way that does not work need not be asked again, because a direct one does.
    fn is_needless(&self, route: &Route) -> bool {
        let Some(path) = self.paths.get(route) else { return true };
        let has_direct = self.selected.is_some_and(|selected| selected.is_direct() && self.proof(&selected).is_some());
        has_direct && path.proof.is_none() && path.attempts >= PROBE_BURST.len()
    }

    fn postpone(&mut self, route: Route, span: Duration, now: Time) {
        if let Some(path) = self.paths.get_mut(&route) {
            path.next_probe = Some(now + span);
        }
    }

    fn guess(&mut self, now: Time) {
        if self.listens_until.is_some_and(|until| now >= until) {
            self.listens_until = None;
        }
        while let Some(guess) = self.punch.as_mut().and_then(|punch| punch.poll(now, &mut self.rng)) {
            match guess {
                Guess::Probe(route) => self.send_probe(route, now),
                Guess::OpenSockets(count) => {
                    self.listens_until = Some(now + PUNCH_LISTEN);
                    self.events.push_back(AgentEvent::OpenSockets(count));
                }
            }
            self.punched = Some(now);
        }
    }

    fn send_probe(&mut self, route: Route, now: Time) {
        let Some(keys) = self.keys.first() else { return };
        let mut id = [0; 12];
        self.rng.fill_bytes(&mut id);
        let transaction = TransactionId(id);
        let bytes = stun::encode_request(transaction, Some((&keys.key, keys.ours)), ChangeRequest::None);
        self.transmits.push_back((route, bytes));
        if self.paths.contains_key(&route) && self.in_flight.len() < MAX_PROBES_IN_FLIGHT {
            self.in_flight.insert(transaction, (route, now));
        }
    }
}

impl Path {
    /// There is new reason to hope: a burst of probes begins.
    fn restart(&mut self, now: Time) {
        self.attempts = 0;
        self.began = Some(now);
        self.next_probe = Some(now);
    }

    fn schedule_next(&mut self, is_proven: bool, now: Time) {
        self.attempts += 1;
        self.next_probe = match PROBE_BURST.get(self.attempts) {
            Some(gap) => Some(now + *gap),
            None if is_proven => Some(now + PROBE_IDLE),
            None if self.may_return => Some(now + PROBE_AGAIN),
            None => None,
        };
    }
}

/// The name of `peer` in the probes made with `key`.
fn username(key: &ProbeKey, peer: &PeerId) -> u64 {
    let mut mac = hmac_sha256(key.as_bytes());
    mac.update(b"username");
    mac.update(peer.as_bytes());
    let digest: [u8; 32] = mac.finalize().into_bytes().into();
    let (first, _) = digest.split_first_chunk::<8>().expect("a SHA-256 has more than eight bytes");
    u64::from_be_bytes(*first)
}
