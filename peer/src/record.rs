//! `peer record`: one Matroska file for each participant.

use std::fs::{self, File};
use std::path::Path;

use anyhow::anyhow;
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
/// When the link is wrong, nothing can be written into the folder, or the room cannot be entered.
pub async fn run(args: &RecordArgs, options: &Options) -> anyhow::Result<()> {
    let (link, folder) = args.resolve(options)?;
    prepare(&folder)?;
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

/// Makes the folder and a file in it that is gone at once: better now than when the first frame comes.
fn prepare(folder: &Path) -> anyhow::Result<()> {
    let refusal =
        |what: &str, error| anyhow!("cannot {what} the folder {}: {error}; give another DIR", folder.display());
    fs::create_dir_all(folder).map_err(|error| refusal("make", error))?;
    let probe = folder.join(format!(".meipo-{}", std::process::id()));
    let written = File::create_new(&probe).and_then(|_| fs::remove_file(&probe));
    written.map_err(|error| refusal("write into", error))
}
