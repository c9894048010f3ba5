//! `peer demo`: a rendezvous and three peers in this process, who see and hear each other, and a page to join them.
//!
//! Everything but the network between them is as it is between machines: sockets, encryption, paths, codecs.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use meipo::limits::Limits;
use meipo::link::{Host, Link};
use meipo::media::playout::Playout;
use meipo::net::identity::Identity;
use meipo::net::rendezvous_machine::RendezvousMachineConfig;
use meipo::net::server::{Listen, Server};
use meipo::params::{PLAYOUT_LEAST, PLAYOUT_MOST};
use meipo::trust::RoomSecret;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::args::{DemoArgs, Options};
use crate::board::Board;
use crate::events::{Invite, Report};
use crate::feed::Feed;
use crate::identity::Claim;
use crate::join;
use crate::output::{Reporter, Style};
use crate::params::DEMO_BITRATE;
use crate::pattern_feed::Settings;
use crate::program::Program;
use crate::random;
use crate::room::{self, Parts};
use crate::session::{Session, Stay};
use crate::stop::Stop;
use crate::viewer::Viewer;

/// Shows it until told to stop.
///
/// # Errors
/// When no socket can be had on this machine.
pub async fn run(args: &DemoArgs, options: &Options) -> anyhow::Result<()> {
    let rendezvous = Rendezvous::start().await?;
    let style = Style::choose(options);
    let style = if args.headless { style } else { style.beside_page() };
    let program = Program::start_with(style, Board::new("demo on this machine".to_owned()))?;
    program.reporter().tell(Report::Invite(Invite { link: rendezvous.link.to_string() }));
    let is_heard = args.headless || style == Style::Json;
    let result = {
        let [alice, bob, carol] = PEOPLE.map(|person| {
            let reporter = if is_heard { program.reporter().for_peer(person.0) } else { Reporter::unheard() };
            stay(person, args, options, rendezvous.link.clone(), reporter, program.stop())
        });
        let guest = guest(args, options, rendezvous.link.clone(), &program);
        tokio::try_join!(alice, bob, carol, guest).map(drop)
    };
    program.end().await;
    rendezvous.end().await;
    result
}

/// The person, on the page. When they leave, the demo is over.
async fn guest(args: &DemoArgs, options: &Options, link: Link, program: &Program) -> anyhow::Result<()> {
    if args.headless {
        return Ok(());
    }
    join::attend(&args.page, options, link, program).await?;
    if !program.stop().is_asked() {
        program.stop().ask();
    }
    Ok(())
}

/// One peer: shows its pattern, and decodes what the others show. One that ends, ends all.
async fn stay(
    (name, hue): (&str, u16),
    args: &DemoArgs,
    options: &Options,
    link: Link,
    reporter: Reporter,
    stop: &Stop,
) -> anyhow::Result<()> {
    let options = Options { name: Some(name.parse()?), ..options.clone() };
    let stay = Stay { link, playout: Some(Playout::Adaptive { least: PLAYOUT_LEAST, most: PLAYOUT_MOST }) };
    let session = Session::start(stay, &options, Claim::temporary()?, reporter, stop.clone()).await?;
    let feed = Feed::pattern(&Settings { spec: args.pattern, bitrate: DEMO_BITRATE, hue })?;
    let parts = Parts { feed: Some(feed), viewer: Some(Viewer::start()?), keeper: None };
    room::run(session, parts).await
}

/// A rendezvous on this machine, for as long as the demo lasts.
struct Rendezvous {
    link: Link,
    task: JoinHandle<()>,
    stop: watch::Sender<u32>,
}

impl Rendezvous {
    async fn start() -> anyhow::Result<Self> {
        let identity = Arc::new(Identity::generate()?);
        let config = RendezvousMachineConfig {
            identity: identity.clone(),
            limits: Limits::default(),
            relays: Vec::new(),
            is_relay: true,
            stun_alternate: None,
            seed: random::bytes()?,
        };
        let listen = Listen { main: SocketAddr::from(([127, 0, 0, 1], 0)), alternate: None, tunnels: false };
        let server = Server::bind(listen, config).await?;
        let port = server.local_address().context("the system does not say where we listen")?.port();
        let host = Host::Ipv4([127, 0, 0, 1].into());
        let link = Link::new(host, port, "demo", identity.id(), RoomSecret::from_bytes(random::bytes()?))?;
        let (stop, stopped) = watch::channel(0);
        Ok(Rendezvous { link, task: tokio::spawn(server.run(stopped)), stop })
    }

    /// Ends at once: whoever else is in the room loses it.
    async fn end(self) {
        drop(self.stop);
        let _ = self.task.await;
    }
}

/// Who shows themselves, each in a colour of their own, in degrees.
const PEOPLE: [(&str, u16); 3] = [("alice", 10), ("bob", 130), ("carol", 250)];
