//! Microphone and loudspeaker of this machine.
//!
//! [`keep`] opens both, tells what became of them, and opens them again whenever they were lost. Blocks pass between the
//! devices and the [`Studio`] on the devices' own threads.
//!
//! ```text
//! ends             samples as they come → blocks → studio, studio → blocks → samples as they are wanted
//! pulse            Linux: PulseAudio's protocol, which PipeWire speaks, too; nothing to install
//! portable, rate   macOS and Windows: cpal; rubato where a device has another rate than ours
//! ```

mod ends;
#[cfg(any(not(target_os = "linux"), feature = "cpal-on-linux"))]
mod portable;
#[cfg(all(target_os = "linux", not(feature = "cpal-on-linux")))]
mod pulse;
#[cfg(any(not(target_os = "linux"), feature = "cpal-on-linux"))]
mod rate;

use std::sync::{Arc, Mutex};

use meipo::media::Frame;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::time::{Instant, sleep};

use self::ends::{Ear, Meters, Mouth};
#[cfg(any(not(target_os = "linux"), feature = "cpal-on-linux"))]
use self::portable as system;
#[cfg(all(target_os = "linux", not(feature = "cpal-on-linux")))]
use self::pulse as system;
use super::sound::{Choice, Delay, Device, DeviceError, Devices, News};
use super::studio::Studio;
use crate::params::{DEVICE_CHECK, DEVICE_RETRY, DEVICE_SILENCE};

/// All microphones and loudspeakers.
///
/// # Errors
/// When the system has no sound.
pub async fn list() -> Result<Devices, DeviceError> {
    system::list().await
}

/// Opens the devices of this choice.
///
/// # Errors
/// When the system has no sound, no device at all, or none of that name.
pub async fn open(choice: &Choice, studio: Arc<Mutex<Studio>>, frames: Sender<Frame>) -> Result<Lines, DeviceError> {
    let meters = Arc::new(Meters::default());
    let ends =
        Ends { ear: Ear::new(studio.clone(), frames, meters.clone()), mouth: Mouth::new(studio, meters.clone()) };
    let (microphone, speaker, streams) = system::open(choice, ends).await?;
    if microphone.is_none() && speaker.is_none() {
        return Err(DeviceError::Nothing);
    }
    Ok(Lines { microphone, speaker, streams, meters })
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
    streams: system::Streams,
    meters: Arc<Meters>,
}

/// What is connected to the devices.
struct Ends {
    ear: Ear,
    mouth: Mouth,
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
        match (self.microphone.is_some() && now.0 == captured, self.speaker.is_some() && now.1 == played) {
            (true, true) => Some("the sound server is gone".to_owned()),
            (true, false) => lost("the microphone", &self.microphone),
            (false, true) => lost("the loudspeaker", &self.speaker),
            (false, false) => None,
        }
    }

    /// How long sound takes between us and the air.
    async fn delay(&self) -> Delay {
        self.streams.delay(&self.meters).await
    }
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
