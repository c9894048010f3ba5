//! Microphone and loudspeaker through cpal, on systems without PulseAudio's protocol: Core Audio, WASAPI.
//!
//! Streams of some systems must not leave the thread that made them, so they stay on one of their own, which ends when
//! nobody holds them any more. Devices have rates and channels of theirs: rubato and a mean make them ours.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, FromSample, Host, SampleFormat, SizedSample, StreamConfig, SupportedStreamConfig};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::sound::{Choice, Delay, Device, DeviceError, Devices};
use super::ends::{Ear, Meters, Mouth};
use super::rate::Converter;
use super::{Ends, find};
use crate::params::{DEVICE_PATIENCE, SAMPLE_RATE, SOUND_BLOCK};
use crate::voice::FULL_SCALE;

pub(super) async fn list() -> Result<Devices, DeviceError> {
    on_a_thread(|answer| drop(answer.send(host().and_then(|host| devices(&host))))).await
}

pub(super) async fn open(
    choice: &Choice,
    ends: Ends,
) -> Result<(Option<Device>, Option<Device>, Streams), DeviceError> {
    let choice = choice.clone();
    on_a_thread(move |answer| {
        let delays = Arc::new(Delays::default());
        match begin(&choice, ends, &delays) {
            Ok((microphone, speaker, open)) => {
                let (hold, held) = mpsc::channel();
                if answer.send(Ok((microphone, speaker, Streams { _hold: hold, delays }))).is_ok() {
                    // Nothing is ever sent: this is the moment in which the other end is dropped.
                    let _: Result<Infallible, _> = held.recv();
                }
                drop(open);
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    })
    .await
}

/// Open streams. Dropped, they end.
#[derive(Debug)]
pub(super) struct Streams {
    _hold: mpsc::Sender<Infallible>,
    delays: Arc<Delays>,
}

/// What the devices said last, in microseconds; 0 is unknown.
#[derive(Debug, Default)]
struct Delays {
    microphone_us: AtomicU64,
    speaker_us: AtomicU64,
}

impl Streams {
    #[expect(clippy::unused_async, reason = "as where the system has to be asked")]
    pub(super) async fn delay(&self, meters: &Meters) -> Delay {
        let known = |micros: &AtomicU64| match micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        };
        let (microphone, speaker) = (known(&self.delays.microphone_us), known(&self.delays.speaker_us));
        meters.set_microphone(microphone);
        Delay { microphone, speaker }
    }
}

/// The answer of a thread that may live on after it.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce(oneshot::Sender<Result<T, DeviceError>>) + Send + 'static,
) -> Result<T, DeviceError> {
    let (answer, answered) = oneshot::channel();
    thread::spawn(move || work(answer));
    timeout(DEVICE_PATIENCE, answered).await.ok().and_then(Result::ok).ok_or(DeviceError::Silent)?
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as where it can be missing")]
fn host() -> Result<Host, DeviceError> {
    Ok(cpal::default_host())
}

/// Where this is only tested, with the same server as everything else.
#[cfg(target_os = "linux")]
fn host() -> Result<Host, DeviceError> {
    cpal::host_from_id(cpal::HostId::PulseAudio).map_err(|_| DeviceError::NoServer)
}

/// Builds a stream of the type of sample that the device has.
macro_rules! in_format {
    ($config:ident, $build:ident($($argument:expr),*)) => {
        match $config.sample_format() {
            SampleFormat::F32 => $build::<f32>($($argument),*),
            SampleFormat::I16 => $build::<i16>($($argument),*),
            SampleFormat::I32 => $build::<i32>($($argument),*),
            SampleFormat::U8 => $build::<u8>($($argument),*),
            other => Err(DeviceError::Refused(format!("samples as {other}"))),
        }
    };
}

type Opened = (Option<Device>, Option<Device>, Vec<cpal::Stream>);

fn begin(choice: &Choice, Ends { ear, mouth }: Ends, delays: &Arc<Delays>) -> Result<Opened, DeviceError> {
    let host = host()?;
    let devices = devices(&host)?;
    let microphone = find(&devices.microphones, choice.microphone.as_deref(), "microphone")?;
    let speaker = find(&devices.speakers, choice.speaker.as_deref(), "speaker")?;
    let mut streams = Vec::new();
    if let Some(device) = &speaker {
        streams.push(play(&found(host.output_devices().map_err(refused)?, device)?, mouth, delays.clone())?);
    }
    if let Some(device) = &microphone {
        streams.push(capture(&found(host.input_devices().map_err(refused)?, device)?, ear, delays.clone())?);
    }
    streams.iter().try_for_each(StreamTrait::play).map_err(refused)?;
    Ok((microphone, speaker, streams))
}

fn devices(host: &Host) -> Result<Devices, DeviceError> {
    let described = |device: &cpal::Device, default: Option<&String>| {
        let name = id_of(device)?;
        let description = device.description().ok()?.name().to_owned();
        Some(Device { is_default: default == Some(&name), description, name })
    };
    let default = host.default_input_device().as_ref().and_then(id_of);
    let inputs = host.input_devices().map_err(refused)?;
    let microphones = inputs.filter_map(|device| described(&device, default.as_ref())).collect();
    let default = host.default_output_device().as_ref().and_then(id_of);
    let outputs = host.output_devices().map_err(refused)?;
    let speakers = outputs.filter_map(|device| described(&device, default.as_ref())).collect();
    Ok(Devices { microphones, speakers })
}

fn id_of(device: &cpal::Device) -> Option<String> {
    device.id().ok().map(|id| id.id().to_owned())
}

fn found(mut devices: impl Iterator<Item = cpal::Device>, wanted: &Device) -> Result<cpal::Device, DeviceError> {
    let found = devices.find(|device| id_of(device).as_ref() == Some(&wanted.name));
    found.ok_or_else(|| DeviceError::Refused(format!("{wanted} is gone")))
}

fn play(device: &cpal::Device, mouth: Mouth, delays: Arc<Delays>) -> Result<cpal::Stream, DeviceError> {
    let ranges = device.supported_output_configs().map_err(refused)?.collect();
    let config = suitable(device.default_output_config().map_err(refused)?, ranges);
    in_format!(config, play_as(device, &config, mouth, delays))
}

fn play_as<T: SizedSample + FromSample<f32>>(
    device: &cpal::Device,
    config: &SupportedStreamConfig,
    mut mouth: Mouth,
    delays: Arc<Delays>,
) -> Result<cpal::Stream, DeviceError> {
    let channels = usize::from(config.channels());
    let mut converter = Converter::new(SAMPLE_RATE, config.sample_rate())?;
    let give = move |wanted: &mut [T], info: &cpal::OutputCallbackInfo| {
        let times = info.timestamp();
        note(&delays.speaker_us, times.playback.checked_duration_since(times.callback));
        let count = wanted.len() / channels;
        while converter.len() < count {
            converter.push(mouth.say(SAY_AT_ONCE).map(|sample| f32::from(sample) / FULL_SCALE));
        }
        for (frame, sample) in wanted.chunks_exact_mut(channels).zip(converter.take(count)) {
            frame.fill(T::from_sample_(sample));
        }
    };
    device.build_output_stream(stream_config(config), give, complain, Some(DEVICE_PATIENCE)).map_err(refused)
}

fn capture(device: &cpal::Device, ear: Ear, delays: Arc<Delays>) -> Result<cpal::Stream, DeviceError> {
    let ranges = device.supported_input_configs().map_err(refused)?.collect();
    let config = suitable(device.default_input_config().map_err(refused)?, ranges);
    in_format!(config, capture_as(device, &config, ear, delays))
}

fn capture_as<T: SizedSample>(
    device: &cpal::Device,
    config: &SupportedStreamConfig,
    mut ear: Ear,
    delays: Arc<Delays>,
) -> Result<cpal::Stream, DeviceError>
where
    f32: FromSample<T>,
{
    let channels = usize::from(config.channels());
    let mut converter = Converter::new(config.sample_rate(), SAMPLE_RATE)?;
    let take = move |samples: &[T], info: &cpal::InputCallbackInfo| {
        let times = info.timestamp();
        note(&delays.microphone_us, times.callback.checked_duration_since(times.capture));
        let mean = |frame: &[T]| frame.iter().map(|sample| f32::from_sample_(*sample)).sum::<f32>() / channels as f32;
        converter.push(samples.chunks_exact(channels).map(mean));
        let ready = converter.len();
        ear.hear(converter.take(ready).map(sample_of));
    };
    device.build_input_stream(stream_config(config), take, complain, Some(DEVICE_PATIENCE)).map_err(refused)
}

/// The default, at our rate if the device has it: every other one costs a conversion.
fn suitable(default: SupportedStreamConfig, ranges: Vec<cpal::SupportedStreamConfigRange>) -> SupportedStreamConfig {
    let like_it = |range: &cpal::SupportedStreamConfigRange| {
        range.channels() == default.channels() && range.sample_format() == default.sample_format()
    };
    let ours = ranges.into_iter().filter(like_it).find_map(|range| range.try_with_sample_rate(SAMPLE_RATE));
    ours.unwrap_or(default)
}

/// Handed over every 10 ms if the device lets us choose.
fn stream_config(config: &SupportedStreamConfig) -> StreamConfig {
    let wanted = config.sample_rate() / BLOCKS_PER_SECOND;
    let buffer_size = match config.buffer_size() {
        cpal::SupportedBufferSize::Range { min, max } => BufferSize::Fixed(wanted.clamp(*min, *max.max(min))),
        cpal::SupportedBufferSize::Unknown => BufferSize::Default,
    };
    StreamConfig { buffer_size, ..config.config() }
}

fn note(micros: &AtomicU64, delay: Option<Duration>) {
    let delay = delay.map_or(0, |delay| u64::try_from(delay.as_micros()).unwrap_or(0));
    micros.store(delay, Ordering::Relaxed);
}

#[expect(clippy::cast_possible_truncation, reason = "between the least and the greatest sample")]
fn sample_of(value: f32) -> i16 {
    (value * FULL_SCALE).clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16
}

/// A stream that fails for good falls silent, and that is noticed.
fn complain(error: cpal::Error) {
    tracing::debug!(%error, "a sound device");
}

fn refused(error: cpal::Error) -> DeviceError {
    DeviceError::Refused(error.to_string())
}

const BLOCKS_PER_SECOND: u32 = 100;
/// Samples that are mixed at once when a device of another rate wants some.
const SAY_AT_ONCE: usize = SOUND_BLOCK / 2;
