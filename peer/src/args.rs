//! The command line, and the environment variables that stand for parts of it.
//!
//! Text goes in, what a person wants comes out: links are parsed, sizes checked, and nothing has been done yet. An error
//! never quotes a link, because its secret would stay on the screen.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args as ClapArgs, Parser, Subcommand};
use meipo::link::Link;
use meipo::path::Policy;
use meipo::units::Bitrate;
use meipo::wire::name::Name;

use crate::examples::{
    CALL_EXAMPLES, DEMO_EXAMPLES, EXAMPLES, JOIN_EXAMPLES, PUBLISH_EXAMPLES, RECORD_EXAMPLES, WATCH_EXAMPLES,
};

pub use crate::call::CallArgs;
pub use crate::wishes::{KeyInterval, MostBits, PatternSpec};

/// See and hear the people in a room, straight from machine to machine.
///
/// LINK is what `rendezvous invite` prints, such as meipo://example.org:1935/tea#SERVER_ID.ROOM_SECRET. Whoever has it can
/// enter the room; put it in quotes, because of its #. It may also stand in the environment variable MEIPO_LINK.
#[derive(Clone, Debug, Parser)]
#[command(name = "peer", version, after_help = EXAMPLES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to do it.
    #[command(flatten)]
    pub options: Options,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Print who this machine is to others
    Id,
    /// See and hear the people in the room, in your browser
    ///
    /// The page comes from this program and from nowhere else; nothing is sent to anybody before you enter the room on it.
    #[command(after_help = JOIN_EXAMPLES)]
    Join(JoinArgs),
    /// Speak with the people in the room, in this terminal
    ///
    /// Voice only, with the least delay. Keys: Tab mutes, Space talks while it is held, Enter says what you typed, Esc
    /// leaves. Without a terminal, lines of standard input are chat; /mute, /unmute, /hand and /leave are commands.
    #[command(after_help = CALL_EXAMPLES)]
    Call(CallArgs),
    /// Show a file, standard input or a test pattern to everybody in the room
    #[command(after_help = PUBLISH_EXAMPLES)]
    Publish(PublishArgs),
    /// Receive and decode everything in the room, and report how well it comes
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// Record the room: one Matroska file for each participant
    ///
    /// Files are called NAME-ID.mkv; an existing file is never touched. Whatever happens to this program, a file plays up to
    /// the last two seconds.
    #[command(after_help = RECORD_EXAMPLES)]
    Record(RecordArgs),
    /// Find out what NAT this is, whether UDP passes and which way media would go
    Doctor(DoctorArgs),
    /// A rendezvous and three peers on this machine, with nothing to install or open
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
}

/// How to be in the room with a browser.
#[derive(Clone, Debug, ClapArgs)]
pub struct JoinArgs {
    /// The invite link
    #[arg(value_name = "LINK")]
    first: Option<String>,
    /// How the page is served.
    #[command(flatten)]
    pub page: PageArgs,
}

/// How the page is served, and what it asks of the camera.
#[derive(Clone, Debug, ClapArgs)]
pub struct PageArgs {
    /// What to ask of the camera
    #[arg(long, value_name = "WxH@FPS", default_value = "640x480@30")]
    pub video: PatternSpec,
    /// Bits a second of the pictures at most; none: as many as the network carries
    #[arg(long, value_name = "RATE", default_value = "1500k")]
    pub bitrate: MostBits,
    /// Seconds between two key frames at most; 0: every picture is one; none: only when somebody needs one
    #[arg(long, value_name = "SECONDS", default_value = "none")]
    pub keyframe_interval: KeyInterval,
    /// Port of the page on this machine; 0: any that is free
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// Print the page's address and do not open it
    #[arg(long)]
    pub no_browser: bool,
}

/// What to publish, and how.
#[derive(Clone, Debug, ClapArgs)]
pub struct PublishArgs {
    /// The invite link
    #[arg(value_name = "LINK", hide_env_values = true)]
    first: Option<String>,
    /// Matroska, WebM or MP4 with H.264, VP8, VP9 or AV1 and Opus; sent as it is, in real time. - is standard input
    /// (Matroska)
    #[arg(value_name = "FILE", conflicts_with = "test_pattern")]
    second: Option<String>,
    /// Show a moving picture with a clock, and speech-like sound
    #[arg(long, value_name = "WxH@FPS")]
    pub test_pattern: Option<PatternSpec>,
    /// Bits a second of the test pattern's pictures
    #[arg(long, value_name = "RATE", default_value = "800k", requires = "test_pattern", conflicts_with = "second")]
    pub bitrate: Bitrate,
    /// Colour of the test pattern in degrees, so that several can be told apart [default: by name]
    #[arg(long, value_name = "0-359", requires = "test_pattern", conflicts_with = "second", value_parser = clap::value_parser!(u16).range(0..360))]
    pub hue: Option<u16>,
    /// Begin the file again when it ends
    #[arg(long = "loop", conflicts_with = "test_pattern")]
    pub is_looped: bool,
    /// Begin once this many peers are connected [default: everybody who is there, for 5 s at most; standard input at once,
    /// because waiting would delay a camera for good]
    #[arg(long, value_name = "N", conflicts_with = "test_pattern")]
    pub wait_for: Option<usize>,
}

/// How to watch.
#[derive(Clone, Debug, ClapArgs)]
pub struct WatchArgs {
    /// The invite link
    #[arg(value_name = "LINK")]
    first: Option<String>,
    /// How long frames are held back so that they can be played evenly [default: as long as the network asks for]
    #[arg(long, value_name = "TIME", value_parser = parse_delay)]
    pub playout_delay: Option<Duration>,
}

/// Where to record.
#[derive(Clone, Debug, ClapArgs)]
pub struct RecordArgs {
    /// The invite link
    #[arg(value_name = "LINK")]
    first: Option<String>,
    /// Folder for the files; made if it is not there
    #[arg(value_name = "DIR")]
    second: Option<String>,
}

/// Which rendezvous to examine the way to.
#[derive(Clone, Debug, ClapArgs)]
pub struct DoctorArgs {
    /// The invite link
    #[arg(value_name = "LINK")]
    first: Option<String>,
}

/// How to show off.
#[derive(Clone, Debug, ClapArgs)]
pub struct DemoArgs {
    /// Show a table of the three peers instead of the page
    #[arg(long, conflicts_with = "PageArgs")]
    pub headless: bool,
    /// The peers' pictures
    #[arg(long, value_name = "WxH@FPS", default_value = "320x240@30")]
    pub pattern: PatternSpec,
    /// How the page is served.
    #[command(flatten)]
    pub page: PageArgs,
}

/// How to do it, whatever it is.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct Options {
    /// The invite link, instead of the first argument
    #[arg(long, global = true, value_name = "LINK", env = "MEIPO_LINK", hide_env_values = true)]
    pub link: Option<String>,
    /// What the others read [default: your user name]
    #[arg(long, global = true, value_name = "NAME", env = "MEIPO_NAME")]
    pub name: Option<Name>,
    /// Key that says who you are; made if it is not there [default: identity.pem in the user's state directory]
    #[arg(long, global = true, value_name = "FILE", env = "MEIPO_IDENTITY")]
    pub identity: Option<PathBuf>,
    /// Send media through relays only: no address of yours reaches the other callers
    #[arg(long, global = true, env = "MEIPO_RELAY_ONLY", value_parser = switch)]
    pub relay_only: bool,
    /// Send media straight to the others or not at all
    #[arg(long, global = true, env = "MEIPO_DIRECT_ONLY", value_parser = switch)]
    pub direct_only: bool,
    /// Do not ask the router to open a port (UPnP, NAT-PMP, PCP)
    #[arg(long, global = true, env = "MEIPO_NO_PORT_MAPPING", value_parser = switch)]
    pub no_port_mapping: bool,
    /// Do not guess the ports of symmetric NATs
    #[arg(long, global = true, env = "MEIPO_NO_BIRTHDAY", value_parser = switch)]
    pub no_birthday: bool,
    /// A further STUN server to be asked where it sees you; may be repeated
    #[arg(long, global = true, value_name = "HOST:PORT", env = "MEIPO_STUN", value_delimiter = ',', value_parser = host_port)]
    pub stun: Vec<String>,
    /// Do not go through TCP where UDP is blocked
    #[arg(long, global = true, env = "MEIPO_NO_TUNNEL", value_parser = switch)]
    pub no_tunnel: bool,
    /// Print events as JSON, one a line
    #[arg(long, global = true)]
    pub json: bool,
    /// End after this long
    #[arg(long, global = true, value_name = "N", allow_negative_numbers = true, value_parser = seconds)]
    pub seconds: Option<u64>,
    /// Log more; twice logs everything (RUST_LOG says it more exactly)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write log lines as JSON
    #[arg(long, global = true, env = "MEIPO_LOG_JSON", value_parser = switch)]
    pub log_json: bool,
}

/// What is published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// The test pattern.
    Pattern(PatternSpec),
}

impl PublishArgs {
    /// Where to publish what.
    ///
    /// # Errors
    /// When the link is wrong, or there is nothing to publish.
    pub fn resolve(&self, options: &Options) -> anyhow::Result<(Link, Input)> {
        let (link, file) = split(self.first.as_deref(), self.second.as_deref(), options)?;
        match (file, self.test_pattern) {
            (None, Some(pattern)) => Ok((link, Input::Pattern(pattern))),
            (Some("-"), None) if self.is_looped => bail!("standard input cannot be begun again; leave --loop out"),
            (Some("-"), None) => Ok((link, Input::Stdin)),
            (Some(file), None) => Ok((link, Input::File(file.into()))),
            (Some(_), Some(_)) => bail!("give either a file or --test-pattern, not both"),
            (None, None) => {
                bail!("nothing to publish: give a FILE, - for standard input, or --test-pattern 640x480@30")
            }
        }
    }
}

impl JoinArgs {
    /// What to join.
    ///
    /// # Errors
    /// When the link is wrong.
    pub fn resolve(&self, options: &Options) -> anyhow::Result<Link> {
        parse_link(self.first.as_deref().or(options.link.as_deref()))
    }
}

impl WatchArgs {
    /// What to watch.
    ///
    /// # Errors
    /// When the link is wrong.
    pub fn resolve(&self, options: &Options) -> anyhow::Result<Link> {
        parse_link(self.first.as_deref().or(options.link.as_deref()))
    }
}

impl DoctorArgs {
    /// Which rendezvous, by a link to any of its rooms.
    ///
    /// # Errors
    /// When the link is wrong.
    pub fn resolve(&self, options: &Options) -> anyhow::Result<Link> {
        parse_link(self.first.as_deref().or(options.link.as_deref()))
    }
}

impl RecordArgs {
    /// What to record, and where to.
    ///
    /// # Errors
    /// When the link is wrong, or no folder is given.
    pub fn resolve(&self, options: &Options) -> anyhow::Result<(Link, PathBuf)> {
        let (link, folder) = split(self.first.as_deref(), self.second.as_deref(), options)?;
        Ok((link, folder.context("give the folder for the recordings: peer record LINK DIR")?.into()))
    }
}

impl Options {
    /// Which ways media may take.
    ///
    /// # Errors
    /// When relays only and no relay are both asked for.
    pub fn policy(&self) -> anyhow::Result<Policy> {
        match (self.relay_only, self.direct_only) {
            (true, true) => bail!(CONTRADICTION),
            (true, false) => Ok(Policy::RelayOnly),
            (false, true) => Ok(Policy::DirectOnly),
            (false, false) => Ok(Policy::Any),
        }
    }

    /// What the others read: the name given, the user's, or else a plain word.
    pub fn name(&self) -> Name {
        let user = || std::env::var("USER").ok()?.parse().ok();
        let plain = || "peer".parse().expect("a short word is a name");
        self.name.clone().or_else(user).unwrap_or_else(plain)
    }
}

/// Tells the link from what follows it: with a link in the environment or behind `--link`, the first argument may
/// already be the file.
fn split<'a>(
    first: Option<&'a str>,
    second: Option<&'a str>,
    options: &Options,
) -> anyhow::Result<(Link, Option<&'a str>)> {
    match (first, second, options.link.as_deref()) {
        (Some(file), None, Some(link)) if !file.trim_start().starts_with("meipo:") => {
            Ok((parse_link(Some(link))?, Some(file)))
        }
        (first, second, link) => Ok((parse_link(first.or(link))?, second)),
    }
}

/// Reads the link that was given.
///
/// # Errors
/// When there is none, or it is wrong.
pub(crate) fn parse_link(text: Option<&str>) -> anyhow::Result<Link> {
    let text = text.filter(|text| !text.trim().is_empty());
    let text = text.context("a LINK is missing; `rendezvous invite` prints one. It may also stand in MEIPO_LINK")?;
    Ok(text.parse::<Link>()?)
}

const CONTRADICTION: &str = "relays only (--relay-only or MEIPO_RELAY_ONLY) and no relay (--direct-only or \
     MEIPO_DIRECT_ONLY) leave no way; take one of them back";

/// Reads a switch as it stands in the environment; an empty variable is one that is not set.
fn switch(text: &str) -> Result<bool, &'static str> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "" | "0" | "no" | "false" | "off" => Ok(false),
        _ => Err("write 1, yes, true or on; or 0, no, false or off"),
    }
}

/// Reads how long a stay lasts: a year is longer than any.
fn seconds(text: &str) -> Result<u64, &'static str> {
    let number = text.parse().ok().filter(|number| (1..=31_536_000).contains(number));
    number.ok_or("write whole seconds, from 1 to 31536000")
}

/// Reads `80ms`, `0.2s` or plain milliseconds.
fn parse_delay(text: &str) -> Result<Duration, String> {
    let error = || format!("{text:?} is no delay up to 10 s; write for example 80ms");
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1e-3),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1e-3),
    };
    let seconds = number.trim().parse::<f64>().map_err(|_| error())? * unit;
    let delay = Duration::try_from_secs_f64(seconds).map_err(|_| error())?;
    if delay > Duration::from_secs(10) { Err(error()) } else { Ok(delay) }
}

/// A server's name or address with its port.
fn host_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(text.to_owned()),
        _ => Err("write HOST:PORT, such as stun.example.org:3478".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declaration_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_size_is_read_with_its_rate() {
        assert_eq!("640x480@15".parse(), Ok(PatternSpec { width: 640, height: 480, rate: 15 }));
        assert_eq!("320x240".parse(), Ok(PatternSpec { width: 320, height: 240, rate: 30 }));
    }

    #[test]
    fn a_bad_size_is_refused_with_its_reason() {
        for (text, reason) in [
            ("640", "640x480@30"),
            ("axb@30", "640x480@30"),
            ("641x480@30", "odd"),
            ("0x480@30", "0 pixels"),
            ("5000x480@30", "5000 pixels"),
            ("640x480@0", "0 pictures"),
            ("640x480@121", "121 pictures"),
        ] {
            let error = text.parse::<PatternSpec>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn relays_only_and_direct_only_contradict_each_other() {
        let error = parse(&["watch", LINK, "--relay-only", "--direct-only"]).unwrap().options.policy().unwrap_err();
        assert!(error.to_string().contains("MEIPO_RELAY_ONLY"), "{error}");
    }

    #[test]
    fn a_switch_in_the_environment_is_written_as_people_write_it() {
        for (text, is_on) in [("1", true), ("Yes", true), ("on", true), ("0", false), ("false", false), ("", false)] {
            assert_eq!(switch(text), Ok(is_on), "{text}");
        }
        assert!(switch("maybe").is_err());
    }

    #[test]
    fn a_file_and_a_test_pattern_contradict_each_other() {
        assert!(parse(&["publish", LINK, "a.mkv", "--test-pattern", "64x64@5"]).is_err());
        assert!(parse(&["publish", LINK, "a.mkv", "--bitrate", "1M"]).is_err());
        assert!(parse(&["publish", LINK, "--test-pattern", "64x64@5", "--loop"]).is_err());
    }

    #[test]
    fn the_link_may_stand_first_or_elsewhere() {
        let expected = (LINK.parse().unwrap(), Input::File("a.mkv".into()));
        for line in [&["publish", LINK, "a.mkv"][..], &["publish", "a.mkv", "--link", LINK]] {
            assert_eq!(published(line).unwrap(), expected);
        }
        assert_eq!(published(&["publish", LINK, "-"]).unwrap().1, Input::Stdin);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (line, reason) in [
            (&["publish", LINK][..], "nothing to publish"),
            (&["publish", "clip.mkv"], "no link"),
            (&["publish", LINK, "-", "--loop"], "--loop"),
            (&["publish"], "MEIPO_LINK"),
        ] {
            let error = published(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{line:?}: {error}");
        }
    }

    #[test]
    fn a_delay_has_a_unit() {
        assert_eq!(parse_delay("80ms"), Ok(Duration::from_millis(80)));
        assert_eq!(parse_delay("0.2s"), Ok(Duration::from_millis(200)));
        assert_eq!(parse_delay("120"), Ok(Duration::from_millis(120)));
        for text in ["", "-5ms", "fast", "11s", "NaN"] {
            assert!(parse_delay(text).is_err(), "{text}");
        }
    }

    fn published(line: &[&str]) -> anyhow::Result<(Link, Input)> {
        let args = parse(line).unwrap();
        let Command::Publish(publish) = &args.command else { panic!("{args:?}") };
        publish.resolve(&args.options)
    }

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["peer"], line].concat())
    }

    const LINK: &str =
        "meipo://127.0.0.1:1935/tea#ueuwc2lbmfqwcylbmfqwcylbmfqwcylbmfqwcylbmfqwcylbmfqq.aebagbafaydqqcikbmga2dqpca";
}
