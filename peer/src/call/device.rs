//! Microphone and loudspeaker through the PulseAudio protocol, which PipeWire speaks, too.
//!
//! [`keep`] opens both, tells what became of them, and opens them again whenever they were lost. Blocks pass between the
//! sound server and the [`Studio`] on the client's own thread. The server resamples to what the hardware wants.

use std::ffi::CString;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meipo::media::Frame;
use meipo::net::clock::unix_micros_now;
use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{
    ChannelMap, DEFAULT_SINK, DEFAULT_SOURCE, PlaybackStreamParams, RecordStreamParams, SampleFormat, SampleSpec,
};
use pulseaudio::{AsPlaybackSource, Client, ClientError, PlaybackStream, RecordStream};
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::time::{Instant, sleep, timeout};

use super::sound::{Choice, Delay, Device, DeviceError, Devices, News};
use super::studio::Studio;
use crate::params::{
    CALL_PLAYBACK_BLOCKS, DEVICE_CHECK, DEVICE_PATIENCE, DEVICE_RETRY, DEVICE_SILENCE, SAMPLE_RATE, SOUND_BLOCK,
};
use crate::voice::Block;

/// All microphones and loudspeakers.
///
/// # Errors
/// When there is no sound server.
pub async fn list() -> Result<Devices, DeviceError> {
    devices(&connect()?).await
}

/// Opens the devices of this choice.
///
/// # Errors
/// When there is no sound server, or no device of that name.
pub async fn open(choice: &Choice, studio: Arc<Mutex<Studio>>, frames: Sender<Frame>) -> Result<Lines, DeviceError> {
    let client = connect()?;
    let devices = devices(&client).await?;
    let microphone = find(&devices.microphones, choice.microphone.as_deref(), "microphone")?;
    let speaker = find(&devices.speakers, choice.speaker.as_deref(), "speaker")?;
    let meters = Arc::new(Meters::default());
    let playback = match &speaker {
        Some(device) => Some(play(&client, device, studio.clone(), meters.clone()).await?),
        None => None,
    };
    let record = match &microphone {
        Some(device) => Some(capture(&client, device, studio, meters.clone(), frames).await?),
        None => None,
    };
    Ok(Lines { microphone, speaker, playback, record, meters })
}

/// Looks after open devices, and opens them again when they were lost, for as long as somebody listens to the news.
pub async fn keep(
    mut lines: Lines,
    choice: Choice,
    studio: Arc<Mutex<Studio>>,
    frames: Sender<Frame>,
    news: UnboundedSender<News>,
) {
    loop {
        let opened = News::Opened { microphone: lines.microphone.clone(), speaker: lines.speaker.clone() };
        let mut is_heard = news.send(opened).is_ok();
        let reason = loop {
            if let Some(reason) = lines.silence().await {
                break reason;
            }
            is_heard &= news.send(News::Delay(lines.delay().await)).is_ok();
            if !is_heard {
                return;
            }
        };
        drop(lines);
        if news.send(News::Lost(reason)).is_err() {
            return;
        }
        lines = loop {
            sleep(DEVICE_RETRY).await;
            if news.is_closed() {
                return;
            }
            match open(&choice, studio.clone(), frames.clone()).await {
                Ok(lines) => break lines,
                Err(error) => tracing::debug!(%error, "the devices are not back yet"),
            }
        };
    }
}

/// Open devices. Dropped, they are closed.
#[derive(Debug)]
pub struct Lines {
    microphone: Option<Device>,
    speaker: Option<Device>,
    playback: Option<PlaybackStream>,
    record: Option<RecordStream>,
    meters: Arc<Meters>,
}

impl Lines {
    /// Looks for a while whether blocks pass; which device has none, if any.
    async fn silence(&self) -> Option<String> {
        let before = self.meters.counts();
        let ends = Instant::now() + DEVICE_SILENCE;
        loop {
            sleep(DEVICE_CHECK).await;
            let silent = self.silent_since(before);
            if silent.is_none() || Instant::now() >= ends {
                return silent;
            }
        }
    }

    /// Which device has neither given nor wanted a block since these counts.
    fn silent_since(&self, (captured, played): (u32, u32)) -> Option<String> {
        let now = self.meters.counts();
        let lost = |what, device: &Option<Device>| device.as_ref().map(|device| format!("{what} {device} is gone"));
        match (self.record.is_some() && now.0 == captured, self.playback.is_some() && now.1 == played) {
            (true, true) => Some("the sound server is gone".to_owned()),
            (true, false) => lost("the microphone", &self.microphone),
            (false, true) => lost("the loudspeaker", &self.speaker),
            (false, false) => None,
        }
    }

    /// How long sound takes between us and the air.
    async fn delay(&self) -> Delay {
        let (mut microphone, mut speaker) = (None, None);
        if let Some(record) = &self.record
            && let Ok(Ok(timing)) = timeout(DEVICE_PATIENCE, record.timing_info()).await
        {
            let waiting = duration_of(timing.write_offset - timing.read_offset);
            microphone = Some(Duration::from_micros(timing.source_usec) + waiting);
        }
        if let Some(playback) = &self.playback
            && let Ok(Ok(timing)) = timeout(DEVICE_PATIENCE, playback.timing_info()).await
        {
            let waiting = duration_of(timing.write_offset - timing.read_offset);
            speaker = Some(Duration::from_micros(timing.sink_usec) + waiting);
        }
        let micros = microphone.map_or(0, |delay| u64::try_from(delay.as_micros()).unwrap_or(u64::MAX));
        self.meters.microphone_us.store(micros, Ordering::Relaxed);
        Delay { microphone, speaker }
    }
}

/// Blocks that passed, and how old those of the microphone are when they come.
#[derive(Debug, Default)]
struct Meters {
    captured: AtomicU32,
    played: AtomicU32,
    microphone_us: AtomicU64,
}

impl Meters {
    fn counts(&self) -> (u32, u32) {
        (self.captured.load(Ordering::Relaxed), self.played.load(Ordering::Relaxed))
    }
}

/// The client refuses no server, but a server refuses an empty cookie even where it wants none.
fn connect() -> Result<Client, DeviceError> {
    let socket = pulseaudio::socket_path_from_env().ok_or(DeviceError::NoServer)?;
    let connection = std::os::unix::net::UnixStream::connect(&socket);
    let connection = connection.map_err(|error| DeviceError::Connect { socket, error })?;
    let found = pulseaudio::cookie_path_from_env().and_then(|path| std::fs::read(path).ok());
    let cookie = found.unwrap_or_else(|| vec![0; COOKIE_LEN]);
    Client::new_unix(c"meipo", connection, Some(cookie)).map_err(refused)
}

async fn devices(client: &Client) -> Result<Devices, DeviceError> {
    let (info, sources, sinks) =
        answered(async { Ok((client.server_info().await?, client.list_sources().await?, client.list_sinks().await?)) })
            .await?;
    let device = |name: CString, description: Option<CString>, default: &Option<CString>| Device {
        is_default: default.as_ref() == Some(&name),
        description: description.map_or_else(|| lossy(&name), |description| lossy(&description)),
        name: lossy(&name),
    };
    let microphone =
        |source: pulseaudio::protocol::SourceInfo| device(source.name, source.description, &info.default_source_name);
    let speaker = |sink: pulseaudio::protocol::SinkInfo| device(sink.name, sink.description, &info.default_sink_name);
    Ok(Devices {
        microphones: sources.into_iter().map(microphone).collect(),
        speakers: sinks.into_iter().map(speaker).collect(),
    })
}

/// The device with this name, or the default one; none where there is none at all.
fn find(devices: &[Device], name: Option<&str>, kind: &'static str) -> Result<Option<Device>, DeviceError> {
    let Some(name) = name else {
        return Ok(devices.iter().find(|device| device.is_default).or(devices.first()).cloned());
    };
    let is_meant = |device: &&Device| device.name == name || device.description == name;
    let found = devices.iter().find(is_meant).cloned();
    let known = || devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    found.map(Some).ok_or_else(|| DeviceError::NoSuchDevice { kind, name: name.to_owned(), known: known() })
}

async fn play(
    client: &Client,
    device: &Device,
    studio: Arc<Mutex<Studio>>,
    meters: Arc<Meters>,
) -> Result<PlaybackStream, DeviceError> {
    let params = PlaybackStreamParams {
        sample_spec: SPEC,
        channel_map: ChannelMap::mono(),
        sink_name: Some(name_of(device, DEFAULT_SINK)),
        buffer_attr: BufferAttr {
            target_length: BLOCK_BYTES * CALL_PLAYBACK_BLOCKS,
            minimum_request_length: BLOCK_BYTES,
            pre_buffering: BLOCK_BYTES,
            ..BufferAttr::default()
        },
        flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
        ..PlaybackStreamParams::default()
    };
    // What is left of the last block.
    let mut rest: std::collections::VecDeque<u8> = std::collections::VecDeque::new();
    let source = move |wanted: &mut [u8]| {
        meters.played.fetch_add(1, Ordering::Relaxed);
        while rest.len() < wanted.len() {
            let block = studio.lock().unwrap_or_else(PoisonError::into_inner).play();
            rest.extend(block.iter().flat_map(|sample| sample.to_le_bytes()));
        }
        let len = wanted.len();
        wanted.iter_mut().zip(rest.drain(..len)).for_each(|(wanted, byte)| *wanted = byte);
        len
    };
    answered(client.create_playback_stream(params, source.as_playback_source())).await
}

async fn capture(
    client: &Client,
    device: &Device,
    studio: Arc<Mutex<Studio>>,
    meters: Arc<Meters>,
    frames: Sender<Frame>,
) -> Result<RecordStream, DeviceError> {
    let params = RecordStreamParams {
        sample_spec: SPEC,
        channel_map: ChannelMap::mono(),
        source_name: Some(name_of(device, DEFAULT_SOURCE)),
        buffer_attr: BufferAttr { fragment_size: BLOCK_BYTES, ..BufferAttr::default() },
        flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
        ..RecordStreamParams::default()
    };
    let mut pending: Vec<u8> = Vec::new();
    let sink = move |bytes: &[u8]| {
        meters.captured.fetch_add(1, Ordering::Relaxed);
        pending.extend_from_slice(bytes);
        let age = meters.microphone_us.load(Ordering::Relaxed);
        let began = unix_micros_now().saturating_sub(micros_in(pending.len()) + age);
        let whole = pending.len() - pending.len() % BLOCK_LEN;
        for (at, bytes) in pending.drain(..whole).as_slice().chunks_exact(BLOCK_LEN).enumerate() {
            let captured = began + at as u64 * micros_in(BLOCK_LEN);
            let frame = studio.lock().unwrap_or_else(PoisonError::into_inner).capture(&block_of(bytes), captured);
            match frame {
                // Who cannot send for so long has a break in the voice, and no delay after it.
                Ok(Some(frame)) => drop(frames.try_send(frame)),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the microphone cannot be encoded"),
            }
        }
    };
    answered(client.create_record_stream(params, sink)).await
}

/// What the server answers in time.
async fn answered<T>(question: impl Future<Output = Result<T, ClientError>>) -> Result<T, DeviceError> {
    timeout(DEVICE_PATIENCE, question).await.map_err(|_| DeviceError::Silent)?.map_err(refused)
}

fn refused(error: ClientError) -> DeviceError {
    DeviceError::Refused(error.to_string())
}

fn name_of(device: &Device, otherwise: &std::ffi::CStr) -> CString {
    CString::new(device.name.as_str()).unwrap_or_else(|_| otherwise.to_owned())
}

fn lossy(name: &CString) -> String {
    name.to_string_lossy().into_owned()
}

fn block_of(bytes: &[u8]) -> Block {
    let mut block = [0; SOUND_BLOCK];
    for (sample, bytes) in block.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *sample = i16::from_le_bytes(*bytes);
    }
    block
}

fn duration_of(bytes: i64) -> Duration {
    Duration::from_micros(micros_in(usize::try_from(bytes).unwrap_or(0)))
}

/// How long so many bytes of 16-bit samples last, in microseconds.
fn micros_in(bytes: usize) -> u64 {
    bytes as u64 / 2 * 1_000_000 / u64::from(SAMPLE_RATE)
}

const SPEC: SampleSpec = SampleSpec { format: SampleFormat::S16Le, channels: 1, sample_rate: SAMPLE_RATE };

/// Bytes of a block, as this program and as the protocol counts them.
const BLOCK_LEN: usize = size_of::<Block>();
#[expect(clippy::cast_possible_truncation, reason = "a block has 960 bytes")]
const BLOCK_BYTES: u32 = BLOCK_LEN as u32;

/// Bytes of a PulseAudio cookie.
const COOKIE_LEN: usize = 256;
