//! The command line, and the environment variables that stand for it.
//!
//! Nothing is decided here: what is absent stays `None`, so that [`crate::config`] can ask the file and the defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::address::HostPort;

/// Introduces peers to each other, and relays for those whose networks forbid a direct way.
///
/// Run it on a machine everyone can reach; one UDP port, and the same in TCP, must be open.
/// Every option can also stand in the environment or, with _ for -, in the file given with --config.
#[derive(Clone, Debug, Parser)]
#[command(name = "rendezvous", version)]
pub struct Args {
    /// What to do; without it the rendezvous runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to do it.
    #[command(flatten)]
    pub options: Options,
}

/// What to do instead of running.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum Command {
    /// Print a link to a new room; the rendezvous need not be running
    Invite {
        /// What people call the room
        #[arg(default_value = "lobby")]
        room: String,
        /// Make a room with a host, who can mute everyone, lock the room and remove people: prints a second link, for the host
        #[arg(long)]
        host: bool,
    },
    /// Print the configuration that would be used, as TOML; fails if it would not work
    CheckConfig,
    /// Run a relay alone, for a rendezvous on another machine
    Relay {
        /// Key shared with that rendezvous; made if it is not there. Copy it, and name it there with --relay
        #[arg(long, value_name = "FILE", env = "MEIPO_KEY_FILE")]
        key_file: PathBuf,
    },
}

/// How to do it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// UDP and TCP address to listen on [default: port 1935 of all addresses]
    #[arg(long, global = true, value_name = "ADDR:PORT", env = "MEIPO_LISTEN", value_parser = socket_address)]
    pub listen: Option<SocketAddr>,
    /// Where others reach this machine; stands in the links [default: a guess]
    #[arg(long, global = true, value_name = "HOST:PORT", env = "MEIPO_PUBLIC_ADDR")]
    pub public_addr: Option<HostPort>,
    /// Where the identity is kept [default: the user's data directory]
    #[arg(long, global = true, value_name = "DIR", env = "MEIPO_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE", env = "MEIPO_CONFIG")]
    pub config: Option<PathBuf>,
    /// Write log lines as JSON
    #[arg(long, global = true, value_name = "BOOL", env = "MEIPO_LOG_JSON", value_parser = switch,
        num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub log_json: Option<bool>,
    /// Serve /healthz, /readyz and Prometheus /metrics here, such as 127.0.0.1:9464 [default: nowhere]
    #[arg(long, global = true, value_name = "ADDR:PORT", env = "MEIPO_METRICS_LISTEN", value_parser = socket_address)]
    pub metrics_listen: Option<SocketAddr>,
    /// Offer no tunnel over TCP
    #[arg(long, global = true, value_name = "BOOL", env = "MEIPO_NO_TUNNEL", value_parser = switch,
        num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub no_tunnel: Option<bool>,
    /// Second address of this machine, for peers that examine their NAT (RFC 5780)
    #[arg(long, global = true, value_name = "ADDR:PORT", env = "MEIPO_STUN_ALTERNATE", value_parser = socket_address)]
    pub stun_alternate: Option<SocketAddr>,
    /// A relay on another machine, and the file with its key; may be repeated
    #[arg(long, global = true, value_name = "HOST:PORT=FILE", env = "MEIPO_RELAY", value_delimiter = ',')]
    pub relay: Vec<RelayOption>,
    /// Change a limit, such as rooms=50; check-config shows all; may be repeated
    #[arg(long, global = true, value_name = "NAME=NUMBER", env = "MEIPO_LIMIT", value_delimiter = ',')]
    pub limit: Vec<LimitOption>,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// A relay on another machine, as `HOST:PORT=FILE`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RelayOption {
    /// Where peers reach it.
    pub address: HostPort,
    /// Where its key is.
    pub key_file: PathBuf,
}

impl FromStr for RelayOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, file) = text.split_once('=').ok_or("a relay is written HOST:PORT=FILE; the = is missing")?;
        Ok(RelayOption { address: address.parse().map_err(|error| format!("{error:#}"))?, key_file: file.into() })
    }
}

/// A changed limit, as `NAME=NUMBER`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LimitOption {
    /// Its name in the configuration file.
    pub name: String,
    /// Its value.
    pub value: u32,
}

impl FromStr for LimitOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("a limit is written NAME=NUMBER; the = is missing")?;
        let value = value.parse().with_context(|| format!("{value:?} is no whole number"));
        Ok(LimitOption { name: name.trim().to_owned(), value: value.map_err(|error| format!("{error:#}"))? })
    }
}

/// Reads a switch as people write it.
fn switch(text: &str) -> Result<bool, &'static str> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err("write 1, yes, true or on; or 0, no, false or off"),
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write ADDR:PORT, such as 0.0.0.0:1935, or [::]:1935 for IPv6 as well")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declaration_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_runs() {
        let args = parse(&["--listen", "0.0.0.0:7000", "--no-tunnel"]);
        assert_eq!(args.command, None);
        assert_eq!(args.options.listen, Some("0.0.0.0:7000".parse().unwrap()));
        assert_eq!(args.options.no_tunnel, Some(true));
        assert_eq!(args.options.log_json, None);
    }

    #[test]
    fn options_may_stand_before_or_behind_the_command() {
        for line in [["--data-dir", "/d", "invite", "tea"], ["invite", "tea", "--data-dir", "/d"]] {
            let args = parse(&line);
            assert_eq!(args.command, Some(Command::Invite { room: "tea".to_owned(), host: false }));
            assert_eq!(args.options.data_dir, Some("/d".into()));
        }
    }

    #[test]
    fn a_switch_can_be_turned_off() {
        assert_eq!(parse(&["--log-json=false"]).options.log_json, Some(false));
    }

    #[test]
    fn relays_and_limits_may_be_repeated() {
        let args = parse(&["--relay", "a.example=/a", "--relay", "b.example:7=/b", "--limit", "rooms=5,peers=9"]);
        assert_eq!(args.options.relay.len(), 2);
        assert_eq!(args.options.relay[1].address.port, 7);
        assert_eq!(args.options.limit[1], LimitOption { name: "peers".to_owned(), value: 9 });
    }

    #[test]
    fn a_mistake_is_explained() {
        let cases = [
            (["--relay", "a.example"], "HOST:PORT=FILE"),
            (["--limit", "rooms=many"], "no whole number"),
            (["--public-addr", "a:b"], "no port"),
            (["--listen", ":1935"], "[::]:1935"),
        ];
        for (line, expected) in cases {
            let error = Args::try_parse_from([&["rendezvous"][..], &line].concat()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    fn parse(line: &[&str]) -> Args {
        Args::try_parse_from([&["rendezvous"], line].concat()).unwrap()
    }
}
