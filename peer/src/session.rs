//! One stay in one room: joins, tells what happens, and says when it is over.
//!
//! Every command goes through here, so that all of them tell the same events in the same words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use meipo::link::Link;
use meipo::media::playout::Playout;
use meipo::net::{Endpoint, EndpointConfig, Events};
use meipo::node::Event;
use meipo::path::PathKind;
use meipo::trust::rules::{Exclusion, Rules};
use meipo::trust::safety_number;
use meipo::units::PeerId;
use meipo::wire::control::LeftReason;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use crate::args::Options;
use crate::events::{
    ErrorReport, Joined, PathReport, PeerJoined, PeerLeft, RendezvousLost, Report, RulesReport, Stats, TrackEnded,
    TrackReport, tenths,
};
use crate::identity::Claim;
use crate::output::Reporter;
use crate::params::{REPORT_INTERVAL, UNREACHABLE_AFTER};
use crate::stop::Stop;
use crate::verdict::Verdicts;

/// What distinguishes one stay from another.
#[derive(Clone, Debug)]
pub struct Stay {
    /// Which room.
    pub link: Link,
    /// When received frames are given out; `None` if none are wanted.
    pub playout: Option<Playout>,
}

/// We, in a room.
#[derive(Debug)]
pub struct Session {
    endpoint: Endpoint,
    events: Events,
    reporter: Reporter,
    stop: Stop,
    claim: Claim,
    name: String,
    room: String,
    /// Whether our link is the host's.
    is_host: bool,
    /// Where the rendezvous is.
    rendezvous: String,
    /// Why the last attempt to get in failed, if it said so.
    failure: Option<String>,
    names: BTreeMap<PeerId, String>,
    connected: BTreeSet<PeerId>,
    verdicts: Verdicts,
    standing: Standing,
    tick: Interval,
    /// When `--seconds` are over.
    ends: Option<Instant>,
    /// When the person is told that the rendezvous does not answer.
    patience: Option<Instant>,
}

/// How we stand with the rendezvous.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    Entering,
    Inside,
    Lost,
}

/// Something the command has to act upon.
#[derive(Debug)]
pub enum Moment {
    /// Something happened; it has been told already.
    Event(Event),
    /// It is time for statistics.
    Tick,
    /// The stay is over.
    Over,
}

/// Why a stay was no success.
#[derive(Debug, thiserror::Error)]
pub enum StayError {
    /// The host does not want us.
    #[error("{}", .0.as_str())]
    Excluded(Exclusion),
    /// The rendezvous does not want us.
    #[error("the rendezvous has refused us: {0}")]
    Refused(String),
    /// The time was over before anything began.
    #[error("the room {room} could not be entered in time: {obstacle}")]
    NeverJoined {
        /// What people call it.
        room: String,
        /// What stood in the way.
        obstacle: String,
    },
}

/// Why a name leads to nobody.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CalledError {
    /// It is nobody's.
    #[error("nobody here is called {0:?}")]
    Nobody(String),
    /// It is the name of several.
    #[error("several people are called {0:?}; say which by id: {1}, {2} …")]
    Several(String, String, String),
}

impl Session {
    /// Begins to enter the room.
    ///
    /// # Errors
    /// When the rendezvous' name is not known or no socket can be had.
    pub async fn start(
        stay: Stay,
        options: &Options,
        claim: Claim,
        reporter: Reporter,
        stop: Stop,
    ) -> anyhow::Result<Self> {
        let name = options.name();
        let room = stay.link.room().to_owned();
        let is_host = stay.link.host_key().is_some();
        let rendezvous = format!("{}:{}", stay.link.host(), stay.link.port());
        let mut config = EndpointConfig::new(stay.link, claim.identity.clone(), name.clone());
        config.policy = options.policy()?;
        config.asks_router = !options.no_port_mapping;
        config.may_gamble = !options.no_birthday;
        config.may_tunnel = !options.no_tunnel;
        config.stun_servers = options.stun.clone();
        config.receives = stay.playout.is_some();
        config.playout = stay.playout.unwrap_or(config.playout);
        let (endpoint, events) = Endpoint::join(config).await?;
        let now = Instant::now();
        let mut tick = interval_at(now + REPORT_INTERVAL, REPORT_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Session {
            endpoint,
            events,
            reporter,
            stop,
            claim,
            name: name.to_string(),
            room,
            is_host,
            rendezvous,
            failure: None,
            names: BTreeMap::new(),
            connected: BTreeSet::new(),
            verdicts: Verdicts::default(),
            standing: Standing::Entering,
            tick,
            ends: options.seconds.map(|seconds| now + Duration::from_secs(seconds)),
            patience: Some(now + UNREACHABLE_AFTER),
        })
    }

    /// What happens next. May be dropped and called again without losing anything.
    ///
    /// # Errors
    /// When the rendezvous refuses us, or the time is over before we were let in.
    pub async fn next(&mut self) -> Result<Moment, StayError> {
        loop {
            let (ends, patience) = (self.ends, self.patience);
            tokio::select! {
                biased;
                () = self.stop.asked() => return Ok(Moment::Over),
                () = at(ends) => return self.time_is_over(),
                // Before what comes without end where the processor is busy.
                _ = self.tick.tick() => return Ok(Moment::Tick),
                () = at(patience) => {
                    self.patience = None;
                    self.reporter.note(&format!("{}; trying on", self.obstacle()));
                }
                event = self.events.next() => {
                    let Some(event) = event else { return Ok(Moment::Over) };
                    self.take(&event)?;
                    return Ok(Moment::Event(event));
                }
            }
        }
    }

    /// Tells how it goes with each peer; `complete` adds what is known from decoding.
    pub async fn report_stats(&mut self, mut complete: impl FnMut(PeerId, &mut Stats)) {
        for (peer, counted) in self.endpoint.stats().await {
            let mut stats = Stats::new(peer, &counted);
            complete(peer, &mut stats);
            self.verdicts.complete(peer, &counted, &mut stats);
            self.reporter.tell(Report::Stats(stats));
        }
    }

    /// Tells that something went wrong, with a peer or at all.
    pub fn report_error(&self, peer: Option<PeerId>, message: String) {
        let name = peer.and_then(|peer| self.names.get(&peer).cloned());
        self.reporter.tell(Report::Error(ErrorReport { message, peer, name }));
    }

    /// Where to tell things.
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// The way to the room.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether the rendezvous has let us in, now or before.
    pub fn has_joined(&self) -> bool {
        self.standing != Standing::Entering
    }

    /// How many peers can be spoken to.
    pub fn connected(&self) -> usize {
        self.connected.len()
    }

    /// What a peer calls itself.
    pub fn name_of(&self, peer: PeerId) -> String {
        self.names.get(&peer).cloned().unwrap_or_else(|| peer.short())
    }

    /// Whether our own sound goes to nobody under these rules.
    pub fn is_silenced(&self, rules: &Rules) -> bool {
        rules.is_muted && !self.is_host
    }

    /// Who is here under this name or short id.
    ///
    /// # Errors
    /// When nobody is, or several are.
    pub fn peer_called(&self, name: &str) -> Result<PeerId, CalledError> {
        let is_it = |peer: &PeerId| self.name_of(*peer) == name || peer.short() == name;
        let mut found = self.connected.iter().copied().filter(is_it);
        match (found.next(), found.next()) {
            (Some(peer), None) => Ok(peer),
            (None, _) => Err(CalledError::Nobody(name.to_owned())),
            (Some(one), Some(other)) => Err(CalledError::Several(name.to_owned(), one.short(), other.short())),
        }
    }

    /// Says goodbye, after what was published is on its way.
    pub async fn leave(self) {
        self.endpoint.leave().await;
        drop(self.claim);
    }

    fn time_is_over(&self) -> Result<Moment, StayError> {
        if self.has_joined() {
            return Ok(Moment::Over);
        }
        Err(StayError::NeverJoined { room: self.room.clone(), obstacle: self.obstacle() })
    }

    /// What keeps us out, and what a person could look at.
    fn obstacle(&self) -> String {
        let failure = self.failure.as_deref().unwrap_or("no answer");
        format!(
            "the rendezvous at {} does not let us in: {failure} (is it running, is its port open in UDP and TCP, is the \
             link the newest? `peer doctor LINK` finds out)",
            self.rendezvous
        )
    }

    /// Tells an event, and remembers what later ones refer to.
    fn take(&mut self, event: &Event) -> Result<(), StayError> {
        let report = match event {
            Event::Joined { observed } => self.handle_joined(*observed),
            Event::RendezvousLost { reason, is_final } => return self.handle_lost(reason, *is_final),
            Event::Rules(rules) => self.rules_report(rules),
            Event::Excluded(why) => return Err(StayError::Excluded(*why)),
            Event::PeerJoined { peer, name, is_host } => {
                self.names.insert(*peer, name.to_string());
                self.connected.insert(*peer);
                let safety_number = safety_number(&self.endpoint.id(), peer);
                Report::PeerJoined(PeerJoined { peer: *peer, name: name.to_string(), safety_number, host: *is_host })
            }
            Event::PeerLeft { peer, reason } => {
                self.connected.remove(peer);
                self.verdicts.forget(*peer);
                let reason = match reason {
                    LeftReason::Left => "left",
                    LeftReason::Lost => "lost",
                    LeftReason::Removed => "removed",
                };
                Report::PeerLeft(PeerLeft { peer: *peer, name: self.name_of(*peer), reason })
            }
            Event::Track { peer, track, .. } => Report::Track(TrackReport::new(*peer, self.name_of(*peer), track)),
            Event::TrackEnded { peer, track } => {
                Report::TrackEnded(TrackEnded { peer: *peer, name: self.name_of(*peer), track: track.0 })
            }
            Event::Path { peer, kind, remote, rtt } => self.path_report(*peer, *kind, *remote, *rtt),
            Event::Trouble { peer, message } => {
                self.report_error(*peer, message.clone());
                return Ok(());
            }
            Event::Frame { .. }
            | Event::FramesLost { .. }
            | Event::KeyFrameWanted { .. }
            | Event::Bitrate(_)
            | Event::SmallerBitrate { .. }
            | Event::Said { .. }
            | Event::Bulk { .. }
            | Event::BulkArrived { .. } => return Ok(()),
        };
        self.reporter.tell(report);
        Ok(())
    }

    fn handle_joined(&mut self, observed: SocketAddr) -> Report {
        self.patience = None;
        match std::mem::replace(&mut self.standing, Standing::Inside) {
            Standing::Entering | Standing::Inside => Report::Joined(Joined {
                id: self.endpoint.id(),
                name: self.name.clone(),
                room: self.room.clone(),
                host: self.is_host,
                observed: observed.to_string(),
            }),
            Standing::Lost => Report::RendezvousBack,
        }
    }

    /// Attempts that fail before we were let in are no news; a loss is told once, however long it lasts.
    fn handle_lost(&mut self, reason: &str, is_final: bool) -> Result<(), StayError> {
        match self.standing {
            Standing::Entering if is_final => return Err(StayError::Refused(reason.to_owned())),
            Standing::Entering => {
                tracing::debug!(reason, "the rendezvous does not let us in");
                self.failure = Some(reason.to_owned());
            }
            Standing::Lost if !is_final => {}
            Standing::Inside | Standing::Lost => {
                self.standing = Standing::Lost;
                self.reporter.tell(Report::RendezvousLost(RendezvousLost { reason: reason.to_owned(), is_final }));
            }
        }
        Ok(())
    }

    fn rules_report(&self, rules: &Rules) -> Report {
        Report::Rules(RulesReport {
            muted: rules.is_muted,
            locked: rules.is_locked(),
            removed: rules.removed.clone(),
            silenced: self.is_silenced(rules),
        })
    }

    fn path_report(&self, peer: PeerId, kind: PathKind, remote: Option<SocketAddr>, rtt: Option<Duration>) -> Report {
        let family = |address: SocketAddr| if address.ip().to_canonical().is_ipv6() { "ipv6" } else { "ipv4" };
        Report::Path(PathReport {
            peer,
            name: self.name_of(peer),
            kind: kind.as_str(),
            rtt_ms: rtt.map(|rtt| tenths(rtt.as_secs_f64() * 1000.0)),
            address_family: remote.map(family),
        })
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
