//! The way to one peer: probes go out, proofs come in, the best proven path carries media.

mod campaign;
mod doubt;
mod keys;
mod probing;

pub use keys::Keys;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use self::doubt::Unanswered;
use self::probing::{Path, Proof};
use super::punch::Punch;
use super::route::{Policy, Route, Score, SocketIndex};
use crate::bucket::Bucket;
use crate::params::{
    MAX_PATHS, PROBE_AGAIN, PROBE_BURST, PROBE_IDLE, PROBE_SUSPECT, PROBE_TIMEOUT, PROBES_UNPROVEN,
    PROBES_UNPROVEN_PER_SECOND, RELAY_RTT_GUESS,
};
use crate::units::Time;
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
    /// What was said into the selected path and not answered yet.
    unanswered: Unanswered,
    /// Round trip of what takes the selected path, as its acknowledgements tell; newer than its last probe's.
    measured: Option<Duration>,
    /// Since when the peer has spoken by other ways only.
    elsewhere_since: Option<Time>,
    last_suspect_probe: Time,
    transmits: VecDeque<(Route, Vec<u8>)>,
    events: VecDeque<AgentEvent>,
    rng: ChaCha8Rng,
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
            unanswered: Unanswered::default(),
            measured: None,
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

    /// Our own network has changed: every way must prove itself again, and the one in use is kept until another has.
    pub fn handle_network_change(&mut self, now: Time) {
        for path in self.paths.values_mut() {
            path.restart(now);
        }
        self.unanswered.note(now);
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
        self.unanswered.note(now);
    }

    /// Something that was `sent` by the selected path was answered, whichever way the answer took: the path worked then.
    /// `rtt` is how long answers take.
    pub fn handle_answered(&mut self, sent: Time, rtt: Duration) {
        self.unanswered.settle(sent);
        self.measured = Some(rtt);
    }

    /// A report says that something has arrived that was `sent` by the selected path: where much is lost, all of the few
    /// acknowledgements of QUIC's may be.
    pub fn handle_reported(&mut self, sent: Time) {
        self.unanswered.settle(sent);
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
        self.measured.or_else(|| self.selected.and_then(|route| self.proof(&route)).map(|proof| proof.rtt))
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
            self.unanswered.clear();
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
            self.unanswered.clear();
            self.measured = None;
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
}

#[cfg(test)]
mod tests;
