//! What every command that enters a room needs around it: output, signals, identity.

use std::io;
use std::sync::mpsc::Receiver;

use meipo::link::Link;

use crate::args::Options;
use crate::board::Board;
use crate::identity::Claim;
use crate::output::{Message, Output, Reporter, Style};
use crate::session::{Session, Stay};
use crate::stop::Stop;

/// Output and signals, while the program runs.
#[derive(Debug)]
pub struct Program {
    reporter: Reporter,
    output: Output,
    stop: Stop,
}

impl Program {
    /// Starts to write and to listen for signals.
    ///
    /// # Errors
    /// When the system does not let us listen for signals.
    pub fn start(options: &Options, link: &Link) -> anyhow::Result<Self> {
        Program::start_with(Style::choose(options), Board::new(Board::place_of(link)))
    }

    /// Starts to write in this style, and to listen for signals.
    ///
    /// # Errors
    /// When the system does not let us listen for signals.
    pub fn start_with(style: Style, board: Board) -> anyhow::Result<Self> {
        let stop = Stop::new();
        stop.listen(style.restore())?;
        let (reporter, output) = Output::start(style, board, stop.clone());
        Ok(Program { reporter, output, stop })
    }

    /// Starts to show things on a screen of its own, which `restore` takes away, and to listen for signals.
    ///
    /// # Errors
    /// When the system does not let us listen for signals.
    pub fn start_screen(
        restore: fn(),
        show: impl FnOnce(&Receiver<Message>) -> io::Result<()> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let stop = Stop::new();
        stop.listen(restore)?;
        let (reporter, output) = Output::start_with(stop.clone(), show);
        Ok(Program { reporter, output, stop })
    }

    /// Enters a room under the identity that is asked for.
    ///
    /// # Errors
    /// When there is no identity, the rendezvous' name is not known, or no socket can be had.
    pub async fn join(&self, stay: Stay, options: &Options) -> anyhow::Result<Session> {
        let claim = Claim::new(options, |message| self.reporter.note(message))?;
        Session::start(stay, options, claim, self.reporter.clone(), self.stop.clone()).await
    }

    /// Where to tell things.
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Whether to end.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Writes out the rest.
    pub async fn end(self) {
        drop(self.reporter);
        self.output.finish().await;
    }
}
