use super::*;
use crate::params::{DEAD_AFTER, PUNCH_REST, SUSPECT_AFTER};
use crate::trust::{PairSecret, RoomSecret};
use crate::units::{PeerId, SessionId};
use crate::wire::control::RelayAddress;

#[test]
fn a_vouched_relay_is_used_at_once_and_a_proven_direct_path_takes_over() {
    let mut pair = Pair::new();
    pair.add_relays();
    assert_eq!(pair.left.selected(), Some(RELAY));
    pair.left.probe(&[host(RIGHT)], Mapping::Unknown, Mapping::Unknown, pair.now);
    pair.exchange();
    assert_eq!(pair.left.selected(), Some(direct(RIGHT)));
    assert_eq!(pair.right.selected(), Some(direct(LEFT)), "who is probed probes back");
}

#[test]
fn nothing_is_selected_before_it_has_answered() {
    let mut pair = Pair::new();
    pair.left.probe(&[host(RIGHT)], Mapping::Unknown, Mapping::Unknown, pair.now);
    pair.lose_everything(secs(3));
    assert_eq!(pair.left.selected(), None);
}

#[test]
fn an_address_is_probed_five_times_however_often_it_is_named() {
    let mut pair = Pair::new();
    let mut sent = 0;
    for _ in 0..20 {
        pair.left.probe(&[host(RIGHT)], Mapping::Unknown, Mapping::Unknown, pair.now);
        sent += pair.lose_everything(Duration::from_millis(100));
    }
    assert_eq!(sent, PROBE_BURST.len());
}

#[test]
fn addresses_that_prove_nothing_share_one_budget() {
    let mut pair = Pair::new();
    let mut sent = 0;
    for nth in 0..100 {
        let candidates: Vec<Candidate> = (0..8).map(|low| named([192, 0, 2, low], 1000 + nth)).collect();
        pair.left.probe(&candidates, Mapping::Unknown, Mapping::Unknown, pair.now);
        sent += pair.lose_everything(secs(1));
    }
    let allowed = PROBES_UNPROVEN + 100 * PROBES_UNPROVEN_PER_SECOND;
    assert!((PROBES_UNPROVEN..=allowed).contains(&(sent as u64)), "{sent} probes, {allowed} allowed");
}

#[test]
fn a_probe_without_the_pair_s_key_is_not_answered() {
    let mut pair = Pair::new();
    let stranger = keys(&SECRET, [9; 32], RIGHT_ID, LEFT_ID);
    let mut impostor = Agent::new(CONFIG, stranger);
    impostor.probe(&[host(LEFT)], Mapping::Unknown, Mapping::Unknown, pair.now);
    while let Some((_, bytes)) = impostor.poll_transmit() {
        let message = stun::decode(&bytes).unwrap();
        pair.left.handle_stun(direct(RIGHT), &message, &bytes, pair.now);
    }
    assert_eq!(pair.left.poll_transmit(), None);
    assert_eq!(pair.left.poll_event(), None);
}

#[test]
fn probes_of_the_introduction_before_are_still_answered() {
    let mut pair = Pair::new();
    pair.right.rekey(keys(&SECRET, [2; 32], RIGHT_ID, LEFT_ID));
    pair.left.probe(&[host(RIGHT)], Mapping::Unknown, Mapping::Unknown, pair.now);
    pair.exchange();
    assert_eq!(pair.left.selected(), Some(direct(RIGHT)));
}

#[test]
fn silence_makes_a_path_suspect_then_dead_and_the_relay_takes_over() {
    let mut pair = Pair::met();
    pair.left.handle_asked(pair.now);
    assert_eq!(pair.left.poll_timeout(), Some(pair.now + SUSPECT_AFTER));
    pair.lose_direct(SUSPECT_AFTER);
    assert!(pair.left_events().contains(&AgentEvent::Suspected));
    pair.lose_direct(DEAD_AFTER - SUSPECT_AFTER - Duration::from_micros(1));
    assert_eq!(pair.left.selected(), Some(direct(RIGHT)));
    pair.lose_direct(Duration::from_millis(100));
    assert_eq!(pair.left.selected(), Some(RELAY));
}

#[test]
fn who_is_answered_is_not_doubted_whichever_way_the_other_side_speaks() {
    let mut pair = Pair::met();
    for _ in 0..100 {
        pair.left.handle_asked(pair.now);
        pair.left.handle_received(RELAY, pair.now);
        pair.exchange_for(Duration::from_millis(20));
        pair.left.handle_answered(pair.now, RTT);
    }
    assert_eq!(pair.left.selected(), Some(direct(RIGHT)));
}

#[test]
fn what_a_report_says_has_arrived_is_not_doubted_and_what_was_said_since_is() {
    let mut pair = Pair::met();
    for _ in 0..100 {
        pair.left.handle_asked(pair.now);
        pair.lose_direct(Duration::from_millis(20));
        pair.left.handle_reported(pair.now);
    }
    assert_eq!(pair.left.selected(), Some(direct(RIGHT)));
    pair.left.handle_asked(pair.now + Duration::from_micros(1));
    pair.lose_direct(DEAD_AFTER + Duration::from_millis(100));
    assert_eq!(pair.left.selected(), Some(RELAY));
}

#[test]
fn a_peer_that_left_our_path_makes_us_doubt_it_though_we_ask_nothing() {
    let mut pair = Pair::met();
    pair.left.handle_received(RELAY, pair.now);
    pair.lose_direct(DEAD_AFTER + Duration::from_millis(100));
    assert_eq!(pair.left.selected(), Some(RELAY));
}

#[test]
fn without_another_way_the_last_one_is_kept() {
    let mut pair = Pair::new();
    pair.left.probe(&[host(RIGHT)], Mapping::Unknown, Mapping::Unknown, pair.now);
    pair.exchange();
    pair.left.handle_asked(pair.now);
    pair.lose_everything(secs(5));
    assert_eq!(pair.left.selected(), Some(direct(RIGHT)));
    assert!(pair.left_events().contains(&AgentEvent::Silent));
}

#[test]
fn a_direct_path_that_died_is_taken_back_when_it_answers_again() {
    let mut pair = Pair::met();
    pair.left.handle_asked(pair.now);
    pair.lose_direct(secs(5));
    assert_eq!(pair.left.selected(), Some(RELAY));
    pair.left.handle_answered(pair.now, RTT);
    pair.exchange_for(PROBE_AGAIN);
    assert_eq!(pair.left.selected(), Some(direct(RIGHT)));
}

#[test]
fn who_wants_relays_only_neither_probes_nor_answers_directly() {
    let mut pair = Pair::new();
    pair.left =
        Agent::new(AgentConfig { policy: Policy::RelayOnly, ..CONFIG }, keys(&SECRET, [1; 32], LEFT_ID, RIGHT_ID));
    pair.left.probe(&[host(RIGHT)], Mapping::Unknown, Mapping::Dependent, pair.now);
    assert_eq!(pair.lose_everything(secs(20)), 0);
    pair.right.probe(&[host(LEFT)], Mapping::Unknown, Mapping::Unknown, pair.now);
    pair.exchange();
    assert_eq!(pair.right.selected(), None);
}

#[test]
fn a_lottery_begins_once_though_candidates_keep_trickling() {
    let mut pair = Pair::new();
    let reflexive = Candidate { kind: CandidateKind::Reflexive, address: RIGHT };
    let mut sent = 0;
    for _ in 0..50 {
        pair.left.probe(&[reflexive], Mapping::EndpointIndependent, Mapping::Dependent, pair.now);
        sent += pair.lose_everything(secs(1));
    }
    let lottery = crate::params::BIRTHDAY_PORTS;
    assert!((lottery..lottery + 40).contains(&sent), "{sent} probes");
    pair.lose_everything(PUNCH_REST);
    pair.left.probe(&[reflexive], Mapping::EndpointIndependent, Mapping::Dependent, pair.now);
    assert!(pair.lose_everything(secs(20)) >= lottery, "after a rest it may begin again");
}

#[test]
fn further_sockets_stay_open_while_the_other_side_guesses_and_no_longer() {
    let mut pair = Pair::new();
    let reflexive = Candidate { kind: CandidateKind::Reflexive, address: RIGHT };
    pair.left.probe(&[reflexive], Mapping::Dependent, Mapping::EndpointIndependent, pair.now);
    pair.lose_everything(crate::params::PUNCH_AFTER);
    assert!(pair.left_events().iter().any(|event| matches!(event, AgentEvent::OpenSockets(_))));
    pair.left.handle_sockets_open(pair.now);
    pair.lose_everything(secs(10));
    assert!(pair.left.uses_socket(SocketIndex(7)));
    pair.lose_everything(secs(10));
    assert!(!pair.left.uses_socket(SocketIndex(7)));
}

/// Two agents and a network between them that takes no time.
struct Pair {
    left: Agent,
    right: Agent,
    now: Time,
}

impl Pair {
    fn new() -> Self {
        Pair {
            left: Agent::new(CONFIG, keys(&SECRET, [1; 32], LEFT_ID, RIGHT_ID)),
            right: Agent::new(CONFIG, keys(&SECRET, [1; 32], RIGHT_ID, LEFT_ID)),
            now: Time::from_millis(1000),
        }
    }

    /// Both have a direct path and a relay behind it.
    fn met() -> Self {
        let mut pair = Pair::new();
        pair.add_relays();
        pair.left.probe(&[host(RIGHT)], Mapping::Unknown, Mapping::Unknown, pair.now);
        pair.exchange_for(secs(3));
        pair.left_events();
        pair
    }

    fn add_relays(&mut self) {
        self.left.add_relay(RELAY, true, self.now);
        self.right.add_relay(RELAY, true, self.now);
    }

    fn left_events(&mut self) -> Vec<AgentEvent> {
        std::iter::from_fn(|| self.left.poll_event()).collect()
    }

    /// Carries everything until nobody has anything to say at this moment.
    fn exchange(&mut self) {
        self.carry(|_| true);
    }

    fn exchange_for(&mut self, span: Duration) {
        self.run(span, |_| true);
    }

    fn lose_direct(&mut self, span: Duration) {
        self.run(span, |route| !route.is_direct());
    }

    /// How many datagrams the left agent sent in vain.
    fn lose_everything(&mut self, span: Duration) -> usize {
        self.run(span, |_| false)
    }

    fn run(&mut self, span: Duration, passes: impl Fn(&Route) -> bool) -> usize {
        let end = self.now + span;
        let mut sent = self.carry(&passes);
        loop {
            let next = [self.left.poll_timeout(), self.right.poll_timeout()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.left.handle_timeout(self.now);
            self.right.handle_timeout(self.now);
            sent += self.carry(&passes);
        }
        self.now = end;
        sent
    }

    fn carry(&mut self, passes: impl Fn(&Route) -> bool) -> usize {
        let mut sent = 0;
        loop {
            let mut is_quiet = true;
            while let Some((route, bytes)) = self.left.poll_transmit() {
                (sent, is_quiet) = (sent + 1, false);
                let arrives = passes(&route) && (route == RELAY || route == direct(RIGHT));
                deliver(&mut self.right, arrives, turned(route, LEFT), &bytes, self.now);
            }
            while let Some((route, bytes)) = self.right.poll_transmit() {
                is_quiet = false;
                let arrives = passes(&route) && (route == RELAY || route == direct(LEFT));
                deliver(&mut self.left, arrives, turned(route, RIGHT), &bytes, self.now);
            }
            if is_quiet {
                return sent;
            }
        }
    }
}

fn deliver(agent: &mut Agent, arrives: bool, route: Route, bytes: &[u8], now: Time) {
    if arrives {
        agent.handle_stun(route, &stun::decode(bytes).unwrap(), bytes, now);
    }
}

/// The way back, for a datagram of whoever is at `from`.
fn turned(route: Route, from: SocketAddr) -> Route {
    if route.is_direct() { direct(from) } else { route }
}

fn direct(remote: SocketAddr) -> Route {
    Route::Direct { socket: SocketIndex(0), remote }
}

fn host(address: SocketAddr) -> Candidate {
    Candidate { kind: CandidateKind::Host, address }
}

fn named(ip: [u8; 4], port: u16) -> Candidate {
    host(SocketAddr::new(ip.into(), port))
}

fn keys(secret: &RoomSecret, pair: [u8; 32], us: PeerId, them: PeerId) -> Keys {
    Keys::new(secret, &PairSecret::from_bytes(pair), &us, &them)
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const RTT: Duration = Duration::from_millis(20);
const SECRET: RoomSecret = RoomSecret::from_bytes([3; 16]);
const LEFT_ID: PeerId = PeerId::from_bytes([1; 32]);
const RIGHT_ID: PeerId = PeerId::from_bytes([2; 32]);
const LEFT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 4000);
const RIGHT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2)), 4000);
const RELAY: Route = Route::Relay { relay: RelayAddress::Rendezvous, session: SessionId(7) };
const CONFIG: AgentConfig = AgentConfig { policy: Policy::Any, may_gamble: true, seed: 1 };
