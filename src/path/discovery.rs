//! How our NAT maps, learned by asking two addresses where they see us (RFC 5780 §4.3).
//!
//! The rendezvous says at the welcome where it sees us; the same question to its second address, right after one to the
//! first, tells whether the port depends on the destination and whether it merely counts on.

use std::net::SocketAddr;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::params::{DISCOVERY_ATTEMPTS, DISCOVERY_INTERVAL, MAX_SEQUENTIAL_STEP};
use crate::path::candidate::canonical;
use crate::units::Time;
use crate::wire::control::Mapping;
use crate::wire::stun::{self, ChangeRequest, Class, Stun, TransactionId};

/// Asks two servers for our address, until both have answered or it has been asked often enough.
#[derive(Debug)]
pub struct Discovery {
    servers: [Server; 2],
    attempts: u32,
    next: Option<Time>,
    mapping: Mapping,
    rng: ChaCha8Rng,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    asked: Option<TransactionId>,
    seen: Option<SocketAddr>,
}

impl Discovery {
    /// A discovery through two addresses of one server, that begins at once.
    pub fn new(first: SocketAddr, second: SocketAddr, seed: u64, now: Time) -> Self {
        let server = |address| Server { address, asked: None, seen: None };
        Discovery {
            servers: [server(first), server(second)],
            attempts: 0,
            next: Some(now),
            mapping: Mapping::Unknown,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Requests that are due, in the order to send them, and where to.
    pub fn handle_timeout(&mut self, now: Time) -> Vec<(SocketAddr, Vec<u8>)> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        self.attempts += 1;
        self.next = (self.attempts < DISCOVERY_ATTEMPTS).then_some(now + DISCOVERY_INTERVAL);
        let rng = &mut self.rng;
        let ask = |server: &mut Server| {
            let mut id = [0; 12];
            rng.fill_bytes(&mut id);
            server.asked = Some(TransactionId(id));
            (server.address, stun::encode_request(TransactionId(id), None, ChangeRequest::None))
        };
        self.servers.iter_mut().map(ask).collect()
    }

    /// A STUN response; whether it changed what is known of the mapping.
    pub fn handle_response(&mut self, message: &Stun) -> bool {
        let Class::Response { mapped, .. } = message.class else {
            return false;
        };
        let Some(server) = self.servers.iter_mut().find(|server| server.asked == Some(message.transaction)) else {
            return false;
        };
        server.seen = Some(canonical(mapped));
        let [Server { seen: Some(first), .. }, Server { seen: Some(second), .. }] = &self.servers else {
            return false;
        };
        let mapping = classify(*first, *second);
        self.next = None;
        std::mem::replace(&mut self.mapping, mapping) != mapping
    }

    /// Where the first server sees us, once both have answered.
    pub fn seen(&self) -> Option<SocketAddr> {
        let [first, second] = &self.servers;
        first.seen.filter(|_| second.seen.is_some())
    }

    /// How our NAT maps, as far as it is known.
    pub fn mapping(&self) -> Mapping {
        self.mapping
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.next
    }
}

/// What two sightings, the second right after the first, say about the mapping.
fn classify(first: SocketAddr, second: SocketAddr) -> Mapping {
    if first == second {
        return Mapping::EndpointIndependent;
    }
    let step = i32::from(second.port()) - i32::from(first.port());
    match i8::try_from(step) {
        Ok(step) if first.ip() == second.ip() && step.unsigned_abs() <= MAX_SEQUENTIAL_STEP => {
            Mapping::Sequential { step }
        }
        Ok(_) | Err(_) => Mapping::Dependent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovery() -> Discovery {
        let first = "198.51.100.1:1935".parse().unwrap();
        let second = "198.51.100.2:1936".parse().unwrap();
        Discovery::new(first, second, 1, Time::ZERO)
    }

    fn learned(ports: [u16; 2]) -> Mapping {
        let mut discovery = discovery();
        let requests = discovery.handle_timeout(Time::ZERO);
        for ((_, request), port) in requests.iter().zip(ports) {
            let request_id = stun::decode(request).unwrap().transaction;
            let seen = SocketAddr::new([203, 0, 113, 7].into(), port);
            let response = stun::encode_response(request_id, seen, None, None, request.len()).unwrap();
            discovery.handle_response(&stun::decode(&response).unwrap());
        }
        discovery.mapping()
    }

    #[test]
    fn the_same_port_twice_is_endpoint_independent() {
        assert_eq!(learned([4000, 4000]), Mapping::EndpointIndependent);
    }

    #[test]
    fn the_next_port_is_sequential_and_any_other_is_dependent() {
        assert_eq!(learned([4000, 4001]), Mapping::Sequential { step: 1 });
        assert_eq!(learned([4000, 3998]), Mapping::Sequential { step: -2 });
        assert_eq!(learned([4000, 61_000]), Mapping::Dependent);
    }

    #[test]
    fn it_gives_up_after_a_few_attempts() {
        let mut discovery = discovery();
        let mut asked = 0;
        while let Some(at) = discovery.poll_timeout() {
            asked += discovery.handle_timeout(at).len();
        }
        assert_eq!(asked, 2 * DISCOVERY_ATTEMPTS as usize);
        assert_eq!(discovery.mapping(), Mapping::Unknown);
    }
}
