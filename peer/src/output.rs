//! Standard output: reports go in, JSON or lines for people come out, each as soon as it is known.
//!
//! Writing happens on a thread of its own: a reader that is slow, or a terminal that is paused, never holds up a call.
//! When nobody reads any more the program is asked to end.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::UnboundedSender;

use crate::args::Options;
use crate::board::{Board, Meters};
use crate::events::{ErrorReport, Line, Report};
use crate::params::PLAIN_STATS_EVERY;
use crate::stop::Stop;
use crate::table;

/// How reports are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// One JSON object a line.
    Json,
    /// Sentences, one a line.
    Plain,
    /// The live table.
    Table,
}

impl Style {
    /// What suits the person: a table only where it can be drawn, and nothing else is written over it.
    pub fn choose(options: &Options) -> Self {
        let is_logged = options.verbose > 0 || std::env::var_os("RUST_LOG").is_some();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if options.json {
            Style::Json
        } else if !io::stdout().is_terminal() || is_dumb || (is_logged && io::stderr().is_terminal()) {
            Style::Plain
        } else {
            Style::Table
        }
    }

    /// Beside a page, or anything else that the person looks at, sentences are enough.
    pub fn beside_page(self) -> Self {
        if self == Style::Table { Style::Plain } else { self }
    }

    /// Gives the terminal back, before the process ends at once.
    pub fn restore(self) -> fn() {
        match self {
            Style::Json | Style::Plain => || {},
            Style::Table => table::restore,
        }
    }
}

/// What is handed in.
#[derive(Clone, Debug)]
pub enum Message {
    /// An event.
    Line(Box<Line>),
    /// A remark for the person that is no event: it goes to stderr.
    Note(String),
    /// How loud everybody is, for a screen.
    Meters(Meters),
}

/// Where reports are handed in. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct Reporter {
    messages: Sender<Message>,
    at: Option<String>,
    /// Who is told the same.
    listener: Option<UnboundedSender<Report>>,
}

impl Reporter {
    /// Tells that something happened.
    pub fn tell(&self, report: Report) {
        if let Some(listener) = &self.listener {
            // Whoever does not listen any more does not want to know.
            let _ = listener.send(report.clone());
        }
        // After the output has ended there is nobody to tell.
        let _ = self.messages.send(Message::Line(Box::new(Line { report, at: self.at.clone() })));
    }

    /// Tells the person something that is no event.
    pub fn note(&self, message: &str) {
        if let Some(listener) = &self.listener {
            let error = ErrorReport { message: message.to_owned(), peer: None, name: None };
            let _ = listener.send(Report::Error(error));
        }
        let _ = self.messages.send(Message::Note(message.to_owned()));
    }

    /// Tells how loud everybody is, which only a screen shows.
    pub fn meter(&self, meters: Meters) {
        let _ = self.messages.send(Message::Meters(meters));
    }

    /// A reporter nobody listens to.
    pub fn unheard() -> Self {
        Reporter { messages: channel().0, at: None, listener: None }
    }

    /// A reporter that says who tells: one of several peers in this process.
    pub fn for_peer(&self, name: &str) -> Self {
        Reporter { at: Some(name.to_owned()), ..self.clone() }
    }

    /// A reporter that tells `listener` everything it tells.
    pub fn heard_by(&self, listener: UnboundedSender<Report>) -> Self {
        Reporter { listener: Some(listener), ..self.clone() }
    }
}

/// The thread that writes.
#[derive(Debug)]
pub struct Output {
    thread: JoinHandle<()>,
}

impl Output {
    /// Begins to write. `stop` is asked when nobody reads any more, or the person says so; `board` is what a table begins
    /// with.
    pub fn start(style: Style, board: Board, stop: Stop) -> (Reporter, Output) {
        let asked = stop.clone();
        Output::start_with(stop, move |messages| match style {
            Style::Json => write_json(messages, io::stdout()),
            Style::Plain => write_plain(messages, io::stdout()),
            Style::Table => table::run(messages, board, &asked),
        })
    }

    /// Begins to write by means of `write`. `stop` is asked when it fails.
    pub fn start_with(
        stop: Stop,
        write: impl FnOnce(&Receiver<Message>) -> io::Result<()> + Send + 'static,
    ) -> (Reporter, Output) {
        let (messages, received) = channel();
        let thread = thread::spawn(move || {
            if let Err(error) = write(&received) {
                tracing::debug!(%error, "nobody reads the output");
                stop.ask();
            }
        });
        (Reporter { messages, at: None, listener: None }, Output { thread })
    }

    /// Writes out the rest; all reporters must be gone.
    pub async fn finish(self) {
        let _ = tokio::task::spawn_blocking(|| self.thread.join()).await;
    }
}

fn write_json(messages: &Receiver<Message>, mut output: impl Write) -> io::Result<()> {
    for line in messages.iter().filter_map(line_of) {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        output.write_all(&text)?;
        output.flush()?;
    }
    Ok(())
}

fn write_plain(messages: &Receiver<Message>, mut output: impl Write) -> io::Result<()> {
    let mut rationed = Ration::default();
    for line in messages.iter().filter_map(line_of) {
        if !rationed.admits(&line) {
            continue;
        }
        let text = harmless(&line.report.to_string());
        match &line.at {
            Some(at) => writeln!(output, "[{at}] {text}")?,
            None => writeln!(output, "{text}")?,
        }
        output.flush()?;
    }
    Ok(())
}

/// The event in a message; a remark is made on the way.
fn line_of(message: Message) -> Option<Line> {
    match message {
        Message::Line(line) => Some(*line),
        Message::Note(note) => {
            eprintln!("peer: {note}");
            None
        }
        Message::Meters(_) => None,
    }
}

/// Text that holds what others said, without what could write elsewhere on a terminal.
fn harmless(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Lets through every event, but only some of the statistics: people read slowly.
#[derive(Debug, Default)]
struct Ration {
    seen: std::collections::BTreeMap<(Option<String>, Option<meipo::units::PeerId>, Figures), u32>,
}

/// What is told each second.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Figures {
    Stats,
    MouthToEar,
}

impl Ration {
    fn admits(&mut self, line: &Line) -> bool {
        let (figures, peer) = if let Report::Stats(stats) = &line.report {
            (Figures::Stats, stats.peer)
        } else if let Report::MouthToEar(heard) = &line.report {
            (Figures::MouthToEar, heard.peer)
        } else {
            return true;
        };
        let seen = self.seen.entry((line.at.clone(), peer, figures)).or_default();
        *seen += 1;
        seen.is_multiple_of(PLAIN_STATS_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Stats;

    #[test]
    fn each_report_is_one_line_of_json() {
        let text = written(&[stats(), Report::RendezvousBack], |lines, output| write_json(lines, output));
        let kinds: Vec<_> = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect();
        assert_eq!(kinds.len(), 2);
        assert_eq!(kinds[1]["event"], "rendezvous-back");
    }

    #[test]
    fn people_read_statistics_every_five_seconds() {
        let reports: Vec<_> = std::iter::repeat_with(stats).take(10).chain([Report::RendezvousBack]).collect();
        let text = written(&reports, |lines, output| write_plain(lines, output));
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn what_a_stranger_says_cannot_write_over_the_terminal() {
        let error = ErrorReport { message: "codec \u{1b}[2J\r".into(), peer: None, name: None };
        let text = written(&[Report::Error(error)], |lines, output| write_plain(lines, output));
        assert_eq!(text, "codec \u{fffd}[2J\u{fffd}\n");
    }

    #[test]
    fn a_closed_pipe_is_noticed() {
        let (sender, lines) = channel();
        sender.send(Message::Line(Box::new(Line { report: Report::RendezvousBack, at: None }))).unwrap();
        assert!(write_json(&lines, Closed).is_err());
    }

    fn written(reports: &[Report], write: impl Fn(&Receiver<Message>, &mut Vec<u8>) -> io::Result<()>) -> String {
        let (sender, lines) = channel();
        for report in reports {
            sender.send(Message::Line(Box::new(Line { report: report.clone(), at: None }))).unwrap();
        }
        drop(sender);
        let mut output = Vec::new();
        write(&lines, &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    fn stats() -> Report {
        Report::Stats(Stats::default())
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
