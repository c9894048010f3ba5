//! `peer demo`: a rendezvous and three peers in this process, who see and hear each other.
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
use crate::output::{Reporter, Style};
use crate::params::DEMO_BITRATE;
use crate::pattern_feed::Settings;
use crate::program::Program;
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
    let style = if args.headless && style == Style::Table { Style::Plain } else { style };
    let program = Program::start_with(style, Board::new("demo on this machine".to_owned()))?;
    program.reporter().tell(Report::Invite(Invite { link: rendezvous.link.to_string() }));
    if style == Style::Plain {
        program.reporter().note("open another terminal and run: peer watch 'LINK', with the link above");
    }
    let result = {
        let [alice, bob, carol] = PEOPLE.map(|person| {
            stay(person, args, options, rendezvous.link.clone(), program.reporter().for_peer(person.0), program.stop())
        });
        tokio::try_join!(alice, bob, carol).map(drop)
    };
    program.end().await;
    rendezvous.end().await;
    result
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
            seed: random()?,
        };
        let listen = Listen { main: SocketAddr::from(([127, 0, 0, 1], 0)), alternate: None, tunnels: false };
        let server = Server::bind(listen, config).await?;
        let port = server.local_address().context("the system does not say where we listen")?.port();
        let host = Host::Ipv4([127, 0, 0, 1].into());
        let link = Link::new(host, port, "demo", identity.id(), RoomSecret::from_bytes(random()?))?;
        let (stop, stopped) = watch::channel(0);
        Ok(Rendezvous { link, task: tokio::spawn(server.run(stopped)), stop })
    }

    /// Ends at once: whoever else is in the room loses it.
    async fn end(self) {
        drop(self.stop);
        let _ = self.task.await;
    }
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
    Ok(bytes)
}

/// Who shows themselves, each in a colour of their own, in degrees.
const PEOPLE: [(&str, u16); 3] = [("alice", 10), ("bob", 130), ("carol", 250)];
