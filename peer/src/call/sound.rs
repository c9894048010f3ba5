//! What a call says about microphones and loudspeakers, whatever system they belong to.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// Which devices are wanted: by the name or the description that the system gives them, or its default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Choice {
    /// What to capture.
    pub microphone: Option<String>,
    /// What to play on.
    pub speaker: Option<String>,
}

/// A microphone or a loudspeaker.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Device {
    /// What the system calls it.
    pub name: String,
    /// What people call it.
    pub description: String,
    /// Whether it is taken when none is named.
    #[serde(rename = "default")]
    pub is_default: bool,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.name, self.description)
    }
}

/// All devices of this machine.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Devices {
    /// What can be captured.
    pub microphones: Vec<Device>,
    /// What can be played on.
    pub speakers: Vec<Device>,
}

/// What became of the devices.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News {
    /// They are open; `None` is one that this machine does not have.
    Opened {
        /// What is captured.
        microphone: Option<Device>,
        /// What is played on.
        speaker: Option<Device>,
    },
    /// They were lost, and are tried again.
    Lost(String),
    /// How long sound takes through them now.
    Delay(Delay),
}

/// How long sound takes between us and the air, where it is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Delay {
    /// From the air to us.
    pub microphone: Option<Duration>,
    /// From us to the air.
    pub speaker: Option<Duration>,
}

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No server's socket.
    #[error(
        "no sound server: neither PULSE_SERVER, PULSE_RUNTIME_PATH nor XDG_RUNTIME_DIR leads to one (is PulseAudio or \
             PipeWire with pipewire-pulse running for this user?)"
    )]
    NoServer,
    /// The socket leads nowhere.
    #[error("the sound server at {} cannot be reached: {error}", socket.display())]
    Connect {
        /// Where it should be.
        socket: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It does not answer.
    #[error("the sound server does not answer")]
    Silent,
    /// It says no.
    #[error("the sound server refuses: {0}")]
    Refused(String),
    /// Neither microphone nor loudspeaker.
    #[error("this machine has neither a microphone nor a loudspeaker")]
    Nothing,
    /// A name that is none.
    #[error("there is no {kind} {name:?}; there is {}", if known.is_empty() { "none at all" } else { known })]
    NoSuchDevice {
        /// Microphone or speaker.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}
