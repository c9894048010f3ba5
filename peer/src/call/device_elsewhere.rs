//! Where there is no sound server that speaks PulseAudio's protocol: a sentence instead of devices.

use std::sync::{Arc, Mutex};

use meipo::media::Frame;
use tokio::sync::mpsc::{Sender, UnboundedSender};

use super::sound::{Choice, DeviceError, Devices, News};
use super::studio::Studio;

/// Open devices; there are none.
#[derive(Debug)]
pub enum Lines {}

/// # Errors
/// Always.
#[expect(clippy::unused_async, reason = "as where there are devices")]
pub async fn list() -> Result<Devices, DeviceError> {
    Err(DeviceError::System)
}

/// # Errors
/// Always.
#[expect(clippy::unused_async, reason = "as where there are devices")]
pub async fn open(_: &Choice, _: Arc<Mutex<Studio>>, _: Sender<Frame>) -> Result<Lines, DeviceError> {
    Err(DeviceError::System)
}

/// Never called, because nothing can be opened.
#[expect(clippy::unused_async, reason = "as where there are devices")]
pub async fn keep(lines: Lines, _: Choice, _: Arc<Mutex<Studio>>, _: Sender<Frame>, _: UnboundedSender<News>) {
    match lines {}
}
