//! A PulseAudio of the test's own, with loudspeakers nobody hears and microphones that are what is played on them.

use std::ffi::CString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use meipo::net::clock::unix_micros_now;
use peer::pattern::TestSound;
use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{ChannelMap, PlaybackStreamParams, RecordStreamParams, SampleFormat, SampleSpec};
use pulseaudio::{AsPlaybackSource, Client, PlaybackStream, RecordStream};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::stage::PATIENCE;

/// A sound server; dropped, it is killed.
pub(crate) struct SoundServer {
    folder: TempDir,
    runtime: Runtime,
}

impl SoundServer {
    /// A server with these loudspeakers; `None`, with a word about it, where there is no PulseAudio. CI must have it.
    pub(crate) fn start(sinks: &[&str]) -> Option<Self> {
        let found = Command::new("pulseaudio").arg("--version").output();
        if let Err(error) = found {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "pulseaudio: {error}");
            eprintln!("skipped: no pulseaudio here ({error})");
            return None;
        }
        let server = SoundServer { folder: tempfile::tempdir().unwrap(), runtime: Runtime::new().unwrap() };
        server.run(sinks);
        Some(server)
    }

    /// Runs the server; returns once it listens.
    pub(crate) fn run(&self, sinks: &[&str]) {
        let mut command = Command::new("pulseaudio");
        command.args(["-n", "--daemonize=yes", "--use-pid-file=yes", "--exit-idle-time=-1", "--log-target=stderr"]);
        command.args(["--high-priority=no", "--realtime=no", "--log-level=error"]);
        command.env("XDG_RUNTIME_DIR", self.folder.path()).env("HOME", self.folder.path());
        let socket = self.socket();
        command.args(["-L", &format!("module-native-protocol-unix socket={} auth-anonymous=1", socket.display())]);
        for sink in sinks {
            command.args(["-L", &format!("module-null-sink sink_name={sink} rate=48000 channels=1")]);
        }
        assert!(command.status().unwrap().success(), "{command:?}");
    }

    /// Ends the server at once, as if it had crashed.
    pub(crate) fn kill(&self) {
        let pid = std::fs::read_to_string(self.folder.path().join("pulse/pid")).unwrap();
        assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
        let ends = Instant::now() + PATIENCE;
        while Path::new("/proc").join(pid.trim()).exists() && Instant::now() < ends {
            std::thread::yield_now();
        }
        std::fs::remove_file(self.socket()).unwrap();
    }

    /// Where it is reached, as the variable `PULSE_SERVER` says it.
    pub(crate) fn address(&self) -> PathBuf {
        PathBuf::from(format!("unix:{}", self.socket().display()))
    }

    /// Somebody says nothing, and each second a burst, into the microphone that hears this loudspeaker.
    pub(crate) fn speak(&self, sink: &str) -> PlaybackStream {
        let params = PlaybackStreamParams {
            sample_spec: SPEC,
            channel_map: ChannelMap::mono(),
            sink_name: Some(CString::new(sink).unwrap()),
            buffer_attr: BufferAttr { target_length: 3840, ..BufferAttr::default() },
            flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
            ..PlaybackStreamParams::default()
        };
        let mut sound = TestSound::new(1, 1);
        let source = move |wanted: &mut [u8]| {
            let samples = sound.next_samples(wanted.len() / 2);
            wanted
                .chunks_exact_mut(2)
                .zip(samples)
                .for_each(|(bytes, sample)| bytes.copy_from_slice(&bytes_of(sample)));
            wanted.len()
        };
        self.runtime.block_on(self.client().create_playback_stream(params, source.as_playback_source())).unwrap()
    }

    /// Somebody listens to what is played on this loudspeaker.
    pub(crate) fn listen(&self, sink: &str) -> Ear {
        let params = RecordStreamParams {
            sample_spec: SPEC,
            channel_map: ChannelMap::mono(),
            source_name: Some(CString::new(format!("{sink}.monitor")).unwrap()),
            buffer_attr: BufferAttr { fragment_size: 960, ..BufferAttr::default() },
            flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
            ..RecordStreamParams::default()
        };
        let (sender, pieces) = channel();
        let hear = move |bytes: &[u8]| {
            let samples: Vec<f32> = bytes.as_chunks::<2>().0.iter().map(|bytes| sample_of(*bytes)).collect();
            // The test may have heard enough.
            let _ = sender.send((unix_micros_now(), samples));
        };
        let stream = self.runtime.block_on(self.client().create_record_stream(params, hear)).unwrap();
        Ear { pieces, _stream: stream }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("native")
    }

    fn client(&self) -> Client {
        // Any cookie will do, but an empty one is refused.
        Client::new_unix(c"test", UnixStream::connect(self.socket()).unwrap(), Some([0_u8; 256])).unwrap()
    }
}

impl Drop for SoundServer {
    fn drop(&mut self) {
        if self.socket().exists() {
            self.kill();
        }
    }
}

/// Somebody who listens.
pub(crate) struct Ear {
    pieces: Receiver<(u64, Vec<f32>)>,
    _stream: RecordStream,
}

impl Ear {
    /// The next samples, at least so many, and when the first of them came, in microseconds since 1970.
    pub(crate) fn hear(&self, count: usize) -> (u64, Vec<f32>) {
        let mut heard: Vec<f32> = Vec::new();
        let mut began = 0;
        let ends = Instant::now() + PATIENCE;
        while heard.len() < count {
            let left = ends.saturating_duration_since(Instant::now());
            let (came, samples) = self.pieces.recv_timeout(left).expect("the sound server falls silent");
            if heard.is_empty() {
                began = came - samples.len() as u64 * 1000 / 48;
            }
            heard.extend(samples);
        }
        (began, heard)
    }

    /// Returns once somebody is heard.
    pub(crate) fn until_heard(&self) {
        let ends = Instant::now() + PATIENCE;
        while self.power(1, SECOND / 2) < 1e-4 {
            assert!(Instant::now() < ends, "nobody is heard");
        }
    }

    /// The mean power of the next samples, after so many others.
    pub(crate) fn power(&self, skipped: usize, count: usize) -> f64 {
        // What came before the question is old.
        while self.pieces.try_recv().is_ok() {}
        self.hear(skipped.max(1));
        let (_, heard) = self.hear(count);
        heard.iter().map(|sample| f64::from(sample * sample)).sum::<f64>() / heard.len() as f64
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the sound stays within −1 and 1")]
fn bytes_of(sample: f32) -> [u8; 2] {
    ((sample * 32_767.0) as i16).to_le_bytes()
}

fn sample_of(bytes: [u8; 2]) -> f32 {
    f32::from(i16::from_le_bytes(bytes)) / 32_768.0
}

/// Samples in a second.
const SECOND: usize = 48_000;

const SPEC: SampleSpec = SampleSpec { format: SampleFormat::S16Le, channels: 1, sample_rate: 48_000 };
