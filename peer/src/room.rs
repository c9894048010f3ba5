//! The loop of every command: what happens in the room goes to those who have a part in it, what they want goes out.

use meipo::node::Event;
use meipo::units::{PeerId, TrackId};

use crate::decode::Wish;
use crate::events::{Recording, Report};
use crate::feed::{Feed, Offered};
use crate::keeper::Keeper;
use crate::recordings::Notice;
use crate::session::{Moment, Session};
use crate::viewer::Viewer;

/// What this program does in the room; any of it, or all.
#[derive(Debug, Default)]
pub struct Parts {
    /// Shows something.
    pub feed: Option<Feed>,
    /// Decodes what the others show.
    pub viewer: Option<Viewer>,
    /// Records it.
    pub keeper: Option<Keeper>,
}

/// Why the loop was left.
enum Step {
    Moment(Moment),
    Offered(Option<Offered>),
    Wish(Wish),
    Notice(Notice),
}

/// Plays all parts until the stay is over or everything has been shown, then leaves politely.
///
/// # Errors
/// When the rendezvous refuses us, the time is over before we were let in, or the feed fails.
pub async fn run(mut session: Session, mut parts: Parts) -> anyhow::Result<()> {
    let played = play(&mut session, &mut parts).await;
    if let Some(feed) = &parts.feed {
        feed.tracks().iter().for_each(|track| session.endpoint().end(track.id));
    }
    if let Some(keeper) = parts.keeper.take() {
        keeper.finish().await.into_iter().for_each(|notice| handle_notice(&session, notice));
    }
    session.leave().await;
    played
}

async fn play(session: &mut Session, parts: &mut Parts) -> anyhow::Result<()> {
    if let Some(feed) = &parts.feed {
        for track in feed.tracks() {
            session.endpoint().publish(track.clone()).await?;
        }
        if let Some((track, smaller)) = feed.smaller() {
            session.endpoint().publish_smaller(track, smaller).await?;
        }
    }
    loop {
        let Parts { feed, viewer, keeper } = parts;
        let step = tokio::select! {
            biased;
            moment = session.next() => Step::Moment(moment?),
            offered = next_offered(feed) => Step::Offered(offered?),
            wish = next_wish(viewer) => Step::Wish(wish),
            notice = next_notice(keeper) => Step::Notice(notice),
        };
        match step {
            Step::Moment(Moment::Over) | Step::Offered(None) => return Ok(()),
            Step::Moment(Moment::Event(event)) => handle_event(session, parts, &event),
            Step::Moment(Moment::Tick) => {
                let viewer = parts.viewer.as_ref();
                let complete = |peer, stats: &mut _| viewer.into_iter().for_each(|viewer| viewer.complete(peer, stats));
                session.report_stats(complete).await;
            }
            Step::Offered(Some(Offered::Frame(frame))) => session.endpoint().send(frame),
            Step::Offered(Some(Offered::Track(track))) => session.endpoint().publish(track).await?,
            Step::Wish(Wish::KeyFrame(peer, track)) => session.endpoint().request_key_frame(peer, track),
            Step::Wish(Wish::CannotDecode(peer, message)) => session.report_error(Some(peer), message),
            Step::Notice(notice) => handle_notice(session, notice),
        }
    }
}

fn handle_event(session: &Session, parts: &Parts, event: &Event) {
    if let (Some(feed), Event::KeyFrameWanted { track }) = (&parts.feed, event) {
        feed.want_key_frame(*track);
    }
    if let (Some(feed), Event::Bitrate(rate)) = (&parts.feed, event) {
        feed.set_bitrate(*rate);
    }
    if let (Some(feed), Event::SmallerBitrate { track, rate }) = (&parts.feed, event) {
        feed.set_smaller_bitrate(*track, *rate);
    }
    if let Some((peer, track)) = parts.viewer.as_ref().and_then(|viewer| viewer.handle(event)) {
        ask_again(session, peer, track, "decoding cannot keep up");
    }
    if let (Some(keeper), Event::Frame { peer, frame }) = (&parts.keeper, event) {
        if !keeper.handle(event) {
            ask_again(session, *peer, frame.track, "the disk cannot keep up");
        }
    } else if let Some(keeper) = &parts.keeper
        && !keeper.handle(event)
    {
        session.report_error(None, "the disk cannot keep up: a recording may be incomplete".to_owned());
    }
}

/// A frame had to be left out here; what follows needs a key frame.
fn ask_again(session: &Session, peer: PeerId, track: TrackId, reason: &str) {
    tracing::warn!(peer = %session.name_of(peer), "a frame is left out: {reason}");
    session.endpoint().request_key_frame(peer, track);
}

fn handle_notice(session: &Session, notice: Notice) {
    match notice {
        Notice::Begun(peer, path) => {
            let file = path.display().to_string();
            session.reporter().tell(Report::Recording(Recording { peer, name: session.name_of(peer), file }));
        }
        Notice::Failed(peer, message) => session.report_error(Some(peer), message),
        Notice::NeedsKey(peer, track) => session.endpoint().request_key_frame(peer, track),
    }
}

async fn next_offered(feed: &mut Option<Feed>) -> anyhow::Result<Option<Offered>> {
    match feed {
        Some(feed) => feed.next().await,
        None => std::future::pending().await,
    }
}

async fn next_wish(viewer: &mut Option<Viewer>) -> Wish {
    match viewer {
        Some(viewer) => viewer.wish().await,
        None => std::future::pending().await,
    }
}

async fn next_notice(keeper: &mut Option<Keeper>) -> Notice {
    match keeper {
        Some(keeper) => keeper.notice().await,
        None => std::future::pending().await,
    }
}
