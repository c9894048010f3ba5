//! What `peer call` is told on the command line.

use clap::Args as ClapArgs;
use meipo::link::Link;

use super::canceller::Treatment;
use super::sound::Choice;
use crate::args::{Options, parse_link};

/// How to be in the room with a voice only.
#[derive(Clone, Debug, ClapArgs)]
pub struct CallArgs {
    /// The invite link
    #[arg(value_name = "LINK")]
    first: Option<String>,
    /// The microphone, by a name that --list-devices shows [default: the system's]
    #[arg(long, value_name = "NAME", env = "MEIPO_MICROPHONE")]
    pub microphone: Option<String>,
    /// The loudspeaker or headphones, by a name that --list-devices shows [default: the system's]
    #[arg(long, value_name = "NAME", env = "MEIPO_SPEAKER")]
    pub speaker: Option<String>,
    /// Enter with the microphone off
    #[arg(long)]
    pub muted: bool,
    /// Leave the loudspeaker's sound in the microphone's: for headphones
    #[arg(long, conflicts_with = "raw")]
    pub no_echo_cancellation: bool,
    /// Send the microphone as it is, without echo cancellation, noise suppression and gain: for music
    #[arg(long)]
    pub raw: bool,
    /// Print the microphones and loudspeakers of this machine, and end
    #[arg(long)]
    pub list_devices: bool,
}

impl CallArgs {
    /// Which room.
    ///
    /// # Errors
    /// When the link is wrong.
    pub fn resolve(&self, options: &Options) -> anyhow::Result<Link> {
        parse_link(self.first.as_deref().or(options.link.as_deref()))
    }

    /// Which devices.
    pub fn choice(&self) -> Choice {
        Choice { microphone: self.microphone.clone(), speaker: self.speaker.clone() }
    }

    /// What is done to the microphone's sound.
    pub fn treatment(&self) -> Treatment {
        match (self.raw, self.no_echo_cancellation) {
            (true, _) => Treatment::Raw,
            (false, true) => Treatment::WithoutEcho,
            (false, false) => Treatment::Full,
        }
    }
}
