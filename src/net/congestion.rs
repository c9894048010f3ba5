//! The core's congestion window, as QUIC wants to call it.
//!
//! A change of path comes from outside, through [`PathSwitch`]; the connection notices it at its next packet.

#![expect(clippy::disallowed_types, reason = "QUIC's congestion controllers are called with instants")]

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory};

use super::clock::Clock;
use crate::rate::window::Window;
use crate::units::Time;

/// Tells a connection's congestion controller that packets take another path since a moment, and how much the pacer before
/// it may have on the way; tells back which of those sent since are acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct PathSwitch(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    switched: AtomicU64,
    acknowledged: AtomicU64,
    window: AtomicU64,
}

impl PathSwitch {
    /// Packets take another path from `now` on.
    pub(super) fn set(&self, now: Time) {
        self.0.switched.store(now.as_micros().max(1), Ordering::Relaxed);
    }

    /// So many bytes may be on their way.
    pub(super) fn set_window(&self, bytes: u64) {
        self.0.window.store(bytes, Ordering::Relaxed);
    }

    /// When the newest acknowledged packet was sent, of those that took the path of now; zero before there is one.
    pub(super) fn acknowledged(&self) -> Time {
        Time::from_micros(self.0.acknowledged.load(Ordering::Relaxed))
    }

    fn get(&self) -> u64 {
        self.0.switched.load(Ordering::Relaxed)
    }

    fn window(&self) -> u64 {
        self.0.window.load(Ordering::Relaxed)
    }

    fn note_acknowledged(&self, sent: Time) {
        if sent.as_micros() >= self.get() {
            self.0.acknowledged.fetch_max(sent.as_micros(), Ordering::Relaxed);
        }
    }
}

/// Makes the controllers of the connections of one configuration.
#[derive(Debug)]
pub(super) struct WindowFactory {
    pub(super) clock: Clock,
    pub(super) switch: PathSwitch,
}

impl ControllerFactory for WindowFactory {
    fn build(self: Arc<Self>, now: Instant, _mtu: u16) -> Box<dyn Controller> {
        let now = self.clock.time(now);
        let seen = self.switch.get();
        Box::new(WindowController {
            window: Window::new(now),
            now,
            clock: self.clock,
            switch: self.switch.clone(),
            seen,
        })
    }
}

#[derive(Clone, Debug)]
struct WindowController {
    window: Window,
    now: Time,
    clock: Clock,
    switch: PathSwitch,
    seen: u64,
}

impl WindowController {
    fn handle_time(&mut self, now: Instant) {
        self.now = self.clock.time(now);
        let switched = self.switch.get();
        if switched != self.seen {
            self.seen = switched;
            self.window.handle_switch(Time::from_micros(switched));
        }
    }
}

impl Controller for WindowController {
    fn on_sent(&mut self, now: Instant, _bytes: u64, _last_packet_number: u64) {
        self.handle_time(now);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, _app_limited: bool, _rtt: &RttEstimator) {
        self.handle_time(now);
        self.switch.note_acknowledged(self.clock.time(sent));
        self.window.handle_ack(self.now, self.clock.time(sent), bytes);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, _is_persistent: bool, lost_bytes: u64) {
        self.handle_time(now);
        self.window.handle_loss(self.clock.time(sent), lost_bytes);
    }

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        let switched = self.switch.get();
        if switched == self.seen {
            return self.window.bytes(self.now).max(self.switch.window());
        }
        let mut window = self.window.clone();
        window.handle_switch(Time::from_micros(switched));
        window.bytes(self.now).max(self.switch.window())
    }

    fn initial_window(&self) -> u64 {
        crate::params::WINDOW_INITIAL
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
