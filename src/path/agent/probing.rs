//! What is known of each way, and when it is probed.

use std::time::Duration;

use rand_core::RngCore;

use super::Agent;
use crate::params::{MAX_PROBES_IN_FLIGHT, PROBE_AGAIN, PROBE_BURST, PROBE_IDLE, PROBE_POSTPONED};
use crate::path::route::Route;
use crate::units::Time;
use crate::wire::stun::{self, ChangeRequest, TransactionId};

/// What is known of one way.
#[derive(Debug, Default)]
pub(super) struct Path {
    pub(super) proof: Option<Proof>,
    /// Probes sent since the last reason to hope.
    pub(super) attempts: usize,
    /// When the last burst of probes began.
    pub(super) began: Option<Time>,
    pub(super) next_probe: Option<Time>,
    pub(super) is_source: bool,
    /// Whether it is worth asking for ever: it worked once, or the rendezvous sees the peer there.
    pub(super) may_return: bool,
}

/// A path that answered a probe, or that the introducer vouches for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    pub(super) rtt: Duration,
}

impl Agent {
    pub(super) fn send_due_probes(&mut self, now: Time) {
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
    pub(super) fn is_needless(&self, route: &Route) -> bool {
        let Some(path) = self.paths.get(route) else { return true };
        let has_direct = self.selected.is_some_and(|selected| selected.is_direct() && self.proof(&selected).is_some());
        has_direct && path.proof.is_none() && path.attempts >= PROBE_BURST.len()
    }

    pub(super) fn postpone(&mut self, route: Route, span: Duration, now: Time) {
        if let Some(path) = self.paths.get_mut(&route) {
            path.next_probe = Some(now + span);
        }
    }

    pub(super) fn send_probe(&mut self, route: Route, now: Time) {
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
    pub(super) fn restart(&mut self, now: Time) {
        self.attempts = 0;
        self.began = Some(now);
        self.next_probe = Some(now);
    }

    pub(super) fn schedule_next(&mut self, is_proven: bool, now: Time) {
        self.attempts += 1;
        self.next_probe = match PROBE_BURST.get(self.attempts) {
            Some(gap) => Some(now + *gap),
            None if is_proven => Some(now + PROBE_IDLE),
            None if self.may_return => Some(now + PROBE_AGAIN),
            None => None,
        };
    }
}
