//! Speech over the rungs, judged as ears would judge it.
//!
//! Sentences go into a microphone on the near host, and what the loudspeaker of the far host plays is compared with what
//! was said, by PESQ (ITU-T P.862.2). Everybody has the same devices, on one sound server ([`sound_server`]).

mod chromium;
mod material;
mod meipo;
mod score;
mod sound_server;
mod table;
mod tools;

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use crate::emulator::Emulator;
use crate::options::{Contender, Options};
use crate::programs::Programs;
use crate::rungs::Rung;
use chromium::ChromiumVoice;
use material::{Speech, write_wav};
use meipo::MeipoVoice;
use score::{Scorer, Scores};
use sound_server::{FAR_EAR, NEAR_MOUTH, SoundServer};
use table::Table;

/// A voice that is carried from the near host to the far one. It ends when dropped.
trait Voice {
    /// Sound the listener had to make up so far, in milliseconds.
    fn concealed_ms(&mut self) -> Option<f64>;
}

/// What became of the speech on one rung.
#[derive(Clone, Debug)]
struct Outcome {
    scores: Scores,
    /// Share of the time whose sound was made up, in per cent.
    concealed_percent: Option<f64>,
    /// All the near host has put on the link.
    wire_kbps: f64,
}

/// Lets everybody speak on all rungs.
pub(crate) fn run(options: &Options, emulator: &Emulator) -> Result<(), String> {
    let plan = options.plan();
    if plan.span < material::UTTERANCE {
        return Err(format!("speech takes at least {} seconds", material::UTTERANCE.as_secs()));
    }
    tools::find_all(&options.contenders(0))?;
    let programs = Programs::build()?;
    let scorer = Scorer::install(&programs)?;
    let bench = Bench { options, emulator, programs, scorer, speech: Speech::make(plan)? };
    let mut table = Table::new(plan);
    for (turn, rung) in options.rungs().iter().enumerate() {
        for contender in options.contenders(turn) {
            match bench.turn_of(contender, rung) {
                Ok(outcome) => {
                    eprintln!("{}", table::line(rung, contender, &outcome));
                    table.add(rung, contender, outcome);
                }
                Err(message) => eprintln!("{} {}: {message}", rung.name, contender.name()),
            }
        }
    }
    table.print(options.json);
    if options.update_readme { table.update_readme() } else { Ok(()) }
}

/// What every turn needs.
struct Bench<'a> {
    options: &'a Options,
    emulator: &'a Emulator,
    programs: Programs,
    scorer: Scorer,
    speech: Speech,
}

impl Bench<'_> {
    /// One contender on one rung, with the same chances as every other.
    fn turn_of(&self, contender: Contender, rung: &Rung) -> Result<Outcome, String> {
        self.emulator.rewind(self.options.seed);
        let server = SoundServer::start()?;
        let mut voice: Box<dyn Voice> = match contender {
            Contender::Meipo => Box::new(MeipoVoice::start(self.emulator, &self.programs, &server)?),
            Contender::Chromium => Box::new(ChromiumVoice::start(self.emulator, &server)?),
            Contender::StreamPerGop => return Err("carries no sound".to_owned()),
        };
        let folder = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
        let outcome = self.judge(voice.as_mut(), rung, &server, folder.path())?;
        if let Some(kept) = &self.options.recordings {
            let place = kept.join(format!("{}-{}", rung.name, contender.name()));
            keep(folder.path(), &place).map_err(|error| format!("{}: {error}", place.display()))?;
        }
        Ok(outcome)
    }

    /// Speaks while the link is what the rung says, and judges what is heard; the recordings lie in `folder`.
    fn judge(
        &self,
        voice: &mut dyn Voice,
        rung: &Rung,
        server: &SoundServer,
        folder: &Path,
    ) -> Result<Outcome, String> {
        let [reference, said, heard] = FILES.map(|name| folder.join(name));
        self.emulator.reshape(&rung.first());
        let (mouth, ear) = (server.listen(NEAR_MOUTH)?, server.listen(FAR_EAR)?);
        let plan = self.options.plan();
        let speaking = server.speak(NEAR_MOUTH, &self.speech)?;
        pass(plan.settle);
        let (bytes, concealed_ms) = (self.emulator.sent_bytes(), voice.concealed_ms());
        self.emulator.during(rung, plan.span, || pass(plan.span));
        let (bytes, later_ms) = (self.emulator.sent_bytes() - bytes, voice.concealed_ms());
        pass(UNDER_WAY);
        drop(speaking);
        let (mouth, ear) = (mouth.finish()?, ear.finish()?);
        let begin = mouth.began.max(ear.began);
        for (path, samples) in
            [(&reference, self.speech.samples()), (&said, mouth.since(begin)), (&heard, ear.since(begin))]
        {
            write_wav(path, samples).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let seconds = plan.span.as_secs_f64();
        let concealed = later_ms.zip(concealed_ms).map(|(later, before)| later - before);
        Ok(Outcome {
            scores: self.scorer.score([&reference, &said, &heard], self.speech.begins())?,
            concealed_percent: concealed.map(|concealed_ms| concealed_ms / seconds / 10.0),
            wire_kbps: bytes as f64 * 8e-3 / seconds,
        })
    }
}

/// Copies the recordings to where somebody can listen to them.
fn keep(folder: &Path, place: &Path) -> std::io::Result<()> {
    fs::create_dir_all(place)?;
    FILES.iter().try_for_each(|name| fs::copy(folder.join(name), place.join(name)).map(drop))
}

/// Lets time pass.
fn pass(span: Duration) {
    let (_never, tick) = mpsc::channel::<()>();
    // Nobody sends, so it can only be late.
    let _ = tick.recv_timeout(span);
}

/// What should have been heard, what the microphone heard, what the loudspeaker played.
const FILES: [&str; 3] = ["reference.wav", "said.wav", "heard.wav"];
/// How long the last word may take to be heard.
const UNDER_WAY: Duration = Duration::from_secs(4);
