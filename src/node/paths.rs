//! What the agents find out, for the network and the person.

use super::event::{Action, Event, Party};
use super::peer::Link;
use super::{Node, Transmit};
use crate::path::{AgentEvent, PathKind, Route};
use crate::rate::estimate::NewPath;
use crate::units::{PeerId, SessionId, Time};
use crate::wire::control::RelayAddress;

impl Node {
    /// Carries what the agents want to the network and the person.
    pub(super) fn drain_agents(&mut self, now: Time) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            while let Some((route, bytes)) = peer.agent.poll_transmit() {
                self.transmits.push_back(Transmit::Via(route, bytes));
            }
            let events: Vec<AgentEvent> = std::iter::from_fn(|| peer.agent.poll_event()).collect();
            for event in events {
                self.handle_agent_event(id, event, now);
            }
        }
    }

    pub(super) fn handle_agent_event(&mut self, id: PeerId, event: AgentEvent, now: Time) {
        match event {
            AgentEvent::Selected(route) => {
                self.actions.push_back(Action::PathChanged(id));
                if let Some(peer) = self.peers.get_mut(&id) {
                    let before = peer.route.replace(route);
                    let path = match (before.map(|before| before.is_direct()), route.is_direct()) {
                        (Some(false), true) => NewPath::WithoutRelay,
                        (Some(true), false) => NewPath::OverRelay,
                        (None, _) | (Some(true), true) | (Some(false), false) => NewPath::Unlike,
                    };
                    peer.sender.handle_switch(path, now);
                }
                self.announce_path(id);
                if self.peers.get(&id).is_some_and(|peer| peer.link == (Link::Down { retry: now })) {
                    self.handle_peer_timeout(id, now);
                }
            }
            AgentEvent::Source(route) => {
                self.sources.insert(route, id);
            }
            AgentEvent::OpenSockets(count) => self.actions.push_back(Action::OpenSockets(id, count)),
            AgentEvent::Suspected => self.handle_suspicion(id, now),
            AgentEvent::Silent => tracing::debug!(peer = ?id, "no way to the peer is known to work"),
        }
    }

    /// What may have broken the path to a peer may have moved us for the rendezvous too: it learns so by hearing from us.
    pub(super) fn handle_suspicion(&mut self, id: PeerId, now: Time) {
        self.actions.push_back(Action::Ping(Party::Rendezvous));
        if let Some(peer) = self.peers.get(&id) {
            for offer in peer.offers.iter().filter(|offer| offer.relay != RelayAddress::Rendezvous) {
                self.bindings.bind_if_idle(offer, now);
            }
        }
    }

    pub(super) fn announce_path(&mut self, id: PeerId) {
        let is_tunnelled = self.is_tunnelled;
        let Some(peer) = self.peers.get(&id).filter(|peer| peer.link == Link::Up) else {
            return;
        };
        let Some(route) = peer.agent.selected() else { return };
        let remote = match route {
            Route::Direct { remote, .. } => Some(remote),
            Route::Relay { .. } => None,
        };
        let kind = path_kind(&route, is_tunnelled);
        self.events.push_back(Event::Path { peer: id, kind, remote, rtt: peer.agent.rtt() });
    }

    pub(super) fn handle_bound(&mut self, relay: RelayAddress, session: SessionId, now: Time) {
        let route = Route::Relay { relay, session };
        for peer in self.peers.values_mut() {
            if peer.offers.iter().any(|offer| offer.session == session && offer.relay == relay) {
                peer.agent.add_relay(route, false, now);
            }
        }
        self.handle_timeout(now);
    }
}

/// What a person is told of a route.
pub(super) fn path_kind(route: &Route, is_tunnelled: bool) -> PathKind {
    match route {
        Route::Direct { .. } => PathKind::Direct,
        Route::Relay { relay: RelayAddress::Rendezvous, .. } if is_tunnelled => PathKind::Tunnelled,
        Route::Relay { .. } => PathKind::Relayed,
    }
}
