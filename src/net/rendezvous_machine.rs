//! The rendezvous with its QUIC and its relay: datagrams and the time go in, datagrams come out. No sockets yet, no tasks.
//!
//! What the relay forwards never enters here as a copy: the caller is told where to send the very bytes it holds.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use quinn_proto::EcnCodepoint;

use super::clock::Clock;
use super::identity::Identity;
use super::quic::{Admission, Quic, QuicEvent, QuicId, QuicTransmit};
use super::quic_config::{QuicConfig, QuicRole};
use crate::bucket::Bucket;
use crate::introducer::{Action, ConnectionId, Introducer, IntroducerStats, Relays};
use crate::limits::Limits;
use crate::params::MAX_ADDRESS_BUCKETS;
use crate::path::candidate::canonical;
use crate::path::synthetic::Synthetic;
use crate::relay::{Relay, RelayStats, Verdict};
use crate::units::Time;
use crate::wire::control::Close;
use crate::wire::control::LeftReason;
use crate::wire::relay::{RelayKey, runs};
use crate::wire::stun::{self, ChangeRequest, Class};

/// What a rendezvous machine is made of.
#[derive(Debug)]
pub struct RendezvousMachineConfig {
    /// Its key.
    pub identity: Arc<Identity>,
    /// What it allows.
    pub limits: Limits,
    /// Relays of their own that peers may use besides.
    pub relays: Vec<(SocketAddr, RelayKey)>,
    /// Whether it relays itself.
    pub is_relay: bool,
    /// Its second address for STUN.
    pub stun_alternate: Option<SocketAddr>,
    /// Secret, from a good source of randomness.
    pub seed: [u8; 32],
}

/// By which of its sockets a datagram came or goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Port {
    /// The one everybody knows.
    Main,
    /// The second address and port, which answers STUN only.
    Alternate,
    /// The first address with the second port, which answers STUN only.
    OtherPort,
    /// The second address with the first port, which answers STUN only.
    OtherAddress,
}

impl Port {
    /// From where a STUN request that came here wants to be answered (RFC 5780 §4.4).
    fn answering(self, change: ChangeRequest) -> Port {
        match (self, change) {
            (port, ChangeRequest::None) => port,
            (Port::Main, ChangeRequest::Port) => Port::OtherPort,
            (Port::OtherPort, ChangeRequest::Port) => Port::Main,
            (Port::OtherAddress, ChangeRequest::Port) => Port::Alternate,
            (Port::Alternate, ChangeRequest::Port) => Port::OtherAddress,
            (Port::Main, ChangeRequest::AddressAndPort) => Port::Alternate,
            (Port::Alternate, ChangeRequest::AddressAndPort) => Port::Main,
            (Port::OtherPort, ChangeRequest::AddressAndPort) => Port::OtherAddress,
            (Port::OtherAddress, ChangeRequest::AddressAndPort) => Port::OtherPort,
        }
    }
}

/// A datagram, or several of one size, to be sent; the bytes are in the buffer that was handed in. A synthetic address
/// means a tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sending {
    /// By which socket.
    pub port: Port,
    /// Where to.
    pub to: SocketAddr,
    /// Length of each datagram but the last, if there are several.
    pub segment: Option<usize>,
    /// Mark for congestion notification.
    pub ecn: Option<EcnCodepoint>,
}

/// What is counted, for the operator.
#[derive(Clone, Debug, Default)]
pub struct RendezvousStats {
    /// Connected peers.
    pub peers: usize,
    /// Rooms with somebody in them.
    pub rooms: usize,
    /// Relay sessions.
    pub relay_sessions: usize,
    /// What was introduced and refused.
    pub introducer: IntroducerStats,
    /// What was relayed.
    pub relay: RelayStats,
    /// Handshakes that had to prove their address first.
    pub retried: u64,
    /// Handshakes that were ignored because there were too many.
    pub ignored: u64,
    /// Handshakes that were refused because an address began too many.
    pub refused: u64,
}

/// The rendezvous without its sockets.
#[derive(Debug)]
pub struct RendezvousMachine {
    introducer: Introducer,
    relay: Option<Relay>,
    quic: Quic,
    clock: Clock,
    limits: Limits,
    stun_alternate: Option<SocketAddr>,
    ids: BTreeMap<u64, QuicId>,
    handshakes: BTreeMap<(IpAddr, bool), Bucket>,
    answers: VecDeque<(Port, SocketAddr, Vec<u8>)>,
    counts: RendezvousStats,
}

impl RendezvousMachine {
    /// A rendezvous without peers.
    pub fn new(config: RendezvousMachineConfig, clock: Clock) -> Self {
        let quic = QuicConfig::new(config.identity.clone(), QuicRole::Rendezvous, config.limits.idle);
        Self::with_quic(config, quic, clock)
    }

    /// The same with a QUIC configuration of its own; for tests in virtual time.
    pub fn with_quic(config: RendezvousMachineConfig, quic: QuicConfig, clock: Clock) -> Self {
        let RendezvousMachineConfig { identity, limits, relays, is_relay, stun_alternate, seed } = config;
        // The key survives a restart, and with it the tokens of calls in progress.
        let key = RelayKey::from_bytes(identity.derive(b"relay tokens"));
        let relays = Relays { own: is_relay.then(|| key.clone()), others: relays };
        RendezvousMachine {
            introducer: Introducer::new(limits.clone(), relays, stun_alternate, seed),
            relay: is_relay.then(|| Relay::new(key, limits.relay(), identity.derive(b"relay cookies"))),
            quic: Quic::new(quic, clock),
            clock,
            limits,
            stun_alternate,
            ids: BTreeMap::new(),
            handshakes: BTreeMap::new(),
            answers: VecDeque::new(),
            counts: RendezvousStats::default(),
        }
    }

    /// Takes a datagram, or a batch of equal ones of `segment` bytes. Whatever `forward` is called with is to be sent as it
    /// is, from the main socket.
    pub fn handle_batch(
        &mut self,
        from: (Port, SocketAddr),
        ecn: Option<EcnCodepoint>,
        batch: &[u8],
        segment: usize,
        now: Time,
        mut forward: impl FnMut(&[u8], SocketAddr),
    ) {
        let (port, address) = (from.0, canonical(from.1));
        // A peer's relayed packets, its control connection and its questions come from one address, so in one batch.
        for run in runs(batch, segment) {
            self.handle_run(port, address, ecn, run, segment, now, &mut forward);
        }
        self.settle(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.quic.handle_timeout(now);
        self.introducer.handle_timeout(now);
        if let Some(relay) = &mut self.relay {
            relay.handle_timeout(now);
        }
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let relay = self.relay.as_ref().and_then(Relay::poll_timeout);
        [self.quic.poll_timeout(), self.introducer.poll_timeout(), relay].into_iter().flatten().min()
    }

    /// Writes the next datagrams to send into `buffer`.
    pub fn poll_transmit(&mut self, buffer: &mut Vec<u8>, max_segments: usize, now: Time) -> Option<Sending> {
        if let Some((port, to, bytes)) = self.answers.pop_front() {
            buffer.clear();
            buffer.extend_from_slice(&bytes);
            return Some(Sending { port, to, segment: None, ecn: None });
        }
        let QuicTransmit { to, segment, ecn } = self.quic.poll_transmit(buffer, max_segments, now)?;
        self.settle(now);
        Some(Sending { port: Port::Main, to, segment, ecn })
    }

    /// Tells everybody that the rendezvous goes down for a moment.
    pub fn drain(&mut self, now: Time) {
        self.introducer.drain();
        self.settle(now);
    }

    /// What was counted so far.
    pub fn stats(&self) -> RendezvousStats {
        RendezvousStats {
            peers: self.introducer.peers(),
            rooms: self.introducer.rooms(),
            relay_sessions: self.relay.as_ref().map_or(0, Relay::sessions),
            introducer: self.introducer.stats(),
            relay: self.relay.as_ref().map(|relay| relay.stats().clone()).unwrap_or_default(),
            ..self.counts.clone()
        }
    }

    /// Takes one datagram, or several of one relay session.
    #[expect(clippy::too_many_arguments, reason = "what a datagram comes with is handed through as it is")]
    fn handle_run(
        &mut self,
        port: Port,
        from: SocketAddr,
        ecn: Option<EcnCodepoint>,
        run: &[u8],
        segment: usize,
        now: Time,
        forward: &mut impl FnMut(&[u8], SocketAddr),
    ) {
        match run.first() {
            Some(0..=3) if stun::is_stun(run) => self.answer_stun(port, from, run),
            Some(0x10..=0x13) if port == Port::Main => self.relay(from, run, segment, now, forward),
            Some(0x40..=0x7f | 0xc0..=0xff) if port == Port::Main => {
                let (limits, handshakes, counts) = (&self.limits, &mut self.handshakes, &mut self.counts);
                let admit = |remote: SocketAddr, is_validated: bool, handshaking: usize| {
                    let is_validated = is_validated || Synthetic::of(remote).is_some();
                    admit(remote, is_validated, handshaking, limits, handshakes, counts, now)
                };
                self.quic.handle_datagram(from, ecn, BytesMut::from(run), now, admit);
            }
            _ => {}
        }
    }

    fn relay(
        &mut self,
        from: SocketAddr,
        batch: &[u8],
        segment: usize,
        now: Time,
        forward: &mut impl FnMut(&[u8], SocketAddr),
    ) {
        let (Some(relay), answers) = (&mut self.relay, &mut self.answers) else { return };
        let unix = self.clock.unix_micros(now) / 1_000_000;
        relay.handle_batch(now, unix, from, batch, segment, |run, verdict| match verdict {
            Verdict::Forward { to } => forward(run, to),
            Verdict::Answer(bytes, to) => answers.push_back((Port::Main, to, bytes)),
            Verdict::Drop(reason) => tracing::trace!(reason = reason.as_str(), "relay packet dropped"),
        });
    }

    /// Says where a request came from; from the other socket if it asks so (RFC 5780 §4.4).
    fn answer_stun(&mut self, port: Port, from: SocketAddr, request: &[u8]) {
        let Ok(message) = stun::decode(request) else { return };
        let Class::Request { username: None, change } = message.class else { return };
        if change != ChangeRequest::None && self.stun_alternate.is_none() {
            return;
        }
        let answering = port.answering(change);
        let answer = stun::encode_response(message.transaction, from, None, self.stun_alternate, request.len());
        self.answers.extend(answer.map(|bytes| (answering, from, bytes)));
    }

    fn settle(&mut self, now: Time) {
        loop {
            while let Some(event) = self.quic.poll_event() {
                self.handle_event(event, now);
            }
            let Some(action) = self.introducer.poll_action() else { return };
            self.act(action, now);
        }
    }

    fn handle_event(&mut self, event: QuicEvent, now: Time) {
        match event {
            QuicEvent::Connected { id, peer, remote } => {
                let connection = ConnectionId(id.number());
                self.ids.insert(id.number(), id);
                self.introducer.handle_connected(connection, peer, remote, now);
            }
            QuicEvent::Message { id, body } => {
                let unix = self.clock.unix_micros(now) / 1_000_000;
                self.introducer.handle_message(ConnectionId(id.number()), &body, now, unix);
            }
            QuicEvent::Moved { id, remote } => self.introducer.handle_moved(ConnectionId(id.number()), remote),
            QuicEvent::Closed { id, code, reason } => {
                tracing::debug!(id = id.number(), reason, "control connection closed");
                self.ids.remove(&id.number());
                let reason = if code == Some(Close::Leaving) { LeftReason::Left } else { LeftReason::Lost };
                self.introducer.handle_disconnected(ConnectionId(id.number()), reason);
            }
            QuicEvent::Answer { .. } | QuicEvent::Datagram { .. } => {}
        }
    }

    fn act(&mut self, action: Action, now: Time) {
        match action {
            Action::Tell(ConnectionId(number), message) => {
                if let Some(id) = self.ids.get(&number) {
                    self.quic.tell(*id, message, now);
                }
            }
            Action::Close(ConnectionId(number), code, reason) => {
                if let Some(id) = self.ids.remove(&number) {
                    self.quic.close(id, code, &reason, now);
                }
            }
            Action::Bind(session, side, address) => {
                if let Some(relay) = &mut self.relay
                    && let Err(reason) = relay.bind(session, side, address, now)
                {
                    tracing::warn!(reason = reason.as_str(), "no relay session for a new pair");
                }
            }
            Action::Unbind(session) => {
                if let Some(relay) = &mut self.relay {
                    relay.unbind(session);
                }
            }
        }
    }

    /// Closes every connection; call [`Self::poll_transmit`] until nothing is left to send.
    pub fn shut_down(&mut self, now: Time) {
        for id in std::mem::take(&mut self.ids).into_values() {
            self.quic.close(id, Close::Shutdown, "the rendezvous is shut down", now);
        }
    }
}

/// Decides about a stranger's first packet: few handshakes at a time are served at once, more must prove their address,
/// too many are not even answered, and an address that begins too many is refused.
fn admit(
    remote: SocketAddr,
    is_validated: bool,
    handshaking: usize,
    limits: &Limits,
    handshakes: &mut BTreeMap<(IpAddr, bool), Bucket>,
    counts: &mut RendezvousStats,
    now: Time,
) -> Admission {
    if handshaking >= limits.handshakes {
        counts.ignored += 1;
        return Admission::Ignore;
    }
    if !is_validated && handshaking >= limits.handshakes_unproven {
        counts.retried += 1;
        return Admission::Retry;
    }
    let rate = limits.handshakes_per_minute;
    if handshakes.len() >= MAX_ADDRESS_BUCKETS {
        handshakes.retain(|_, bucket| !bucket.holds(rate * 60, now));
    }
    // What is only claimed to come from an address must not use up what that address has proven.
    let block = (block_of(remote.ip()), is_validated);
    // Too many addresses to count: whoever forges them gets no further than the proof, whoever has one may pass.
    if handshakes.len() >= MAX_ADDRESS_BUCKETS && !handshakes.contains_key(&block) {
        return if is_validated { Admission::Accept } else { Admission::Retry };
    }
    let bucket = handshakes.entry(block).or_insert_with(|| Bucket::new(rate, rate * 60, now));
    // A bucket counts by the second: sixty of its units are one handshake a minute.
    if bucket.take(60, now) {
        return Admission::Accept;
    }
    if is_validated {
        counts.refused += 1;
        return Admission::Refuse;
    }
    counts.retried += 1;
    Admission::Retry
}

/// What is counted as one address: an IPv4 address, an IPv6 /56.
fn block_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) if Synthetic::of(SocketAddr::new(ip, 1)).is_none() => {
            IpAddr::V6((v6.to_bits() >> 72 << 72).into())
        }
        IpAddr::V6(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::params::STUN_REQUEST_LEN;
    use crate::units::SessionId;
    use crate::wire::relay::{Header, Side};
    use crate::wire::stun::TransactionId;

    #[test]
    fn a_question_behind_a_relayed_packet_in_one_batch_is_answered() {
        let mut rendezvous = rendezvous();
        let relay = rendezvous.relay.as_mut().unwrap();
        relay.bind(SESSION, Side::First, ALICE, Time::ZERO).unwrap();
        relay.bind(SESSION, Side::Second, BOB, Time::ZERO).unwrap();
        let mut data = Header::data(SESSION, 0).to_bytes().to_vec();
        data.resize(STUN_REQUEST_LEN, 0xee);
        let question = stun::encode_request(TransactionId([1; 12]), None, ChangeRequest::None);
        let batch = [&data[..], &question].concat();
        let mut forwarded = Vec::new();
        let forward = |bytes: &[u8], to| forwarded.push((bytes.to_vec(), to));
        rendezvous.handle_batch((Port::Main, ALICE), None, &batch, STUN_REQUEST_LEN, Time::ZERO, forward);
        assert_eq!(forwarded, [(data, BOB)]);
        let answer = rendezvous.poll_transmit(&mut Vec::new(), 1, Time::ZERO);
        assert_eq!(answer.map(|answer| answer.to), Some(ALICE));
    }

    fn rendezvous() -> RendezvousMachine {
        let config = RendezvousMachineConfig {
            identity: Arc::new(Identity::generate().unwrap()),
            limits: Limits::default(),
            relays: Vec::new(),
            is_relay: true,
            stun_alternate: None,
            seed: [7; 32],
        };
        RendezvousMachine::new(config, Clock::start())
    }

    const SESSION: SessionId = SessionId(7);
    const ALICE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1000);
    const BOB: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 2000);
    #[test]
    fn an_address_begins_as_many_handshakes_in_a_minute_as_allowed_and_then_must_prove_itself() {
        let mut gate = Gate::new(|limits| limits.handshakes_per_minute = 3);
        let admitted: Vec<Admission> = (0..4).map(|_| gate.admit("203.0.113.1:1", false, 0)).collect();
        assert_eq!(admitted, [Admission::Accept, Admission::Accept, Admission::Accept, Admission::Retry]);
        assert_eq!(gate.admit("203.0.113.2:1", false, 0), Admission::Accept, "others are not concerned");
        gate.now += Duration::from_secs(20);
        assert_eq!(gate.admit("203.0.113.1:1", false, 0), Admission::Accept);
    }

    #[test]
    fn who_forges_an_address_does_not_use_up_what_its_owner_may_begin() {
        let mut gate = Gate::new(|limits| limits.handshakes_per_minute = 2);
        for _ in 0..100 {
            gate.admit("203.0.113.1:1", false, 0);
        }
        let proven: Vec<Admission> = (0..3).map(|_| gate.admit("203.0.113.1:1", true, 0)).collect();
        assert_eq!(proven, [Admission::Accept, Admission::Accept, Admission::Refuse]);
    }

    #[test]
    fn few_handshakes_are_begun_at_once_more_must_prove_their_address_and_too_many_are_ignored() {
        let mut gate = Gate::new(|limits| (limits.handshakes_unproven, limits.handshakes) = (2, 4));
        let of = |gate: &mut Gate, handshaking| {
            [false, true].map(|is_validated| gate.admit("203.0.113.1:1", is_validated, handshaking))
        };
        assert_eq!(of(&mut gate, 1), [Admission::Accept, Admission::Accept]);
        assert_eq!(of(&mut gate, 2), [Admission::Retry, Admission::Accept]);
        assert_eq!(of(&mut gate, 3), [Admission::Retry, Admission::Accept]);
        assert_eq!(of(&mut gate, 4), [Admission::Ignore, Admission::Ignore]);
    }

    #[test]
    fn an_ipv6_site_counts_as_one_address() {
        let mut gate = Gate::new(|limits| limits.handshakes_per_minute = 1);
        assert_eq!(gate.admit("[2001:db8:0:1::1]:1", true, 0), Admission::Accept);
        assert_eq!(gate.admit("[2001:db8:0:ff::2]:1", true, 0), Admission::Refuse);
        assert_eq!(gate.admit("[2001:db8:0:100::2]:1", true, 0), Admission::Accept);
    }

    #[test]
    fn addresses_are_counted_in_bounded_memory() {
        let mut gate = Gate::new(|_| {});
        for nth in 0..u32::try_from(MAX_ADDRESS_BUCKETS).unwrap() + 1000 {
            let ip = std::net::Ipv4Addr::from(0x0100_0000 + nth);
            gate.admit(&format!("{ip}:1"), true, 0);
            assert!(gate.handshakes.len() <= MAX_ADDRESS_BUCKETS);
        }
    }

    struct Gate {
        limits: Limits,
        handshakes: BTreeMap<(IpAddr, bool), Bucket>,
        counts: RendezvousStats,
        now: Time,
    }

    impl Gate {
        fn new(change: impl FnOnce(&mut Limits)) -> Self {
            let mut limits = Limits::default();
            change(&mut limits);
            Gate { limits, handshakes: BTreeMap::new(), counts: RendezvousStats::default(), now: Time::ZERO }
        }

        fn admit(&mut self, from: &str, is_validated: bool, handshaking: usize) -> Admission {
            let from = from.parse().unwrap();
            admit(from, is_validated, handshaking, &self.limits, &mut self.handshakes, &mut self.counts, self.now)
        }
    }
}
