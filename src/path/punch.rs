//! When ordinary probes find no way: guessing the port a symmetric NAT will use.
//!
//! One side's NAT gives every destination another port, so the port the rendezvous saw is of no use. If the ports follow
//! one another, the next few are tried (port prediction). If not, both sides gamble: the side behind the symmetric NAT
//! speaks from many sockets, the other to many ports, until two meet (birthday paradox: 256 sockets against 1024 ports
//! miss each other in 2 of 100 trials). Two symmetric NATs are not tried: the odds are hopeless.
//!
//! The only address ever bombarded is the one at which the rendezvous itself sees the other peer, slowly, once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;

use super::route::{Route, SocketIndex};
use crate::params::{BIRTHDAY_PORTS, BIRTHDAY_SOCKETS, PREDICTED_PORTS, PUNCH_AFTER, PUNCH_INTERVAL};
use crate::units::Time;
use crate::wire::control::Mapping;

/// A campaign of guesses against one peer.
#[derive(Debug)]
pub(super) struct Punch {
    /// The plan it began with.
    origin: Plan,
    has_begun: bool,
    plan: Plan,
    next: Time,
    sent: usize,
    tried: BTreeSet<u16>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Plan {
    /// Speak to the ports that follow the last known one.
    Predict { target: SocketAddr, step: i8 },
    /// Speak to ports drawn by lot.
    ManyPorts { target: SocketAddr },
    /// Speak from many sockets.
    ManySockets { target: SocketAddr, are_open: bool },
}

/// What a campaign does next.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Guess {
    /// Probe this way.
    Probe(Route),
    /// Open this many further sockets, then say so.
    OpenSockets(u16),
}

impl Punch {
    /// The campaign that suits both NATs, if one makes sense. `target` is where the rendezvous sees the other.
    pub(super) fn plan(ours: Mapping, theirs: Mapping, target: SocketAddr, now: Time) -> Option<Punch> {
        let is_dependent = |mapping| matches!(mapping, Mapping::Dependent | Mapping::Sequential { .. });
        let plan = match (ours, theirs) {
            (ours, theirs) if is_dependent(ours) && is_dependent(theirs) => return None,
            (_, Mapping::Sequential { step }) => Plan::Predict { target, step },
            (_, Mapping::Dependent) => Plan::ManyPorts { target },
            (Mapping::Dependent | Mapping::Sequential { .. }, _) => Plan::ManySockets { target, are_open: false },
            (Mapping::Unknown | Mapping::EndpointIndependent, Mapping::Unknown | Mapping::EndpointIndependent) => {
                return None;
            }
        };
        Some(Punch {
            origin: plan,
            has_begun: false,
            plan,
            next: now + plan.patience(),
            sent: 0,
            tried: BTreeSet::new(),
        })
    }

    /// Whether this is a campaign of the same kind against the same address.
    pub(super) fn is_like(&self, other: &Punch) -> bool {
        self.origin == other.origin
    }

    /// Whether anything was guessed yet.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether ports or sockets are drawn by lot.
    pub(super) fn is_lottery(&self) -> bool {
        matches!(self.plan, Plan::ManyPorts { .. } | Plan::ManySockets { .. })
    }

    /// When the next guess is due; `None` when all are spent.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        (self.sent < self.plan.guesses()).then_some(self.next)
    }

    /// The next guess, if it is due.
    pub(super) fn poll(&mut self, now: Time, rng: &mut ChaCha8Rng) -> Option<Guess> {
        if self.poll_timeout()? > now {
            return None;
        }
        self.has_begun = true;
        self.next = now + PUNCH_INTERVAL;
        if let Plan::ManySockets { are_open: false, .. } = self.plan {
            self.next = now + Duration::from_secs(3600);
            return Some(Guess::OpenSockets(BIRTHDAY_SOCKETS));
        }
        self.sent += 1;
        let guess = Guess::Probe(self.next_route(rng));
        if let Plan::Predict { target, .. } = self.plan
            && self.sent == self.plan.guesses()
        {
            self.plan = Plan::ManyPorts { target };
            self.next = now + PUNCH_AFTER;
            self.sent = 0;
        }
        Some(guess)
    }

    /// The further sockets are there.
    pub(super) fn handle_sockets_open(&mut self, now: Time) {
        if let Plan::ManySockets { are_open, .. } = &mut self.plan
            && !*are_open
        {
            *are_open = true;
            self.next = now;
        }
    }

    fn next_route(&mut self, rng: &mut ChaCha8Rng) -> Route {
        let direct = |socket, remote| Route::Direct { socket: SocketIndex(socket), remote };
        let nth = u16::try_from(self.sent).unwrap_or(u16::MAX);
        match self.plan {
            Plan::Predict { mut target, step } => {
                let ahead = i32::from(step) * i32::from(nth);
                let port = (i32::from(target.port()) + ahead).rem_euclid(1 << 16);
                target.set_port(u16::try_from(port).unwrap_or(0).max(1));
                direct(0, target)
            }
            Plan::ManyPorts { mut target } => {
                target.set_port(self.draw_port(rng));
                direct(0, target)
            }
            Plan::ManySockets { target, .. } => direct(nth, target),
        }
    }

    /// A port not tried before, outside the well-known ones.
    fn draw_port(&mut self, rng: &mut ChaCha8Rng) -> u16 {
        loop {
            let port = u16::try_from(rng.next_u32() >> 16).unwrap_or(u16::MAX);
            if port >= 1024 && self.tried.insert(port) {
                return port;
            }
        }
    }
}

impl Plan {
    fn guesses(self) -> usize {
        match self {
            Plan::Predict { .. } => PREDICTED_PORTS,
            Plan::ManyPorts { .. } => BIRTHDAY_PORTS,
            Plan::ManySockets { .. } => usize::from(BIRTHDAY_SOCKETS),
        }
    }

    /// Prediction must be quick, before other connections take the ports; gambling is left until nothing else has worked.
    fn patience(self) -> Duration {
        match self {
            Plan::Predict { .. } => Duration::ZERO,
            Plan::ManyPorts { .. } | Plan::ManySockets { .. } => PUNCH_AFTER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    const TARGET: &str = "203.0.113.7:4000";

    fn plan(ours: Mapping, theirs: Mapping) -> Option<Punch> {
        Punch::plan(ours, theirs, TARGET.parse().unwrap(), Time::ZERO)
    }

    fn guesses(punch: &mut Punch) -> Vec<Guess> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut guesses = Vec::new();
        while let Some(at) = punch.poll_timeout() {
            guesses.extend(punch.poll(at, &mut rng));
            if guesses.last() == Some(&Guess::OpenSockets(BIRTHDAY_SOCKETS)) {
                punch.handle_sockets_open(at);
            }
        }
        guesses
    }

    #[test]
    fn two_symmetric_nats_are_not_tried() {
        assert!(plan(Mapping::Dependent, Mapping::Sequential { step: 1 }).is_none());
        assert!(plan(Mapping::Dependent, Mapping::Dependent).is_none());
    }

    #[test]
    fn sequential_ports_are_counted_on_from_the_last_one_known() {
        let mut punch = plan(Mapping::EndpointIndependent, Mapping::Sequential { step: 2 }).unwrap();
        let guesses = guesses(&mut punch);
        let first = Route::Direct { socket: SocketIndex(0), remote: "203.0.113.7:4002".parse().unwrap() };
        assert_eq!(guesses.first(), Some(&Guess::Probe(first)));
        assert_eq!(guesses.len(), PREDICTED_PORTS + BIRTHDAY_PORTS, "what cannot be predicted is drawn by lot");
    }

    #[test]
    fn a_lottery_of_ports_draws_each_once() {
        let mut punch = plan(Mapping::EndpointIndependent, Mapping::Dependent).unwrap();
        assert_eq!(guesses(&mut punch).len(), BIRTHDAY_PORTS);
        assert_eq!(punch.tried.len(), BIRTHDAY_PORTS);
    }

    #[test]
    fn many_sockets_each_speak_once() {
        let mut punch = plan(Mapping::Dependent, Mapping::EndpointIndependent).unwrap();
        assert_eq!(guesses(&mut punch).len(), 1 + usize::from(BIRTHDAY_SOCKETS));
    }
}
