//! A PulseAudio of the bench's own. Each host has a loudspeaker nobody hears, which is recorded, and a microphone that
//! hears what is played on another.
//!
//! A socket in the file system is reached from every network namespace, so that no sound is on the link.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use meipo::net::clock::Clock;
use meipo::units::Time;
use tempfile::TempDir;

use super::material::{RATE, Speech, bytes_of, samples_in, samples_of};
use super::pass;

/// A sound server; dropped, it is killed.
#[derive(Debug)]
pub(super) struct SoundServer {
    folder: TempDir,
    clock: Clock,
    server: Option<Program>,
}

impl SoundServer {
    /// Returns once it listens.
    pub(super) fn start() -> Result<Self, String> {
        let folder = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
        let mut server = SoundServer { folder, clock: Clock::start(), server: None };
        // Whoever asks what the hardware is like gets what everybody uses, so that nothing is resampled.
        let config = server.folder.path().join("daemon.conf");
        let text = format!("default-sample-rate = {RATE}\ndefault-sample-channels = 1\n");
        fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
        let mut command = server.command("pulseaudio");
        command.args(["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--log-target=stderr"]);
        command.env("PULSE_CONFIG", &config).arg("--log-level=error");
        let socket = server.socket();
        command.args(["-L", &format!("module-native-protocol-unix socket={} auth-anonymous=1", socket.display())]);
        for sink in [NEAR_MOUTH, FAR_MOUTH, NEAR_EAR, FAR_EAR] {
            command.args(["-L", &format!("module-null-sink sink_name={sink} rate={RATE} channels=1")]);
        }
        // Browsers do not take a loudspeaker's monitor for a microphone.
        for (microphone, mouth) in [(NEAR_MICROPHONE, NEAR_MOUTH), (FAR_MICROPHONE, FAR_MOUTH)] {
            let source = format!("module-remap-source source_name={microphone} master={mouth}.monitor channels=1");
            command.args(["-L", &source]);
        }
        server.server = Some(Program::start(command)?);
        server.wait()?;
        Ok(server)
    }

    /// Where it is reached, as the variable `PULSE_SERVER` says it.
    pub(super) fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Somebody says this before the microphone that hears this loudspeaker; falls silent when dropped.
    pub(super) fn speak(&self, sink: &str, speech: &Speech) -> Result<Program, String> {
        let file = self.folder.path().join("speech.raw");
        fs::write(&file, bytes_of(speech.samples())).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut command = self.raw("pacat", SPOKEN_AHEAD);
        command.args(["--playback", &format!("--device={sink}")]).arg(file);
        Program::start(command)
    }

    /// Somebody listens to what is played on this loudspeaker, and hears something already, if only silence.
    pub(super) fn listen(&self, sink: &str) -> Result<Ear, String> {
        let mut command = self.raw("parec", HEARD_AFTER);
        command.arg(format!("--device={sink}.monitor")).stdout(Stdio::piped());
        let mut program = Program::start(command)?;
        let output = program.0.stdout.take().ok_or("a piped standard output")?;
        let clock = self.clock;
        let (hears, begins) = mpsc::channel();
        let hearing = thread::spawn(move || Recording::read(output, clock, &hears));
        begins.recv_timeout(PATIENCE).map_err(|_| format!("nothing is heard of {sink}"))?;
        Ok(Ear { program, hearing })
    }

    fn raw(&self, program: &str, latency: Duration) -> Command {
        let mut command = self.command(program);
        command.args(["--raw", "--format=s16le", "--channels=1"]);
        command.args([format!("--rate={RATE}"), format!("--latency-msec={}", latency.as_millis())]);
        command
    }

    /// A program beside the server, which ends at the latest when the bench does.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).env("PULSE_SERVER", self.address());
        command.env("HOME", self.folder.path()).env("XDG_RUNTIME_DIR", self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Until the last of the devices is there.
    fn wait(&self) -> Result<(), String> {
        for _ in 0..ATTEMPTS {
            let mut command = self.command("pactl");
            let listed = command.args(["list", "short", "sources"]).stdout(Stdio::piped()).output();
            let listed = listed.map_err(|error| format!("pactl: {error}"))?;
            if String::from_utf8_lossy(&listed.stdout).contains(FAR_MICROPHONE) {
                return Ok(());
            }
            pass(BETWEEN);
        }
        Err("PulseAudio does not start".to_owned())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("native")
    }
}

/// A running program; dropped, it is killed.
#[derive(Debug)]
pub(super) struct Program(Child);

impl Program {
    fn start(mut command: Command) -> Result<Self, String> {
        command.spawn().map(Program).map_err(|error| format!("{command:?}: {error}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself, and nobody is left to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Somebody who listens.
#[derive(Debug)]
pub(super) struct Ear {
    program: Program,
    hearing: JoinHandle<Recording>,
}

impl Ear {
    /// What was heard so far.
    pub(super) fn finish(self) -> Result<Recording, String> {
        drop(self.program);
        let recording = self.hearing.join().map_err(|_| "the listener has panicked")?;
        if recording.samples.is_empty() { Err("the sound server is silent".to_owned()) } else { Ok(recording) }
    }
}

/// What was heard.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    /// When the first sample was played, on the server's clock.
    pub(super) began: Time,
    samples: Vec<i16>,
}

impl Recording {
    /// Listens until nothing comes any more.
    fn read(mut output: ChildStdout, clock: Clock, hears: &Sender<()>) -> Self {
        let mut bytes: Vec<u8> = Vec::new();
        let mut began: Option<Time> = None;
        let mut piece = [0; PIECE];
        while let Ok(len @ 1..) = output.read(&mut piece) {
            bytes.extend_from_slice(piece.get(..len).unwrap_or_default());
            // Only the first time is waited for.
            let _ = hears.send(());
            // The piece that was least on its way tells best when the first was played.
            let len_us = bytes.len() as u64 / 2 * 1_000_000 / u64::from(RATE);
            let begin = Time::from_micros(clock.now().as_micros().saturating_sub(len_us));
            began = Some(began.map_or(begin, |before| before.min(begin)));
        }
        Recording { began: began.unwrap_or(Time::ZERO), samples: samples_of(&bytes) }
    }

    /// What was heard from then on.
    pub(super) fn since(&self, begin: Time) -> &[i16] {
        self.samples.get(samples_in(begin.since(self.began))..).unwrap_or_default()
    }
}

/// Where is spoken, and where is listened.
pub(super) const NEAR_MOUTH: &str = "near_mouth";
pub(super) const NEAR_MICROPHONE: &str = "near_microphone";
pub(super) const NEAR_EAR: &str = "near_ear";
/// Nobody speaks there.
const FAR_MOUTH: &str = "far_mouth";
pub(super) const FAR_MICROPHONE: &str = "far_microphone";
pub(super) const FAR_EAR: &str = "far_ear";

/// How exactly the time of what is heard is known.
const HEARD_AFTER: Duration = Duration::from_millis(10);
/// How far ahead the server knows what is said: a speaker without CPU time does not stutter.
const SPOKEN_AHEAD: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(100);
const PIECE: usize = 4096;
