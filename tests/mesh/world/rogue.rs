//! A rendezvous that introduces everybody to everybody, whatever the host of the room has decided.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::BytesMut;
use meipo::introducer::{Action, ConnectionId, Introducer, Relays};
use meipo::limits::Limits;
use meipo::net::clock::Clock;
use meipo::net::quic::{Admission, Quic, QuicEvent, QuicId};
use meipo::net::quic_config::{QuicConfig, QuicRole};
use meipo::units::Time;
use meipo::wire::codec;
use meipo::wire::control::{LeftReason, ToRendezvous};

use super::peer::{SEGMENTS, identity};
use super::rendezvous::{IDENTITY, Rendezvous};
use super::{Host, HostId, Transmit, World};

/// A rendezvous that hears no rules and tells none.
pub(crate) struct Rogue {
    introducer: Introducer,
    quic: Quic,
    ids: BTreeMap<u64, QuicId>,
    buffer: Vec<u8>,
}

impl Rogue {
    /// Puts it where everybody expects the honest one.
    pub(crate) fn open(world: &mut World) -> HostId {
        world.add_at("rogue", &[Rendezvous::address()], Rogue::new())
    }

    fn new() -> Self {
        let limits = Limits { peers_per_address: 100, handshakes_per_minute: 1000, ..Limits::default() };
        let quic = QuicConfig::new(identity(IDENTITY), QuicRole::Rendezvous, limits.idle).with_seed([1; 32]);
        let relays = Relays { own: None, others: Vec::new() };
        Rogue {
            introducer: Introducer::new(limits, relays, None, [1; 32]),
            quic: Quic::new(quic, Clock::start()),
            ids: BTreeMap::new(),
            buffer: Vec::new(),
        }
    }

    fn settle(&mut self, now: Time) {
        loop {
            while let Some(event) = self.quic.poll_event() {
                self.handle_event(event, now);
            }
            let Some(action) = self.introducer.poll_action() else { return };
            match action {
                Action::Tell(ConnectionId(number), message) => self.quic.tell(self.ids[&number], message, now),
                Action::Close(ConnectionId(number), code, reason) => {
                    self.quic.close(self.ids[&number], code, &reason, now);
                }
                Action::Bind(..) | Action::Unbind(_) => {}
            }
        }
    }

    fn handle_event(&mut self, event: QuicEvent, now: Time) {
        match event {
            QuicEvent::Connected { id, peer, remote } => {
                self.ids.insert(id.number(), id);
                self.introducer.handle_connected(ConnectionId(id.number()), peer, remote, now);
            }
            QuicEvent::Message { id, body } => {
                let is_rules = matches!(codec::decode(&body), Ok(ToRendezvous::Rules(_)));
                if !is_rules {
                    self.introducer.handle_message(ConnectionId(id.number()), &body, now, 0);
                }
            }
            QuicEvent::Closed { id, .. } => {
                self.introducer.handle_disconnected(ConnectionId(id.number()), LeftReason::Left);
            }
            QuicEvent::Answer { .. } | QuicEvent::Moved { .. } | QuicEvent::Datagram { .. } => {}
        }
    }
}

impl Host for Rogue {
    fn handle_datagram(&mut self, now: Time, _socket: u16, from: SocketAddr, bytes: &[u8]) {
        self.quic.handle_datagram(from, None, BytesMut::from(bytes), now, |_, _, _| Admission::Accept);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.quic.handle_timeout(now);
        self.introducer.handle_timeout(now);
        self.settle(now);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Transmit> {
        let sent = self.quic.poll_transmit(&mut self.buffer, SEGMENTS, now)?;
        assert_eq!(sent.segment, None, "control messages are small");
        self.settle(now);
        Some(Transmit { socket: 0, to: sent.to, bytes: self.buffer.clone() })
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        [self.quic.poll_timeout(), self.introducer.poll_timeout()].into_iter().flatten().min()
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
