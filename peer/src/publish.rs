//! `peer publish`: a file, standard input or a test pattern, shown to everybody in the room.

use meipo::net::Endpoint;
use meipo::wire::name::Name;
use tokio::time::{Instant, timeout};

use crate::args::{Input, Options, PublishArgs};
use crate::events::{ErrorReport, Report};
use crate::feed::{Feed, OpenFile};
use crate::params::{READY_GRACE, READY_INTERVAL, READY_PATIENCE};
use crate::pattern_feed::Settings;
use crate::program::Program;
use crate::room::{self, Parts};
use crate::session::{Moment, Session, Stay};

/// Publishes until the end of the file, or until told to stop.
///
/// # Errors
/// When the link is wrong, there is nothing that can be published, or the room cannot be entered.
pub async fn run(args: &PublishArgs, options: &Options) -> anyhow::Result<()> {
    let (link, input) = args.resolve(options)?;
    let program = Program::start(options, &link)?;
    let result = async {
        let stay = Stay { link, playout: None };
        match input {
            Input::Pattern(spec) => {
                let hue = args.hue.unwrap_or_else(|| hue_of(&options.name()));
                let session = program.join(stay, options).await?;
                let feed = Feed::pattern(&Settings { spec, bitrate: args.bitrate, hue })?;
                room::run(session, Parts { feed: Some(feed), ..Parts::default() }).await
            }
            Input::File(_) | Input::Stdin => {
                let wanted = match (args.wait_for, &input) {
                    (Some(wanted), _) => Audience::Count(wanted),
                    (None, Input::Stdin) => Audience::Count(0),
                    (None, Input::File(_) | Input::Pattern(_)) => Audience::Present,
                };
                // Nothing may come for long on standard input; being told to stop must not wait for it.
                let file = tokio::select! {
                    file = OpenFile::open(input, args.is_looped) => file?,
                    () = program.stop().asked() => return Ok(()),
                };
                for message in &file.skipped {
                    let report = ErrorReport { message: message.clone(), peer: None, name: None };
                    program.reporter().tell(Report::Error(report));
                }
                let mut session = program.join(stay, options).await?;
                match wait_for_audience(&mut session, wanted).await {
                    Ok(true) => room::run(session, Parts { feed: Some(Feed::file(file)), ..Parts::default() }).await,
                    Ok(false) => {
                        session.leave().await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
        }
    };
    let result = result.await;
    program.end().await;
    result
}

/// Who is to see the beginning.
#[derive(Clone, Copy, Debug)]
enum Audience {
    /// So many, whoever they are.
    Count(usize),
    /// Everybody who was there before us, unless it takes too long.
    Present,
}

/// Waits until those are connected who are to see the beginning; `false` if the stay was over before.
async fn wait_for_audience(session: &mut Session, wanted: Audience) -> anyhow::Result<bool> {
    let mut ready_by: Option<Instant> = None;
    loop {
        let now = Instant::now();
        if session.has_joined() {
            let since = *ready_by.get_or_insert(now);
            let is_ready = match wanted {
                Audience::Count(wanted) => session.connected() >= wanted,
                Audience::Present if now >= since + READY_PATIENCE => true,
                Audience::Present => now >= since + READY_GRACE && is_complete(session.endpoint()).await,
            };
            if is_ready {
                return Ok(true);
            }
        }
        match timeout(READY_INTERVAL, session.next()).await {
            Ok(Ok(Moment::Over)) => return Ok(false),
            Ok(Ok(Moment::Tick)) => session.report_stats(|_, _| {}).await,
            Ok(Ok(Moment::Event(_))) | Err(_) => {}
            Ok(Err(error)) => return Err(error.into()),
        }
    }
}

/// Whether everybody we were introduced to can be spoken to.
async fn is_complete(endpoint: &Endpoint) -> bool {
    endpoint.missing_peers().await == 0
}

/// A colour that is the same for the same name, and most likely another for another.
fn hue_of(name: &Name) -> u16 {
    let sum = name.as_str().bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    u16::try_from(sum % 360).unwrap_or(0)
}
