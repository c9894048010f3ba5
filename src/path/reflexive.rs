//! Our address as further STUN servers see it (RFC 8489): where the rendezvous stands inside the same network as we do, what
//! it sees is of no use to those outside.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::params::{DISCOVERY_ATTEMPTS, DISCOVERY_INTERVAL};
use crate::path::candidate::canonical;
use crate::units::Time;
use crate::wire::control::{Candidate, CandidateKind};
use crate::wire::stun::{self, Class, Stun, TransactionId};

/// Asks each server until it has answered, or has been asked often enough.
#[derive(Debug)]
pub struct Reflexives {
    servers: Vec<Server>,
    rng: ChaCha8Rng,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    asked: Option<TransactionId>,
    attempts: u32,
    next: Option<Time>,
    seen: Option<SocketAddr>,
}

impl Reflexives {
    /// Nobody has been asked.
    pub fn new(servers: &[SocketAddr], seed: u64) -> Self {
        let server = |address: &SocketAddr| Server {
            address: canonical(*address),
            asked: None,
            attempts: 0,
            next: None,
            seen: None,
        };
        Reflexives { servers: servers.iter().map(server).collect(), rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Asks all anew: the network is another one.
    pub fn start(&mut self, now: Time) {
        for server in &mut self.servers {
            (server.attempts, server.next) = (0, Some(now));
        }
    }

    /// Requests that are due, and where to.
    pub fn handle_timeout(&mut self, now: Time) -> Vec<(SocketAddr, Vec<u8>)> {
        let rng = &mut self.rng;
        let due = self.servers.iter_mut().filter(|server| server.next.is_some_and(|next| next <= now));
        let ask = |server: &mut Server| {
            let mut id = [0; 12];
            rng.fill_bytes(&mut id);
            server.asked = Some(TransactionId(id));
            server.attempts += 1;
            server.next = (server.attempts < DISCOVERY_ATTEMPTS).then_some(now + DISCOVERY_INTERVAL);
            (server.address, stun::encode_plain_request(TransactionId(id)))
        };
        due.map(ask).collect()
    }

    /// A STUN response; whether it says something new.
    pub fn handle_response(&mut self, message: &Stun) -> bool {
        let Class::Response { mapped, .. } = message.class else { return false };
        let Some(server) = self.servers.iter_mut().find(|server| server.asked == Some(message.transaction)) else {
            return false;
        };
        server.next = None;
        server.seen.replace(canonical(mapped)) != Some(canonical(mapped))
    }

    /// Where we were seen, each place once.
    pub fn candidates(&self) -> Vec<Candidate> {
        let seen: BTreeSet<SocketAddr> = self.servers.iter().filter_map(|server| server.seen).collect();
        seen.into_iter().map(|address| Candidate { kind: CandidateKind::Reported, address }).collect()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.servers.iter().filter_map(|server| server.next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVERS: [&str; 2] = ["192.0.2.1:3478", "192.0.2.2:3478"];

    fn reflexives() -> Reflexives {
        let servers: Vec<SocketAddr> = SERVERS.iter().map(|server| server.parse().unwrap()).collect();
        let mut reflexives = Reflexives::new(&servers, 1);
        reflexives.start(Time::ZERO);
        reflexives
    }

    fn answer(request: &[u8], seen: &str) -> Stun {
        let id = stun::decode(request).unwrap().transaction;
        let response = stun::encode_response(id, seen.parse().unwrap(), None, None, 1000).unwrap();
        stun::decode(&response).unwrap()
    }

    #[test]
    fn what_a_server_saw_is_a_candidate_once() {
        let mut reflexives = reflexives();
        for (_, request) in reflexives.handle_timeout(Time::ZERO) {
            reflexives.handle_response(&answer(&request, "203.0.113.7:4000"));
        }
        let address = "203.0.113.7:4000".parse().unwrap();
        assert_eq!(reflexives.candidates(), [Candidate { kind: CandidateKind::Reported, address }]);
        assert_eq!(reflexives.poll_timeout(), None);
    }

    #[test]
    fn a_silent_server_is_asked_a_few_times_and_again_on_another_network() {
        let mut reflexives = reflexives();
        let mut asked = 0;
        while let Some(at) = reflexives.poll_timeout() {
            asked += reflexives.handle_timeout(at).len();
        }
        assert_eq!(asked, SERVERS.len() * DISCOVERY_ATTEMPTS as usize);
        reflexives.start(Time::from_millis(5000));
        assert_eq!(reflexives.handle_timeout(Time::from_millis(5000)).len(), SERVERS.len());
    }

    #[test]
    fn the_answer_to_another_question_is_not_believed() {
        let mut reflexives = reflexives();
        reflexives.handle_timeout(Time::ZERO);
        let forged = answer(&stun::encode_plain_request(TransactionId([9; 12])), "203.0.113.66:1");
        assert!(!reflexives.handle_response(&forged));
        assert!(reflexives.candidates().is_empty());
    }
}
