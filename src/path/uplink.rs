//! How the rendezvous is reached: by UDP while it answers, else by the tunnel.
//!
//! Whatever is sent to it and stays without an answer makes UDP suspect; a STUN request asks plainly; only when that has no
//! answer either is a tunnel opened. While the tunnel is in use, UDP is asked again from time to time, and taken back at
//! its first answer.

use crate::params::{TUNNEL_AFTER, TUNNEL_RETRY, UDP_RETRY, UPLINK_ASK};
use crate::units::Time;

/// What carries datagrams to the rendezvous.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Via {
    /// Our main UDP socket.
    Udp,
    /// The TLS connection.
    Tunnel,
}

/// What the uplink asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UplinkStep {
    /// Send a STUN request to the rendezvous by UDP.
    AskByUdp,
    /// Open a tunnel, then say whether it is up.
    OpenTunnel,
    /// The tunnel is of no more use.
    CloseTunnel,
}

/// Chooses between UDP and the tunnel.
#[derive(Debug)]
pub struct Uplink {
    may_tunnel: bool,
    is_up: bool,
    via: Via,
    unanswered_since: Option<Time>,
    next_ask: Time,
    next_tunnel: Time,
}

impl Uplink {
    /// An uplink that begins with UDP.
    pub fn new(may_tunnel: bool) -> Self {
        Uplink {
            may_tunnel,
            is_up: false,
            via: Via::Udp,
            unanswered_since: None,
            next_ask: Time::ZERO,
            next_tunnel: Time::ZERO,
        }
    }

    /// What carries datagrams now.
    pub fn via(&self) -> Via {
        self.via
    }

    /// Something was sent to the rendezvous.
    pub fn handle_sent(&mut self, now: Time) {
        if self.via == Via::Udp && self.unanswered_since.is_none() {
            self.unanswered_since = Some(now);
            self.next_ask = now + UPLINK_ASK;
        }
    }

    /// The rendezvous was heard. Gives what is to be done if that changes the way.
    pub fn handle_received(&mut self, via: Via) -> Option<UplinkStep> {
        if via == Via::Tunnel {
            return None;
        }
        self.unanswered_since = None;
        if self.via == Via::Tunnel {
            self.via = Via::Udp;
            return Some(UplinkStep::CloseTunnel);
        }
        None
    }

    /// The tunnel that was asked for is up. If UDP was answered meanwhile it is closed again: one that stands idle would be
    /// in the way of the next, when it is needed.
    pub fn handle_tunnel_up(&mut self, now: Time) -> Option<UplinkStep> {
        if self.unanswered_since.is_none() {
            return Some(UplinkStep::CloseTunnel);
        }
        self.is_up = true;
        self.via = Via::Tunnel;
        self.next_ask = now + UDP_RETRY;
        None
    }

    /// There is no tunnel, or no more.
    pub fn handle_tunnel_down(&mut self, now: Time) {
        self.is_up = false;
        if self.via == Via::Tunnel {
            self.via = Via::Udp;
            self.unanswered_since = Some(now - TUNNEL_AFTER);
            self.next_tunnel = now + TUNNEL_RETRY;
        }
    }

    /// What is to be done; call until `None`.
    pub fn handle_timeout(&mut self, now: Time) -> Option<UplinkStep> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return None;
        }
        if self.via == Via::Tunnel {
            self.next_ask = now + UDP_RETRY;
            return Some(UplinkStep::AskByUdp);
        }
        let silent = now.since(self.unanswered_since?);
        if self.may_tunnel && !self.is_up && silent >= TUNNEL_AFTER && now >= self.next_tunnel {
            self.next_tunnel = now + TUNNEL_RETRY;
            return Some(UplinkStep::OpenTunnel);
        }
        if now >= self.next_ask {
            self.next_ask = now + UPLINK_ASK;
            return Some(UplinkStep::AskByUdp);
        }
        None
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.via == Via::Tunnel {
            return Some(self.next_ask);
        }
        let since = self.unanswered_since?;
        let tunnel = (self.may_tunnel && !self.is_up).then(|| (since + TUNNEL_AFTER).max(self.next_tunnel));
        tunnel.into_iter().chain([self.next_ask]).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps_until(uplink: &mut Uplink, end: Time) -> Vec<UplinkStep> {
        let mut steps = Vec::new();
        while let Some(at) = uplink.poll_timeout().filter(|at| *at <= end) {
            steps.extend(uplink.handle_timeout(at));
        }
        steps
    }

    #[test]
    fn silence_is_questioned_before_a_tunnel_is_opened() {
        let mut uplink = Uplink::new(true);
        uplink.handle_sent(Time::ZERO);
        let steps = steps_until(&mut uplink, Time::ZERO + TUNNEL_AFTER);
        assert_eq!(steps.first(), Some(&UplinkStep::AskByUdp));
        assert_eq!(steps.last(), Some(&UplinkStep::OpenTunnel));
        uplink.handle_tunnel_up(Time::ZERO + TUNNEL_AFTER);
        assert_eq!(uplink.via(), Via::Tunnel);
    }

    #[test]
    fn an_answer_keeps_udp() {
        let mut uplink = Uplink::new(true);
        uplink.handle_sent(Time::ZERO);
        uplink.handle_received(Via::Udp);
        assert_eq!(uplink.poll_timeout(), None);
    }

    #[test]
    fn a_tunnel_that_comes_too_late_is_not_used() {
        let mut uplink = Uplink::new(true);
        uplink.handle_sent(Time::ZERO);
        steps_until(&mut uplink, Time::ZERO + TUNNEL_AFTER);
        uplink.handle_received(Via::Udp);
        let late = Time::ZERO + TUNNEL_AFTER;
        assert_eq!(uplink.handle_tunnel_up(late), Some(UplinkStep::CloseTunnel));
        assert_eq!(uplink.via(), Via::Udp);
        let later = late + TUNNEL_RETRY;
        uplink.handle_sent(later);
        assert!(steps_until(&mut uplink, later + TUNNEL_AFTER).contains(&UplinkStep::OpenTunnel), "the next is opened");
    }

    #[test]
    fn udp_is_taken_back_at_its_first_answer() {
        let mut uplink = Uplink::new(true);
        uplink.handle_sent(Time::ZERO);
        steps_until(&mut uplink, Time::ZERO + TUNNEL_AFTER);
        uplink.handle_tunnel_up(Time::ZERO + TUNNEL_AFTER);
        let later = Time::ZERO + TUNNEL_AFTER + UDP_RETRY;
        assert_eq!(steps_until(&mut uplink, later), [UplinkStep::AskByUdp]);
        assert_eq!(uplink.handle_received(Via::Udp), Some(UplinkStep::CloseTunnel));
        assert_eq!(uplink.via(), Via::Udp);
    }

    #[test]
    fn without_tunnels_udp_is_asked_for_ever() {
        let mut uplink = Uplink::new(false);
        uplink.handle_sent(Time::ZERO);
        let steps = steps_until(&mut uplink, Time::ZERO + TUNNEL_AFTER * 2);
        assert!(steps.iter().all(|step| *step == UplinkStep::AskByUdp) && steps.len() > 3);
    }
}
