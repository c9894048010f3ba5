//! The relay: carries what two peers say to each other without reading it, and nothing else.
//!
//! Datagrams go in with the address they came from, [`Verdict`]s come out. A packet passes only between the two
//! addresses of one session, and an address enters a session only after it has shown that it receives what is sent to
//! it. Until then the relay keeps no state, and it never says more than it was told.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hmac::Mac;

use crate::bucket::Bucket;
use crate::params::{RELAY_BURST, RELAY_COOKIE_LIFE, RELAY_IDLE, RELAY_SESSION_RATE, RELAY_SESSIONS, RELAY_TOTAL_RATE};
use crate::trust::hmac_sha256;
use crate::units::{Bitrate, SessionId, Time};
use crate::wire::relay::{
    COOKIE_LEN, Cookie, Header, Kind, RelayKey, RelayPacket, RelayToken, Side, decode, encode, runs,
};

/// How much a relay may carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RelayLimits {
    /// Sessions at the same time.
    pub sessions: usize,
    /// Both directions of one session together.
    pub session_rate: Bitrate,
    /// All sessions together.
    pub total_rate: Bitrate,
}

impl Default for RelayLimits {
    fn default() -> Self {
        RelayLimits { sessions: RELAY_SESSIONS, session_rate: RELAY_SESSION_RATE, total_rate: RELAY_TOTAL_RATE }
    }
}

/// What is to be done with a datagram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Send the run as it is.
    Forward {
        /// The other side of its session.
        to: SocketAddr,
    },
    /// Send these bytes instead.
    Answer(Vec<u8>, SocketAddr),
    /// Nothing; it has been counted.
    Drop(DropReason),
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum DropReason {
    /// No relay packet, or one that only a relay sends.
    Malformed,
    /// No such session, or it was idle for too long.
    NoSession,
    /// The session does not know the sender's address.
    Unbound,
    /// The session does not know the other side yet.
    HalfOpen,
    /// The session carries too much.
    SessionRate,
    /// All sessions together carry too much.
    TotalRate,
    /// The introducer did not make this token.
    BadToken,
    /// The token came too late.
    ExpiredToken,
    /// The sender does not receive at the address it claims, or answers too late.
    BadCookie,
    /// There are too many sessions.
    Full,
}

impl DropReason {
    /// The reason as a label of a counter.
    pub const fn as_str(self) -> &'static str {
        match self {
            DropReason::Malformed => "malformed",
            DropReason::NoSession => "no_session",
            DropReason::Unbound => "unbound",
            DropReason::HalfOpen => "half_open",
            DropReason::SessionRate => "session_rate",
            DropReason::TotalRate => "total_rate",
            DropReason::BadToken => "bad_token",
            DropReason::ExpiredToken => "expired_token",
            DropReason::BadCookie => "bad_cookie",
            DropReason::Full => "full",
        }
    }
}

/// What a relay has done since it started.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RelayStats {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded, headers included.
    pub bytes: u64,
    /// Times something was forwarded: packets over batches is how well GRO and GSO do.
    pub batches: u64,
    /// Challenges and confirmations sent.
    pub answers: u64,
    /// Datagrams dropped.
    pub drops: BTreeMap<DropReason, u64>,
}

/// All sessions of one relay.
#[derive(Debug)]
pub struct Relay {
    key: RelayKey,
    cookie_key: [u8; 32],
    limits: RelayLimits,
    sessions: BTreeMap<SessionId, Session>,
    total: Bucket,
    swept: Time,
    stats: RelayStats,
}

impl Relay {
    /// A relay for those who hold tokens made with `key`. `seed` must be secret: it makes the cookies.
    pub fn new(key: RelayKey, limits: RelayLimits, seed: [u8; 32]) -> Self {
        Relay {
            key,
            cookie_key: seed,
            limits,
            sessions: BTreeMap::new(),
            total: bucket(limits.total_rate, Time::ZERO),
            swept: Time::ZERO,
            stats: RelayStats::default(),
        }
    }

    /// Gives `side` of `session` the address `from`, which somebody has validated. A later call moves the peer.
    ///
    /// # Errors
    /// [`DropReason::Full`] when there are too many sessions.
    pub fn bind(&mut self, session: SessionId, side: Side, from: SocketAddr, now: Time) -> Result<(), DropReason> {
        if !self.sessions.contains_key(&session) {
            if self.sessions.len() >= self.limits.sessions {
                self.sweep(now);
            }
            if self.sessions.len() >= self.limits.sessions {
                return Err(DropReason::Full);
            }
        }
        let rate = self.limits.session_rate;
        let session = self.sessions.entry(session).or_insert_with(|| Session::new(rate, now));
        session.active = now;
        *session.end(side) = Some(from);
        Ok(())
    }

    /// Ends a session.
    pub fn unbind(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// Decides about one datagram, or about a batch of equal ones of `segment` bytes of which the last may be shorter.
    /// `act` is called with each of its [`runs`]: a batch of one session is a single run.
    pub fn handle_batch(
        &mut self,
        now: Time,
        now_unix_s: u64,
        from: SocketAddr,
        batch: &[u8],
        segment: usize,
        mut act: impl FnMut(&[u8], Verdict),
    ) {
        for run in runs(batch, segment) {
            act(run, self.handle_run(now, now_unix_s, from, run, segment));
        }
    }

    /// Forgets sessions that were idle for too long.
    pub fn handle_timeout(&mut self, now: Time) {
        if now >= self.swept + RELAY_IDLE {
            self.sweep(now);
        }
    }

    /// When to call [`Relay::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Time> {
        (!self.sessions.is_empty()).then(|| self.swept + RELAY_IDLE)
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// What was carried, answered and dropped so far.
    pub fn stats(&self) -> &RelayStats {
        &self.stats
    }

    fn handle_run(&mut self, now: Time, now_unix_s: u64, from: SocketAddr, run: &[u8], segment: usize) -> Verdict {
        let verdict = match Header::split(run) {
            Some((header, _)) if header.kind == Kind::Data => self.forward(now, header.session, from, run, segment),
            Some(_) => self.answer(now, now_unix_s, from, run),
            None => Err(DropReason::Malformed),
        };
        verdict.unwrap_or_else(|reason| {
            *self.stats.drops.entry(reason).or_default() += 1;
            Verdict::Drop(reason)
        })
    }

    fn forward(
        &mut self,
        now: Time,
        id: SessionId,
        from: SocketAddr,
        bytes: &[u8],
        segment: usize,
    ) -> Result<Verdict, DropReason> {
        let session =
            self.sessions.get_mut(&id).filter(|session| session.is_alive(now)).ok_or(DropReason::NoSession)?;
        let to = session.opposite(from)?;
        let len = bytes.len() as u64;
        if !self.total.holds(len, now) {
            return Err(DropReason::TotalRate);
        }
        if !session.bucket.take(len, now) {
            return Err(DropReason::SessionRate);
        }
        self.total.take(len, now);
        session.active = now;
        self.stats.packets += if segment == 0 { 1 } else { bytes.len().div_ceil(segment) as u64 };
        self.stats.bytes += len;
        self.stats.batches += 1;
        Ok(Verdict::Forward { to })
    }

    fn answer(&mut self, now: Time, now_unix_s: u64, from: SocketAddr, bytes: &[u8]) -> Result<Verdict, DropReason> {
        let (header, packet) = decode(bytes).map_err(|_| DropReason::Malformed)?;
        let answer = match packet {
            RelayPacket::Bind(token) => {
                self.check_token(&token, header, now_unix_s)?;
                RelayPacket::Challenge(self.cookie(from, cookie_age(now)))
            }
            RelayPacket::Answer(token, cookie) => {
                self.check_cookie(&cookie, from, now)?;
                self.check_token(&token, header, now_unix_s)?;
                self.bind(token.session, token.side, from, now)?;
                RelayPacket::Bound
            }
            RelayPacket::Data(_) | RelayPacket::Challenge(_) | RelayPacket::Bound => return Err(DropReason::Malformed),
        };
        self.stats.answers += 1;
        Ok(Verdict::Answer(encode(header.flags, header.epoch, header.session, &answer), from))
    }

    fn check_token(&self, token: &RelayToken, header: Header, now_unix_s: u64) -> Result<(), DropReason> {
        if token.session != header.session || !self.key.made(token) {
            return Err(DropReason::BadToken);
        }
        if now_unix_s > token.expiry_unix_s {
            return Err(DropReason::ExpiredToken);
        }
        Ok(())
    }

    /// A cookie serves in the span of time it was made in and in the next.
    fn check_cookie(&self, cookie: &Cookie, from: SocketAddr, now: Time) -> Result<(), DropReason> {
        let age = cookie_age(now);
        let is_ours = [Some(age), age.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|age| self.cookie_mac(from, age).verify_truncated_left(cookie).is_ok());
        if is_ours { Ok(()) } else { Err(DropReason::BadCookie) }
    }

    fn cookie(&self, from: SocketAddr, age: u64) -> Cookie {
        let mac: [u8; 32] = self.cookie_mac(from, age).finalize().into_bytes().into();
        let mut cookie = [0; COOKIE_LEN];
        cookie.copy_from_slice(&mac[..COOKIE_LEN]);
        cookie
    }

    fn cookie_mac(&self, from: SocketAddr, age: u64) -> hmac::Hmac<sha2::Sha256> {
        let ip = match from.ip().to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        hmac_sha256(&self.cookie_key)
            .chain_update(b"meipo 1 relay cookie")
            .chain_update(ip.octets())
            .chain_update(from.port().to_be_bytes())
            .chain_update(age.to_be_bytes())
    }

    fn sweep(&mut self, now: Time) {
        self.sessions.retain(|_, session| session.is_alive(now));
        self.swept = now;
    }
}

#[derive(Debug)]
struct Session {
    first: Option<SocketAddr>,
    second: Option<SocketAddr>,
    active: Time,
    bucket: Bucket,
}

impl Session {
    fn new(rate: Bitrate, now: Time) -> Self {
        Session { first: None, second: None, active: now, bucket: bucket(rate, now) }
    }

    fn end(&mut self, side: Side) -> &mut Option<SocketAddr> {
        match side {
            Side::First => &mut self.first,
            Side::Second => &mut self.second,
        }
    }

    /// Where a packet from `from` goes.
    fn opposite(&self, from: SocketAddr) -> Result<SocketAddr, DropReason> {
        let to = if self.first == Some(from) {
            self.second
        } else if self.second == Some(from) {
            self.first
        } else {
            return Err(DropReason::Unbound);
        };
        to.ok_or(DropReason::HalfOpen)
    }

    fn is_alive(&self, now: Time) -> bool {
        now.since(self.active) <= RELAY_IDLE
    }
}

/// A bucket that lets the largest batch pass whatever the rate is.
fn bucket(rate: Bitrate, now: Time) -> Bucket {
    let burst = rate.bytes_in(RELAY_BURST).max(u64::from(u16::MAX));
    Bucket::new(rate.bytes_in(Duration::from_secs(1)), burst, now)
}

fn cookie_age(now: Time) -> u64 {
    now.since(Time::ZERO).as_secs() / RELAY_COOKIE_LIFE.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_packet_passes_between_the_two_sides_of_its_session() {
        let mut relay = open();
        assert_eq!(relay.send(ALICE, &data(SESSION, 1200)), Verdict::Forward { to: BOB });
        assert_eq!(relay.send(BOB, &data(SESSION, 1200)), Verdict::Forward { to: ALICE });
    }

    #[test]
    fn a_stranger_who_knows_the_session_gets_nothing_through() {
        let mut relay = open();
        assert_eq!(relay.send(MALLORY, &data(SESSION, 1200)), Verdict::Drop(DropReason::Unbound));
    }

    #[test]
    fn a_packet_waits_for_nobody() {
        let mut relay = World::new();
        relay.machine.bind(SESSION, Side::First, ALICE, Time::ZERO).unwrap();
        assert_eq!(relay.send(ALICE, &data(SESSION, 99)), Verdict::Drop(DropReason::HalfOpen));
        assert_eq!(relay.send(ALICE, &data(SessionId(8), 99)), Verdict::Drop(DropReason::NoSession));
    }

    #[test]
    fn a_peer_takes_its_place_by_answering_a_challenge() {
        let mut relay = World::new();
        relay.join(ALICE, Side::First);
        relay.join(BOB, Side::Second);
        assert_eq!(relay.send(ALICE, &data(SESSION, 99)), Verdict::Forward { to: BOB });
    }

    #[test]
    fn a_bind_alone_leaves_no_state() {
        let mut relay = World::new();
        relay.challenge(ALICE, Side::First);
        assert_eq!(relay.machine.sessions(), 0);
    }

    #[test]
    fn a_cookie_serves_only_the_address_it_was_sent_to() {
        let mut relay = World::new();
        let cookie = relay.challenge(ALICE, Side::First);
        let answer = encode(0, 0, SESSION, &RelayPacket::Answer(token(Side::First), cookie));
        assert_eq!(relay.send(MALLORY, &answer), Verdict::Drop(DropReason::BadCookie));
        assert_eq!(relay.machine.sessions(), 0);
    }

    #[test]
    fn an_old_cookie_serves_no_more() {
        let mut relay = World::new();
        let cookie = relay.challenge(ALICE, Side::First);
        let answer = encode(0, 0, SESSION, &RelayPacket::Answer(token(Side::First), cookie));
        relay.now += RELAY_COOKIE_LIFE * 2;
        assert_eq!(relay.send(ALICE, &answer), Verdict::Drop(DropReason::BadCookie));
    }

    #[test]
    fn a_forged_or_expired_token_is_not_answered() {
        let mut relay = World::new();
        let forged = RelayKey::from_bytes([9; 32]).token(SESSION, Side::First, EXPIRY);
        assert_eq!(relay.send(ALICE, &bind(forged)), Verdict::Drop(DropReason::BadToken));
        let expired = KEY.token(SESSION, Side::First, UNIX_NOW - 1);
        assert_eq!(relay.send(ALICE, &bind(expired)), Verdict::Drop(DropReason::ExpiredToken));
    }

    #[test]
    fn a_new_bind_moves_a_peer() {
        let mut relay = open();
        relay.join(MALLORY, Side::First);
        assert_eq!(relay.send(BOB, &data(SESSION, 99)), Verdict::Forward { to: MALLORY });
        assert_eq!(relay.send(ALICE, &data(SESSION, 99)), Verdict::Drop(DropReason::Unbound));
    }

    #[test]
    fn a_batch_of_one_session_is_forwarded_whole() {
        let mut relay = open();
        let batch = [data(SESSION, 1000), data(SESSION, 1000), data(SESSION, 400)].concat();
        assert_eq!(relay.send_batch(ALICE, &batch, 1000), [Verdict::Forward { to: BOB }]);
        let stats = relay.machine.stats();
        assert_eq!((stats.packets, stats.bytes, stats.batches), (3, 2400, 1));
    }

    #[test]
    fn each_session_of_a_batch_is_decided_about_by_itself() {
        let mut relay = open();
        let batch = [data(SESSION, 1000), data(SessionId(8), 1000)].concat();
        let verdicts = relay.send_batch(ALICE, &batch, 1000);
        assert_eq!(verdicts, [Verdict::Forward { to: BOB }, Verdict::Drop(DropReason::NoSession)]);
    }

    #[test]
    fn a_session_carries_its_rate_and_no_more() {
        let mut relay = open();
        let mut carried = 0;
        for _ in 0..10_000 {
            relay.now += Duration::from_millis(1);
            if relay.send(ALICE, &data(SESSION, 1200)) == (Verdict::Forward { to: BOB }) {
                carried += 1200;
            }
        }
        let expected = RELAY_SESSION_RATE.bytes_in(Duration::from_secs(10) + RELAY_BURST);
        assert!((expected - 2400..=expected).contains(&carried), "{carried} of {expected} bytes");
        assert!(relay.machine.stats().drops[&DropReason::SessionRate] > 1000);
    }

    #[test]
    fn all_sessions_share_the_total_rate() {
        let limits = RelayLimits { total_rate: Bitrate::from_kilobits(100), ..RelayLimits::default() };
        let mut relay = World::with(limits);
        relay.open();
        let verdicts: Vec<Verdict> = (0..60).map(|_| relay.send(ALICE, &data(SESSION, 1200))).collect();
        assert_eq!(verdicts[0], Verdict::Forward { to: BOB });
        assert_eq!(verdicts[59], Verdict::Drop(DropReason::TotalRate));
    }

    #[test]
    fn an_idle_session_is_forgotten() {
        let mut relay = open();
        relay.now += RELAY_IDLE + Duration::from_micros(1);
        assert_eq!(relay.send(ALICE, &data(SESSION, 99)), Verdict::Drop(DropReason::NoSession));
        assert!(relay.machine.poll_timeout().unwrap() <= relay.now);
        relay.machine.handle_timeout(relay.now);
        assert_eq!((relay.machine.sessions(), relay.machine.poll_timeout()), (0, None));
    }

    #[test]
    fn a_full_relay_takes_a_new_session_when_an_old_one_is_idle() {
        let mut relay = World::with(RelayLimits { sessions: 1, ..RelayLimits::default() });
        relay.open();
        let other = SessionId(8);
        assert_eq!(relay.machine.bind(other, Side::First, ALICE, relay.now), Err(DropReason::Full));
        relay.now += RELAY_IDLE + Duration::from_secs(1);
        assert_eq!(relay.machine.bind(other, Side::First, ALICE, relay.now), Ok(()));
    }

    #[test]
    fn an_ended_session_carries_nothing() {
        let mut relay = open();
        relay.machine.unbind(SESSION);
        assert_eq!(relay.send(ALICE, &data(SESSION, 99)), Verdict::Drop(DropReason::NoSession));
    }

    #[test]
    fn what_only_a_relay_sends_is_dropped() {
        let mut relay = open();
        for packet in [RelayPacket::Challenge([0; 16]), RelayPacket::Bound] {
            assert_eq!(relay.send(ALICE, &encode(0, 0, SESSION, &packet)), Verdict::Drop(DropReason::Malformed));
        }
    }

    proptest! {
        #[test]
        fn nothing_from_an_unbound_address_is_ever_forwarded(
            kind in 0x0f_u8..0x15,
            session in 6_u32..9,
            rest in prop::collection::vec(any::<u8>(), 0..200),
            segment in 0_usize..80,
        ) {
            let mut relay = open();
            let bytes = [&[kind, 0, 0, 0][..], &session.to_be_bytes(), &rest].concat();
            for verdict in relay.send_batch(MALLORY, &bytes, segment) {
                prop_assert!(matches!(verdict, Verdict::Drop(_)), "{:?}", verdict);
            }
        }

        #[test]
        fn no_answer_is_longer_than_its_question_or_goes_elsewhere(
            is_bind: bool,
            cut in 0_usize..80,
            flip in 0_usize..64,
            with: u8,
        ) {
            let mut relay = World::new();
            let cookie = relay.machine.cookie(ALICE, 0);
            let mut bytes = if is_bind {
                bind(token(Side::First))
            } else {
                encode(0, 0, SESSION, &RelayPacket::Answer(token(Side::First), cookie))
            };
            bytes[flip] ^= with;
            bytes.truncate(cut);
            if let Verdict::Answer(answer, to) = relay.send(ALICE, &bytes) {
                prop_assert!(answer.len() <= bytes.len());
                prop_assert_eq!(to, ALICE);
            }
        }
    }

    /// A relay and the time.
    struct World {
        machine: Relay,
        now: Time,
    }

    impl World {
        fn new() -> Self {
            World::with(RelayLimits::default())
        }

        fn with(limits: RelayLimits) -> Self {
            World { machine: Relay::new(KEY, limits, [1; 32]), now: Time::ZERO }
        }

        fn open(&mut self) {
            self.machine.bind(SESSION, Side::First, ALICE, self.now).unwrap();
            self.machine.bind(SESSION, Side::Second, BOB, self.now).unwrap();
        }

        fn send(&mut self, from: SocketAddr, bytes: &[u8]) -> Verdict {
            self.send_batch(from, bytes, bytes.len()).pop().unwrap_or(Verdict::Drop(DropReason::Malformed))
        }

        fn send_batch(&mut self, from: SocketAddr, batch: &[u8], segment: usize) -> Vec<Verdict> {
            let mut verdicts = Vec::new();
            self.machine.handle_batch(self.now, UNIX_NOW, from, batch, segment, |_, verdict| verdicts.push(verdict));
            verdicts
        }

        fn challenge(&mut self, from: SocketAddr, side: Side) -> Cookie {
            let Verdict::Answer(bytes, to) = self.send(from, &bind(token(side))) else {
                panic!("a good token is challenged");
            };
            assert_eq!(to, from);
            let Ok((_, RelayPacket::Challenge(cookie))) = decode(&bytes) else {
                panic!("a challenge is the answer to a BIND");
            };
            cookie
        }

        fn join(&mut self, from: SocketAddr, side: Side) {
            let cookie = self.challenge(from, side);
            let answer = encode(5, 6, SESSION, &RelayPacket::Answer(token(side), cookie));
            let bound = encode(5, 6, SESSION, &RelayPacket::Bound);
            assert_eq!(self.send(from, &answer), Verdict::Answer(bound, from));
        }
    }

    fn open() -> World {
        let mut world = World::new();
        world.open();
        world
    }

    fn token(side: Side) -> RelayToken {
        KEY.token(SESSION, side, EXPIRY)
    }

    fn bind(token: RelayToken) -> Vec<u8> {
        encode(0, 0, SESSION, &RelayPacket::Bind(token))
    }

    fn data(session: SessionId, len: usize) -> Vec<u8> {
        let mut bytes = Header::data(session, 0).to_bytes().to_vec();
        bytes.resize(len, 0xee);
        bytes
    }

    const KEY: RelayKey = RelayKey::from_bytes([3; 32]);
    const SESSION: SessionId = SessionId(7);
    const UNIX_NOW: u64 = 1_900_000_000;
    const EXPIRY: u64 = UNIX_NOW + 60;
    const ALICE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1000);
    const BOB: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 2000);
    const MALLORY: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3)), 3000);
}
