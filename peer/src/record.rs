//! `peer record`: one Matroska file for each participant.

use anyhow::Context;
use meipo::media::playout::Playout;
use meipo::params::RECORDING_PATIENCE;

use crate::args::{Options, RecordArgs};
use crate::keeper::Keeper;
use crate::program::Program;
use crate::room::{self, Parts};
use crate::session::Stay;

/// Records until told to stop.
///
/// # Errors
/// When the link is wrong, the folder cannot be made, or the room cannot be entered.
pub async fn run(args: &RecordArgs, options: &Options) -> anyhow::Result<()> {
    let (link, folder) = args.resolve(options)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let program = Program::start(options, &link)?;
    let result = async {
        let playout = Some(Playout::Ordered { patience: RECORDING_PATIENCE });
        let session = program.join(Stay { link, playout }, options).await?;
        room::run(session, Parts { keeper: Some(Keeper::start(folder)?), ..Parts::default() }).await
    };
    let result = result.await;
    program.end().await;
    result
}
