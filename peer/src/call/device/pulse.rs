//! Microphone and loudspeaker through the PulseAudio protocol, which PipeWire speaks, too.
//!
//! The server resamples to what the hardware wants.

use std::ffi::CString;
use std::time::Duration;

use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{
    ChannelMap, DEFAULT_SINK, DEFAULT_SOURCE, PlaybackStreamParams, RecordStreamParams, SampleFormat, SampleSpec,
};
use pulseaudio::{AsPlaybackSource, Client, ClientError, PlaybackStream, RecordStream};
use tokio::time::timeout;

use super::super::sound::{Choice, Delay, Device, DeviceError, Devices};
use super::ends::{Ear, Meters, Mouth, micros_in};
use super::{Ends, find};
use crate::params::{CALL_PLAYBACK_BLOCKS, DEVICE_PATIENCE, SAMPLE_RATE};
use crate::voice::Block;

pub(super) async fn list() -> Result<Devices, DeviceError> {
    devices(&connect()?).await
}

pub(super) async fn open(
    choice: &Choice,
    Ends { ear, mouth }: Ends,
) -> Result<(Option<Device>, Option<Device>, Streams), DeviceError> {
    let client = connect()?;
    let devices = devices(&client).await?;
    let microphone = find(&devices.microphones, choice.microphone.as_deref(), "microphone")?;
    let speaker = find(&devices.speakers, choice.speaker.as_deref(), "speaker")?;
    let playback = match &speaker {
        Some(device) => Some(play(&client, device, mouth).await?),
        None => None,
    };
    let record = match &microphone {
        Some(device) => Some(capture(&client, device, ear).await?),
        None => None,
    };
    Ok((microphone, speaker, Streams { playback, record }))
}

/// Streams to and from the server. Dropped, they end.
#[derive(Debug)]
pub(super) struct Streams {
    playback: Option<PlaybackStream>,
    record: Option<RecordStream>,
}

impl Streams {
    pub(super) async fn delay(&self, meters: &Meters) -> Delay {
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
        meters.set_microphone(microphone);
        Delay { microphone, speaker }
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

async fn play(client: &Client, device: &Device, mut mouth: Mouth) -> Result<PlaybackStream, DeviceError> {
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
    let source = move |wanted: &mut [u8]| {
        let (wanted, _) = wanted.as_chunks_mut::<2>();
        let count = wanted.len();
        wanted.iter_mut().zip(mouth.say(count)).for_each(|(bytes, sample)| *bytes = sample.to_le_bytes());
        count * 2
    };
    answered(client.create_playback_stream(params, source.as_playback_source())).await
}

async fn capture(client: &Client, device: &Device, mut ear: Ear) -> Result<RecordStream, DeviceError> {
    let params = RecordStreamParams {
        sample_spec: SPEC,
        channel_map: ChannelMap::mono(),
        source_name: Some(name_of(device, DEFAULT_SOURCE)),
        buffer_attr: BufferAttr { fragment_size: BLOCK_BYTES, ..BufferAttr::default() },
        flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
        ..RecordStreamParams::default()
    };
    let sink = move |bytes: &[u8]| ear.hear(bytes.as_chunks::<2>().0.iter().map(|bytes| i16::from_le_bytes(*bytes)));
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

fn duration_of(bytes: i64) -> Duration {
    Duration::from_micros(micros_in(usize::try_from(bytes).unwrap_or(0) / 2))
}

const SPEC: SampleSpec = SampleSpec { format: SampleFormat::S16Le, channels: 1, sample_rate: SAMPLE_RATE };

/// Bytes of a block, as the protocol counts them.
#[expect(clippy::cast_possible_truncation, reason = "a block has 960 bytes")]
const BLOCK_BYTES: u32 = size_of::<Block>() as u32;

/// Bytes of a PulseAudio cookie.
const COOKIE_LEN: usize = 256;
