//! `peer call`: a voice in the room, from a terminal and without a browser.
//!
//! ```text
//! microphone → device → studio: canceller, encoder → frames → room
//! loudspeaker ← device ← studio: mixer             ← frames ← room
//! keys → action → this loop → talk → room          reports, meters → screen
//! ```

pub mod action;
pub mod args;
pub mod canceller;
pub mod device;
pub mod reports;
pub mod screen;
pub mod sound;
pub mod studio;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meipo::link::Link;
use meipo::media::Frame;
use meipo::media::playout::Playout;
use meipo::net::Endpoint;
use meipo::net::clock::{Clock, unix_micros_now};
use meipo::node::{Event, Order};
use meipo::params::{PLAYOUT_LEAST, PLAYOUT_MOST};
use meipo::units::PeerId;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::time::{Interval, MissedTickBehavior, interval};

pub use args::CallArgs;
pub use reports::{Chat, DevicesReport, MicrophoneReport, MouthToEar, PresenceReport};

use self::action::{Action, action_of};
use self::sound::{Delay, Devices, News};
use self::studio::Studio;
use crate::args::Options;
use crate::board::{Board, Meters};
use crate::events::Report;
use crate::output::Style;
use crate::params::{CALL_FRAMES, METERS_EVERY};
use crate::program::Program;
use crate::random;
use crate::session::{Moment, Session, Stay, StayError};
use crate::talk::{ChatLine, News as TalkNews, Presence, Talk};

/// Speaks and listens until the person leaves.
///
/// # Errors
/// When the link or a device's name is wrong, there is no sound, or the room cannot be entered.
pub async fn run(args: &CallArgs, options: &Options) -> anyhow::Result<()> {
    if args.list_devices {
        return print(&device::list().await?, options.json);
    }
    let link = args.resolve(options)?;
    let studio = Arc::new(Mutex::new(Studio::new(args.treatment(), unix_micros_now())?));
    let (frames, spoken) = channel(CALL_FRAMES);
    let lines = device::open(&args.choice(), studio.clone(), frames.clone()).await?;
    let (news, devices) = unbounded_channel();
    let keeper = tokio::spawn(device::keep(lines, args.choice(), studio.clone(), frames, news));
    let (program, wanted) = begin(options, &link)?;
    let result = speak(args, options, link, Ends { studio, spoken, devices, wanted }, &program).await;
    keeper.abort();
    program.end().await;
    result
}

/// What the call is connected to.
struct Ends {
    studio: Arc<Mutex<Studio>>,
    spoken: Receiver<Frame>,
    devices: UnboundedReceiver<News>,
    wanted: UnboundedReceiver<Action>,
}

/// Output in the style that suits, and what the person wants.
fn begin(options: &Options, link: &Link) -> anyhow::Result<(Program, UnboundedReceiver<Action>)> {
    let (actions, wanted) = unbounded_channel();
    let board = Board::new(Board::place_of(link));
    let program = match Style::choose(options) {
        Style::Table => Program::start_screen(screen::restore, move |messages| screen::run(messages, board, &actions))?,
        style @ (Style::Json | Style::Plain) => {
            let program = Program::start_with(style, board)?;
            std::thread::spawn(move || read_lines(&actions));
            program
        }
    };
    Ok((program, wanted))
}

/// Standard input as chat and commands. Its end is nobody's wish to leave.
fn read_lines(actions: &UnboundedSender<Action>) {
    let lines = std::io::stdin().lock().lines().map_while(Result::ok);
    // Whoever does not listen any more is leaving already.
    lines.filter_map(|line| action_of(&line)).for_each(|action| drop(actions.send(action)));
}

async fn speak(args: &CallArgs, options: &Options, link: Link, ends: Ends, program: &Program) -> anyhow::Result<()> {
    let playout = Some(Playout::Adaptive { least: PLAYOUT_LEAST, most: PLAYOUT_MOST });
    let session = program.join(Stay { link, playout }, options).await?;
    let clock = Clock::start();
    let mut meters = interval(METERS_EVERY);
    meters.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let talk = Talk::new(session.endpoint().id(), options.name(), clock.now());
    let (is_muted, is_talking, is_silenced) = (args.muted, false, false);
    let (delay, told) = (Delay::default(), BTreeMap::new());
    let mut call = Call { session, talk, ends, clock, meters, delay, is_muted, is_talking, is_silenced, told };
    let result = call.attend().await;
    call.session.leave().await;
    result
}

/// A voice in the room.
struct Call {
    session: Session,
    talk: Talk,
    ends: Ends,
    clock: Clock,
    meters: Interval,
    /// How long sound takes through the devices.
    delay: Delay,
    /// Whether the microphone is off.
    is_muted: bool,
    /// Whether the space bar is held, so that it is on all the same.
    is_talking: bool,
    /// Whether the host lets nobody hear us, whatever we want.
    is_silenced: bool,
    /// What was told of the others.
    told: BTreeMap<PeerId, Presence>,
}

/// Why the loop was left.
enum Step {
    Moment(Result<Moment, StayError>),
    Spoken(Frame),
    News(News),
    Action(Action),
    Meters,
}

impl Call {
    async fn attend(&mut self) -> anyhow::Result<()> {
        let track = self.studio().track();
        self.session.endpoint().publish(track).await?;
        self.open_microphone();
        loop {
            let Ends { spoken, devices, wanted, .. } = &mut self.ends;
            let step = tokio::select! {
                biased;
                Some(frame) = spoken.recv() => Step::Spoken(frame),
                moment = self.session.next() => Step::Moment(moment),
                Some(action) = wanted.recv() => Step::Action(action),
                Some(news) = devices.recv() => Step::News(news),
                _ = self.meters.tick() => Step::Meters,
            };
            match step {
                Step::Spoken(frame) => self.endpoint().send(frame),
                Step::Moment(moment) => match moment? {
                    Moment::Event(event) => self.handle_event(event),
                    Moment::Tick => self.report_stats().await,
                    Moment::Over => return Ok(()),
                },
                Step::Action(Action::Leave) => return Ok(()),
                Step::Action(action) => self.handle_action(action),
                Step::News(news) => self.handle_news(news),
                Step::Meters => self.tell_meters(),
            }
            self.send_talk();
        }
    }

    fn handle_event(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::PeerJoined { peer, name, .. } => self.talk.handle_peer_joined(peer, name, now),
            Event::PeerLeft { peer, .. } => {
                self.studio().mixer().handle_peer_left(peer);
                self.told.remove(&peer);
                self.talk.handle_peer_left(peer, now);
            }
            Event::Track { peer, track, .. } if track.kind.is_audio() => {
                let taken = self.studio().mixer().handle_track(peer, &track);
                if let Err(error) = taken {
                    self.session.report_error(Some(peer), error.to_string());
                }
            }
            // Pictures cannot be shown here, so nobody needs to send them.
            Event::Track { peer, track, .. } => self.endpoint().want(peer, track.id, false),
            Event::TrackEnded { peer, track } => self.studio().mixer().handle_track_ended(peer, track),
            Event::Frame { peer, frame } => {
                self.studio().mixer().handle_frame(peer, &frame);
            }
            Event::FramesLost { peer, track, count } => self.studio().mixer().handle_lost(peer, track, count),
            Event::Path { peer, .. } => self.talk.handle_path(peer),
            Event::Said { peer, bytes } => self.talk.handle_said(peer, &bytes, now, unix_micros_now() / 1000),
            Event::Rules(rules) => {
                self.is_silenced = self.session.is_silenced(&rules);
                self.open_microphone();
            }
            Event::Joined { .. }
            | Event::RendezvousLost { .. }
            | Event::KeyFrameWanted { .. }
            | Event::Bitrate(_)
            | Event::SmallerBitrate { .. }
            | Event::Bulk { .. }
            | Event::BulkArrived { .. }
            | Event::Excluded(_)
            | Event::Trouble { .. } => {}
        }
    }

    fn handle_action(&mut self, action: Action) {
        match action {
            Action::Say(text) => {
                let said = self.talk.say(text, random::id(), self.clock.now(), unix_micros_now() / 1000);
                if let Err(error) = said {
                    self.session.reporter().note(&error.to_string());
                }
            }
            Action::Mute(is_muted) => self.mute(is_muted),
            Action::ToggleMute => self.mute(!self.is_muted),
            Action::Order(order) => self.endpoint().order(order),
            Action::Remove(who) => match self.session.peer_called(&who) {
                Ok(peer) => self.endpoint().order(Order::Remove(peer)),
                Err(error) => self.session.reporter().note(&error.to_string()),
            },
            Action::Talk(is_talking) => self.is_talking = is_talking,
            Action::ToggleHand => {
                let presence = self.talk.presence();
                self.talk.set_presence(Presence { hand: !presence.hand, ..presence });
            }
            Action::Refused(error) => self.session.reporter().note(&error.to_string()),
            Action::Leave => {}
        }
        self.open_microphone();
    }

    fn mute(&mut self, is_muted: bool) {
        self.is_muted = is_muted;
        if !is_muted && self.is_silenced {
            self.session
                .reporter()
                .note("the host has muted everyone: nobody hears you until the host lets people speak");
        }
    }

    fn handle_news(&mut self, news: News) {
        match news {
            News::Opened { microphone, speaker } => {
                self.session.reporter().tell(Report::Devices(DevicesReport { microphone, speaker }));
            }
            News::Lost(reason) => {
                self.delay = Delay::default();
                self.session.report_error(None, format!("{reason}; trying on"));
            }
            News::Delay(delay) => self.delay = delay,
        }
    }

    /// The microphone as it should be, here and in the eyes of the others.
    fn open_microphone(&mut self) {
        let muted = !self.is_open();
        self.studio().set_muted(muted);
        let before = self.talk.presence();
        if before.muted != muted {
            self.talk.set_presence(Presence { muted, ..before });
            self.session.reporter().tell(Report::Microphone(MicrophoneReport { muted }));
        }
    }

    fn is_open(&self) -> bool {
        !self.is_silenced && (!self.is_muted || self.is_talking)
    }

    async fn report_stats(&mut self) {
        let (studio, delay) = (self.ends.studio.clone(), self.delay);
        let mut heard = Vec::new();
        let complete = |peer: PeerId, stats: &mut crate::stats::Stats| {
            let voice = studio.lock().unwrap_or_else(PoisonError::into_inner).mixer().delay_of(peer);
            heard.extend(voice.and_then(|voice| MouthToEar::new(stats, voice, delay)));
        };
        self.session.report_stats(complete).await;
        heard.into_iter().for_each(|heard| self.session.reporter().tell(Report::MouthToEar(heard)));
    }

    fn tell_meters(&mut self) {
        let (mine, theirs) = {
            let mut studio = self.studio();
            (studio.level(), studio.mixer().levels())
        };
        self.session.reporter().meter(Meters { mine, is_open: self.is_open(), theirs });
    }

    fn send_talk(&mut self) {
        while let Some((to, bytes)) = self.talk.poll_transmit() {
            self.endpoint().say(to, bytes);
        }
        while let Some(news) = self.talk.poll_news() {
            match news {
                TalkNews::Chat(line) => self.session.reporter().tell(Report::Chat(self.chat(line))),
                TalkNews::Presence(peer, presence) => self.tell_presence(peer, presence),
            }
        }
    }

    fn chat(&self, line: ChatLine) -> Chat {
        let author = line.author.parse().ok().filter(|_| !self.talk.is_ours(&line));
        Chat { peer: author, name: line.name.to_string(), text: line.text, at: line.at }
    }

    /// It is told each time there is a new way to somebody; news is only what changes.
    fn tell_presence(&mut self, peer: PeerId, presence: Presence) {
        let Presence { muted, hand, .. } = presence;
        let before = self.told.insert(peer, presence).unwrap_or_default();
        if (before.muted, before.hand) != (muted, hand) {
            let report = PresenceReport { peer, name: self.session.name_of(peer), muted, hand };
            self.session.reporter().tell(Report::Presence(report));
        }
    }

    fn endpoint(&self) -> &Endpoint {
        self.session.endpoint()
    }

    /// The devices hold it for a block's time at most.
    fn studio(&self) -> MutexGuard<'_, Studio> {
        self.ends.studio.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The devices of this machine, for people or for programs.
fn print(devices: &Devices, is_json: bool) -> anyhow::Result<()> {
    if is_json {
        println!("{}", serde_json::to_string(devices)?);
        return Ok(());
    }
    for (title, devices) in [("microphones", &devices.microphones), ("loudspeakers", &devices.speakers)] {
        println!("{title}:{}", if devices.is_empty() { " none" } else { "" });
        for device in devices {
            println!("  {device}{}", if device.is_default { ", the default" } else { "" });
        }
    }
    Ok(())
}
