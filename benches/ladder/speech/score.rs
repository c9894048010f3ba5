//! How good what was heard is: a Python program with the package `pesq`, in an environment of its own under `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::material::UTTERANCE;
use crate::call::figure;
use crate::programs::Programs;

/// Where the judge is.
#[derive(Debug)]
pub(super) struct Scorer {
    python: PathBuf,
}

/// What it said.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    /// Each utterance's MOS-LQO: 1 is bad, 4.64 the best there is.
    pub(super) utterances: Vec<f64>,
    pub(super) mean: f64,
    pub(super) worst: f64,
    /// From the speaker's mouth to the listener's ear, median of the utterances.
    pub(super) delay_ms: Option<f64>,
}

impl Scorer {
    /// Installs what is not there yet.
    pub(super) fn install(programs: &Programs) -> Result<Self, String> {
        let folder = programs.target().join("speech-venv");
        let python = folder.join("bin/python");
        if succeeds(Command::new(&python).args(["-c", "import pesq, scipy"])) {
            return Ok(Scorer { python });
        }
        if !succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)) {
            return Err("python3 makes no environment: apt-get install python3-venv".to_owned());
        }
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        command.arg(folder_of_scripts().join("requirements.txt")).stdin(Stdio::null()).stdout(Stdio::null());
        match command.status() {
            Ok(status) if status.success() => Ok(Scorer { python }),
            _ => {
                Err("pesq cannot be installed; it needs PyPI, and: apt-get install gcc libc6-dev python3-dev"
                    .to_owned())
            }
        }
    }

    /// Compares what was heard with what was to be heard, piece by piece. The second recording is what the microphone
    /// heard, begun when the third was.
    pub(super) fn score(&self, recordings: [&Path; 3], begins: &[Duration]) -> Result<Scores, String> {
        let mut command = Command::new(&self.python);
        command.arg(folder_of_scripts().join("score.py")).args(recordings);
        command.arg("--length").arg(UTTERANCE.as_secs_f64().to_string()).arg("--begins");
        command.args(begins.iter().map(|begin| begin.as_secs_f64().to_string()));
        let output = command.stdin(Stdio::null()).output().map_err(|error| format!("score.py: {error}"))?;
        let read = || {
            let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
            let utterances = answer.get("utterances")?.as_array()?;
            Some(Scores {
                utterances: utterances.iter().filter_map(|utterance| figure(utterance, "mos_lqo")).collect(),
                mean: figure(&answer, "mean")?,
                worst: figure(&answer, "worst")?,
                delay_ms: figure(&answer, "delay_ms"),
            })
        };
        read().ok_or_else(|| format!("score.py: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn folder_of_scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/ladder/speech")
}
