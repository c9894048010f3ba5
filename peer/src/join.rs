//! `peer join`: the call in a browser, with a page that this program serves.
//!
//! Nothing is sent to anybody before the person has entered the room on the page. A page that is closed leaves the call
//! running, and an address to open it again; leaving on the page, or Ctrl-C, ends both.

use std::sync::Arc;
use std::time::Duration;

use meipo::link::Link;
use meipo::media::playout::Playout;
use meipo::net::clock::Clock;
use meipo::params::{PLAYOUT_LEAST, PLAYOUT_MOST};
use meipo::wire::name::Name;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval, sleep_until, timeout};

use crate::args::{JoinArgs, Options, PageArgs};
use crate::board::Board;
use crate::events::{ErrorReport, Line, PageReport, Report};
use crate::identity::Claim;
use crate::output::{Reporter, Style};
use crate::params::{PAGE_GOODBYE, PAGE_SOUND_BEHIND};
use crate::program::Program;
use crate::session::{Moment, Session, Stay, StayError};
use crate::stop::Stop;
use crate::ui::host::Host;
use crate::ui::message::{FromPage, ToPage, VERSION, VideoWishes, Welcome};
use crate::ui::outbox::Outbox;
use crate::ui::server::{Arrival, PageNumber, Server, text_of};
use crate::ui::turns::{Turn, Turns};

/// Serves the page until the person leaves.
///
/// # Errors
/// When the link is wrong, the page cannot be served, or the room cannot be entered.
pub async fn run(args: &JoinArgs, options: &Options) -> anyhow::Result<()> {
    let link = args.resolve(options)?;
    let style = Style::choose(options).beside_page();
    let program = Program::start_with(style, Board::new(Board::place_of(&link)))?;
    let result = attend(&args.page, options, link, &program).await;
    program.end().await;
    result
}

/// Serves the page until the person leaves, in a program that has begun.
///
/// # Errors
/// When the page cannot be served, or the room cannot be entered.
pub async fn attend(args: &PageArgs, options: &Options, link: Link, program: &Program) -> anyhow::Result<()> {
    let (server, arrivals) = Server::start(args.port)?;
    let (listener, reports) = mpsc::unbounded_channel();
    let reporter = program.reporter().heard_by(listener);
    let address = server.address()?;
    reporter.tell(Report::Page(PageReport { url: address.clone() }));
    if !args.no_browser {
        open(address, program.reporter().clone());
    }
    let mut desk = Desk {
        args,
        options,
        link,
        server,
        reporter,
        console: program.reporter().clone(),
        stop: program.stop().clone(),
        clock: Clock::start(),
        turns: Turns::default(),
        page: None,
        call: None,
    };
    let result = desk.attend(arrivals, reports).await;
    desk.end(&result).await;
    result
}

/// Opens the system's browser; where there is none the address that was printed has to do.
fn open(address: String, reporter: Reporter) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = open::that_detached(address) {
            tracing::debug!(%error, "no browser");
            reporter.note("no browser can be opened here; open the address above in one");
        }
    });
}

/// Between the page and the call.
struct Desk<'a> {
    args: &'a PageArgs,
    options: &'a Options,
    link: Link,
    server: Server,
    /// Tells the page, too.
    reporter: Reporter,
    /// Tells only whoever started the program.
    console: Reporter,
    stop: Stop,
    clock: Clock,
    turns: Turns,
    page: Option<Page>,
    call: Option<Call>,
}

/// The page that speaks for the person now.
struct Page {
    number: PageNumber,
    outbox: Arc<Outbox>,
}

impl Page {
    /// Another speaks for the person.
    fn replace(&self) {
        self.outbox.tell(text_of(&ToPage::Replaced));
        self.outbox.close();
    }
}

/// The person is in the room, or on the way there.
struct Call {
    session: Session,
    host: Host,
    blocks: Interval,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Course {
    On,
    Over,
}

enum Step {
    Stopped,
    Arrival(Option<Arrival>),
    Report(Report),
    Moment(Result<Moment, StayError>),
    Block(Instant),
}

impl Desk<'_> {
    async fn attend(
        &mut self,
        mut arrivals: mpsc::Receiver<Arrival>,
        mut reports: mpsc::UnboundedReceiver<Report>,
    ) -> anyhow::Result<()> {
        let ends = self.options.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        loop {
            let stop = self.stop.clone();
            let step = tokio::select! {
                () = stop.asked() => Step::Stopped,
                () = over(ends) => Step::Stopped,
                arrival = arrivals.recv() => Step::Arrival(arrival),
                Some(report) = reports.recv() => Step::Report(report),
                step = in_call(&mut self.call) => step,
            };
            let course = match step {
                Step::Stopped | Step::Arrival(None) | Step::Moment(Ok(Moment::Over)) => Course::Over,
                Step::Arrival(Some(arrival)) => self.handle_arrival(arrival).await?,
                Step::Report(report) => self.handle_report(&report),
                Step::Moment(Ok(moment)) => self.handle_moment(moment).await,
                Step::Moment(Err(error)) => return Err(error.into()),
                Step::Block(due) => self.handle_block(due),
            };
            if course == Course::Over {
                return Ok(());
            }
        }
    }

    /// Says goodbye to the page and to the room.
    async fn end(self, result: &anyhow::Result<()>) {
        let Desk { page, call, server, .. } = self;
        if let Some(page) = &page {
            page.outbox.tell(text_of(&match result {
                Ok(()) => ToPage::Left,
                Err(error) => ToPage::of_error(error),
            }));
            page.outbox.close();
        }
        if let Some(call) = call {
            call.session.leave().await;
        }
        if let Some(page) = page {
            let _ = timeout(PAGE_GOODBYE, page.outbox.sent()).await;
        }
        drop(server);
    }

    async fn handle_arrival(&mut self, arrival: Arrival) -> anyhow::Result<Course> {
        match arrival {
            Arrival::Opened { page, outbox, resume, visit } => {
                let page = Page { number: page, outbox };
                match self.turns.take(visit) {
                    Turn::Yours => self.handle_opened(page, resume),
                    Turn::Lost => page.replace(),
                }
            }
            Arrival::Closed(number) if self.is_current(number) => self.handle_closed()?,
            Arrival::Said(number, said) if self.is_current(number) => match said {
                Ok(FromPage::Leave) => return Ok(Course::Over),
                Ok(said) => self.handle_said(said).await?,
                Err(error) => self.complain(error.to_string()),
            },
            Arrival::Media(number, media) if self.is_current(number) => {
                if let Some(Call { session, host, .. }) = &mut self.call {
                    host.handle_media(media, session.endpoint());
                }
            }
            // A page that was replaced has nothing to say any more.
            Arrival::Closed(_) | Arrival::Said(..) | Arrival::Media(..) => {}
        }
        Ok(Course::On)
    }

    fn is_current(&self, number: PageNumber) -> bool {
        self.page.as_ref().is_some_and(|page| page.number == number)
    }

    /// A page takes over.
    fn handle_opened(&mut self, page: Page, resume: String) {
        if let Some(former) = self.page.take() {
            former.replace();
        }
        page.outbox.tell(text_of(&ToPage::Welcome(Box::new(self.welcome(resume)))));
        if let Some(Call { session, host, .. }) = &mut self.call {
            host.set_page(Some(page.outbox.clone()), session.endpoint());
            host.recount(session.endpoint(), self.clock.now());
        }
        self.page = Some(page);
    }

    /// The page is gone; the person can come back.
    fn handle_closed(&mut self) -> anyhow::Result<()> {
        self.page = None;
        if let Some(Call { session, host, .. }) = &mut self.call {
            host.set_page(None, session.endpoint());
        }
        let url = self.server.address()?;
        self.reporter.tell(Report::Page(PageReport { url }));
        Ok(())
    }

    async fn handle_said(&mut self, said: FromPage) -> anyhow::Result<()> {
        match (said, &mut self.call) {
            (FromPage::Ping { t }, _) => self.tell(&ToPage::Pong { t }),
            (FromPage::Hello { .. }, _) => self.complain("the page has said hello before".to_owned()),
            (FromPage::Join { .. }, Some(_)) => self.complain("you are in the room already".to_owned()),
            (FromPage::Join { name }, None) => match name.parse() {
                Ok(name) => self.enter(name).await?,
                Err(error) => self.complain(format!("{error}")),
            },
            (said, Some(Call { session, host, .. })) => {
                host.handle_page(said, session.endpoint(), self.clock.now()).await;
            }
            (_, None) => self.complain("enter the room first".to_owned()),
        }
        Ok(())
    }

    async fn enter(&mut self, name: Name) -> anyhow::Result<()> {
        let options = Options { name: Some(name.clone()), ..self.options.clone() };
        let playout = Some(Playout::Adaptive { least: PLAYOUT_LEAST, most: PLAYOUT_MOST });
        let claim = Claim::new(&options, |message| self.console.note(message))?;
        let stay = Stay { link: self.link.clone(), playout };
        let session = Session::start(stay, &options, claim, self.reporter.clone(), self.stop.clone()).await?;
        let mut host = Host::new(session.endpoint().id(), name, self.args.bitrate.ceiling(), self.clock.now());
        host.set_page(self.page.as_ref().map(|page| page.outbox.clone()), session.endpoint());
        self.call = Some(Call { session, host, blocks: interval(Duration::from_millis(10)) });
        Ok(())
    }

    fn handle_report(&mut self, report: &Report) -> Course {
        if let Some(call) = &mut self.call {
            call.host.handle_report(report);
        }
        Course::On
    }

    async fn handle_moment(&mut self, moment: Moment) -> Course {
        let Some(Call { session, host, .. }) = &mut self.call else { return Course::On };
        match moment {
            Moment::Event(event) => host.handle_event(event, session.endpoint(), self.clock.now()),
            Moment::Tick => session.report_stats(|_, _| {}).await,
            Moment::Over => return Course::Over,
        }
        Course::On
    }

    /// 10 ms of sound, or a little later several of them; after a long sleep only what is new.
    fn handle_block(&mut self, due: Instant) -> Course {
        if let Some(Call { session, host, blocks }) = &mut self.call {
            if due.elapsed() > blocks.period() * PAGE_SOUND_BEHIND {
                blocks.reset();
            }
            host.handle_block(session.endpoint(), self.clock.now());
        }
        Course::On
    }

    fn welcome(&self, resume: String) -> Welcome {
        let video = self.args.video;
        Welcome {
            version: VERSION,
            resume,
            name: self.options.name().to_string(),
            room: self.link.room().to_owned(),
            invite: self.link.to_string(),
            host: self.link.host_key().is_some(),
            video: VideoWishes {
                width: video.width,
                height: video.height,
                rate: video.rate,
                bitrate_kbps: self.args.bitrate.ceiling().map(|rate| rate.as_bits() / 1000),
                keyframe_interval: self.args.keyframe_interval.seconds(),
            },
            in_call: self.call.is_some(),
        }
    }

    fn complain(&self, message: String) {
        if let Some(page) = &self.page {
            let report = Report::Error(ErrorReport { message, peer: None, name: None });
            page.outbox.tell(text_of(&Line { report, at: None }));
        }
    }

    fn tell(&self, message: &ToPage) {
        if let Some(page) = &self.page {
            page.outbox.tell(text_of(message));
        }
    }
}

async fn over(ends: Option<Instant>) {
    match ends {
        Some(ends) => sleep_until(ends).await,
        None => std::future::pending().await,
    }
}

async fn in_call(call: &mut Option<Call>) -> Step {
    let Some(Call { session, blocks, .. }) = call else { return std::future::pending().await };
    tokio::select! {
        moment = session.next() => Step::Moment(moment),
        due = blocks.tick() => Step::Block(due),
    }
}
