//! Call quality on bad networks, in real time, beside Chromium and beside streams.
//!
//! ```text
//! cargo bench --bench ladder                                   all rungs, ours alone
//! cargo bench --bench ladder -- --against chromium --against stream-per-gop
//! cargo bench --bench ladder -- --rung loss-10 --seconds 30
//! cargo bench --bench ladder -- --check-link                   is the link what the rungs say?
//! cargo bench --bench ladder -- --speech --against chromium    how speech sounds, by PESQ
//! cargo bench --bench ladder -- --listeners 5                  how several share a narrow uplink
//! ```
//! Two network namespaces, and between them a link that delays, loses and reorders ([`emulator`]). Each contender carries
//! the same pictures and the same voice over it, one after the other on each rung, and everybody is measured in the same
//! words ([`call`]). Needs root, and ffmpeg to compare pictures ([`quality`]).

#[path = "../support/median.rs"]
mod median;
#[expect(dead_code, clippy::disallowed_types, reason = "the lab with NATs uses all of it; programs have a clock")]
#[path = "../../tests/natlab/process.rs"]
mod process;
#[expect(dead_code, reason = "the tests in virtual time use all of it")]
#[path = "../../tests/mesh/world"]
mod world {
    pub(crate) mod chance;
    pub(crate) mod link;
}

mod browser;
mod call;
mod check;
mod chromium;
mod emulator;
mod group;
mod meipo_call;
mod options;
mod plots;
mod programs;
mod quality;
mod readme;
mod room;
mod rows;
mod rungs;
mod speech;
mod streams;
mod table;

use std::process::ExitCode;

use call::{Call, Outcome, measure};
use chromium::ChromiumCall;
use emulator::Emulator;
use meipo_call::MeipoCall;
use options::{Contender, Options};
use programs::Programs;
use rungs::Rung;
use streams::StreamCall;
use table::Table;

fn main() -> ExitCode {
    let options = Options::read();
    let Some(emulator) = Emulator::new() else {
        eprintln!("skipped: the ladder makes network namespaces and needs root");
        return ExitCode::SUCCESS;
    };
    match run(&options, &emulator) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, emulator: &Emulator) -> Result<(), String> {
    if options.check_link {
        check::check(emulator, &options.rungs());
        return Ok(());
    }
    if let Some(listeners) = options.listeners {
        return group::run(listeners, options.plan(), options.update_readme, emulator);
    }
    if options.speech {
        return speech::run(options, emulator);
    }
    let programs = Programs::build()?;
    let mut table = Table::new(options.plan());
    for (turn, rung) in options.rungs().iter().enumerate() {
        for contender in options.contenders(turn) {
            match turn_of(contender, rung, options, emulator, &programs) {
                Ok(outcome) => {
                    eprintln!("{}", table::line(rung, contender, &outcome.summary));
                    table.add(rung, contender, outcome);
                }
                Err(message) => eprintln!("{} {}: {message}", rung.name, contender.name()),
            }
        }
        plots::draw(rung, &table).map_err(|error| format!("the plot of {}: {error}", rung.name))?;
    }
    table.print(options.json);
    if options.update_readme { table.update_readme() } else { Ok(()) }
}

/// One contender on one rung, with the same chances as every other.
fn turn_of(
    contender: Contender,
    rung: &Rung,
    options: &Options,
    emulator: &Emulator,
    programs: &Programs,
) -> Result<Outcome, String> {
    emulator.rewind(options.seed);
    let mut call: Box<dyn Call> = match contender {
        Contender::Meipo => Box::new(MeipoCall::start(emulator, programs)?),
        Contender::Chromium => Box::new(ChromiumCall::start(emulator, programs)?),
        Contender::StreamPerGop => Box::new(StreamCall::start(emulator, programs)?),
    };
    measure(call.as_mut(), emulator, rung, options.plan(), programs)
}
