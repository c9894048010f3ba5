//! Where a datagram goes: straight to an address, or through a session of a relay.

use std::net::SocketAddr;
use std::time::Duration;

use crate::units::SessionId;
use crate::wire::control::RelayAddress;

/// One of this peer's own UDP sockets: 0 is the one everybody knows, others exist only to find a way through a NAT.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct SocketIndex(pub u16);

/// A way a datagram can take to a peer, and the way its datagrams come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Route {
    /// Straight from one of our sockets to an address.
    Direct {
        /// Our socket.
        socket: SocketIndex,
        /// The peer's address.
        remote: SocketAddr,
    },
    /// Through a relay.
    Relay {
        /// Which relay.
        relay: RelayAddress,
        /// The session of this pair of peers there.
        session: SessionId,
    },
}

impl Route {
    /// Whether no relay is involved.
    pub fn is_direct(&self) -> bool {
        matches!(self, Route::Direct { .. })
    }
}

/// What a person is told about a path.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PathKind {
    /// Straight between the peers.
    Direct,
    /// Through a relay, over UDP.
    Relayed,
    /// Through a relay, over a TCP connection, because UDP does not pass.
    Tunnelled,
}

impl PathKind {
    /// The word for logs and events.
    pub fn as_str(self) -> &'static str {
        match self {
            PathKind::Direct => "direct",
            PathKind::Relayed => "relayed",
            PathKind::Tunnelled => "tunnelled",
        }
    }
}

/// Which ways a peer is willing to use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// The best there is.
    #[default]
    Any,
    /// Relays only: no address of ours reaches the other callers.
    RelayOnly,
    /// Direct paths only.
    DirectOnly,
}

impl Policy {
    /// Whether this policy lets a datagram take `route`.
    pub fn allows(self, route: &Route) -> bool {
        match self {
            Policy::Any => true,
            Policy::RelayOnly => !route.is_direct(),
            Policy::DirectOnly => route.is_direct(),
        }
    }
}

/// How good a proven path is; less is better. Direct comes before relayed, then the shorter round trip.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Score {
    is_relayed: bool,
    rtt: Duration,
}

impl Score {
    pub(super) fn new(route: &Route, rtt: Duration) -> Self {
        Score { is_relayed: !route.is_direct(), rtt }
    }

    /// Whether to move from a path with score `current`: a path that is hardly better is not worth the reordering.
    pub(super) fn is_worth_leaving(self, current: Score) -> bool {
        if self.is_relayed != current.is_relayed {
            return current.is_relayed;
        }
        self.rtt * 4 / 3 + Duration::from_millis(2) < current.rtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(is_relayed: bool, millis: u64) -> Score {
        Score { is_relayed, rtt: Duration::from_millis(millis) }
    }

    #[test]
    fn a_slow_direct_path_is_better_than_a_fast_relayed_one() {
        assert!(score(false, 90) < score(true, 10));
        assert!(score(false, 90).is_worth_leaving(score(true, 10)));
        assert!(!score(true, 10).is_worth_leaving(score(false, 90)));
    }

    #[test]
    fn a_path_that_is_hardly_faster_is_not_worth_a_switch() {
        assert!(!score(false, 19).is_worth_leaving(score(false, 20)));
        assert!(score(false, 5).is_worth_leaving(score(false, 20)));
    }
}
