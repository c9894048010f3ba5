//! `peer watch`: receives and decodes everything, and reports how well it comes.

use meipo::media::playout::Playout;
use meipo::params::{PLAYOUT_LEAST, PLAYOUT_MOST};

use crate::args::{Options, WatchArgs};
use crate::program::Program;
use crate::room::{self, Parts};
use crate::session::Stay;
use crate::viewer::Viewer;

/// Watches until told to stop.
///
/// # Errors
/// When the link is wrong, or the room cannot be entered.
pub async fn run(args: &WatchArgs, options: &Options) -> anyhow::Result<()> {
    run_with(Viewer::start()?, args, options).await
}

/// Watches with this viewer until told to stop.
///
/// # Errors
/// When the link is wrong, or the room cannot be entered.
pub async fn run_with(viewer: Viewer, args: &WatchArgs, options: &Options) -> anyhow::Result<()> {
    let link = args.resolve(options)?;
    let program = Program::start(options, &link)?;
    let result = async {
        let adaptive = Playout::Adaptive { least: PLAYOUT_LEAST, most: PLAYOUT_MOST };
        let playout = Some(args.playout_delay.map_or(adaptive, |delay| Playout::Live { delay }));
        let session = program.join(Stay { link, playout }, options).await?;
        room::run(session, Parts { viewer: Some(viewer), ..Parts::default() }).await
    };
    let result = result.await;
    program.end().await;
    result
}
