//! Two pages in two Chromiums, one on each host, over `RTCPeerConnection` with its defaults; only sound.

use std::path::Path;

use super::Voice;
use super::sound_server::{FAR_EAR, FAR_MICROPHONE, NEAR_EAR, NEAR_MICROPHONE, SoundServer};
use crate::browser::{Browser, Sound};
use crate::emulator::{Emulator, Host};

/// A page that speaks and a page that listens.
pub(super) struct ChromiumVoice {
    listener: Browser,
    _speaker: Browser,
}

impl ChromiumVoice {
    /// Returns once they are connected.
    pub(super) fn start(emulator: &Emulator, server: &SoundServer) -> Result<Self, String> {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/ladder/chromium/voice.html");
        let open = |host: &Host, microphone: &str, loudspeaker: &str| {
            let server = server.address();
            Browser::open(host, &page, Sound::Devices { server: &server, microphone, loudspeaker })
        };
        let mut speaker = open(&emulator.near, NEAR_MICROPHONE, NEAR_EAR)?;
        let mut listener = open(&emulator.far, FAR_MICROPHONE, FAR_EAR)?;
        let offer = speaker.evaluate("offer()")?;
        let answer = listener.evaluate(&format!("answer({offer})"))?;
        speaker.evaluate(&format!("accept({answer})"))?;
        speaker.evaluate("connected()")?;
        listener.evaluate("connected()")?;
        Ok(ChromiumVoice { listener, _speaker: speaker })
    }
}

impl Voice for ChromiumVoice {
    fn concealed_ms(&mut self) -> Option<f64> {
        self.listener.evaluate("concealed()").ok()?.as_f64()
    }
}
