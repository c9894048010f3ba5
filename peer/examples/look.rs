//! `peer watch` that keeps some of the test pictures it shows, for whoever measures how good they are:
//! `look LINK --keep FOLDER`, and every option of `peer watch`.

use std::path::PathBuf;

use clap::Parser;
use peer::args::{Options, WatchArgs};
use peer::decode::Decoders;
use peer::viewer::Viewer;
use peer::{logging, watch};

#[path = "support/samples.rs"]
mod samples;

use samples::Samples;

/// Receive and decode everything in the room, report how well it comes, and keep about one test picture a second
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    watch: WatchArgs,
    /// Folder for the pictures
    #[arg(long, value_name = "FOLDER")]
    keep: PathBuf,
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { watch, keep, options } = Args::parse();
    logging::start(&options)?;
    let mut samples = Samples::new(keep);
    let decoders = Decoders::seen_by(move |picture| samples.handle_picture(picture));
    watch::run_with(Viewer::start_with(decoders)?, &watch, &options).await
}
