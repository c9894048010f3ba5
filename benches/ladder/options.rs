//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::call::Plan;
use crate::rungs::Rung;

/// Call quality on bad networks, in real time
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Only these rungs; may be repeated [default: all]
    #[arg(long = "rung", value_name = "NAME", value_parser = rung)]
    chosen: Vec<Rung>,
    /// How long each contender is measured on each rung [default: 60, of speech 40]
    #[arg(long)]
    seconds: Option<u64>,
    /// Whom to compare with; may be repeated
    #[arg(long, value_enum)]
    against: Vec<Opponent>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// A glance: 12 seconds a rung
    #[arg(long)]
    quick: bool,
    /// What chance begins with: the same seed loses the same packets
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Let them speak, and judge what is heard by PESQ
    #[arg(long)]
    pub(crate) speech: bool,
    /// Keep what was said and heard in this folder
    #[arg(long, value_name = "FOLDER", requires = "speech")]
    pub(crate) recordings: Option<PathBuf>,
    /// Instead of the rungs: one speaks to so many listeners, through narrow uplinks
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=7), conflicts_with_all = ["speech", "against", "chosen"])]
    pub(crate) listeners: Option<u8>,
    /// Measure the link instead of calls
    #[arg(long)]
    pub(crate) check_link: bool,
    /// Write the table into benches/README.md
    #[arg(long)]
    pub(crate) update_readme: bool,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Who can be compared with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Opponent {
    /// Two pages in Chromium over RTCPeerConnection
    Chromium,
    /// The same pictures, each group of them one QUIC stream
    StreamPerGop,
}

/// Who carries the call.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Contender {
    Meipo,
    Chromium,
    StreamPerGop,
}

impl Options {
    /// Reads the command line; ends the program where it makes no sense.
    pub(crate) fn read() -> Self {
        Options::parse()
    }

    /// Which rungs to measure.
    pub(crate) fn rungs(&self) -> Vec<Rung> {
        if self.chosen.is_empty() { Rung::ALL.to_vec() } else { self.chosen.clone() }
    }

    /// Who is measured, in which order on this rung: whoever is first on one is last on the next.
    pub(crate) fn contenders(&self, turn: usize) -> Vec<Contender> {
        let mut contenders = vec![Contender::Meipo];
        for (opponent, contender) in
            [(Opponent::Chromium, Contender::Chromium), (Opponent::StreamPerGop, Contender::StreamPerGop)]
        {
            if self.against.contains(&opponent) {
                contenders.push(contender);
            }
        }
        if turn % 2 == 1 {
            contenders.reverse();
        }
        contenders
    }

    /// How long what lasts.
    pub(crate) fn plan(&self) -> Plan {
        if self.quick {
            return Plan { settle: Duration::from_secs(4), span: Duration::from_secs(12) };
        }
        let (settle, seconds) = if self.speech { (SETTLE_SPEECH, 40) } else { (SETTLE, 60) };
        Plan { settle, span: Duration::from_secs(self.seconds.unwrap_or(seconds).max(3)) }
    }
}

impl Contender {
    /// What tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Meipo => "meipo",
            Contender::Chromium => "chromium",
            Contender::StreamPerGop => "stream-per-gop",
        }
    }
}

fn rung(name: &str) -> Result<Rung, String> {
    let names = || Rung::ALL.map(|rung| rung.name).join(", ");
    let found = Rung::ALL.into_iter().find(|rung| rung.name == name);
    found.ok_or_else(|| format!("the rungs are {}", names()))
}

/// A call on a bad link is not judged by how it began.
const SETTLE: Duration = Duration::from_secs(5);
/// Chromium holds sound back for a third of a second at first, and takes ten to play it a little faster until it no longer
/// does; PESQ hears that.
const SETTLE_SPEECH: Duration = Duration::from_secs(12);
