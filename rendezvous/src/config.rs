//! One configuration out of four places: flags win over the environment, that over the file, that over defaults.
//!
//! A path that does not exist, a key nobody knows and a number out of bounds are errors, never a silent default.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use directories::ProjectDirs;
use meipo::limits::Limits;
use meipo::params::DEFAULT_PORT;
use meipo::wire::relay::RelayKey;
use serde::{Deserialize, Serialize};

use crate::address::HostPort;
use crate::args::{LimitOption, Options, RelayOption};
use crate::key_file;

/// How a rendezvous runs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Config {
    /// UDP and TCP address to listen on.
    pub listen: SocketAddr,
    /// Where others reach this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_addr: Option<HostPort>,
    /// Where the identity is kept.
    pub data_dir: PathBuf,
    /// Whether log lines are JSON.
    pub log_json: bool,
    /// Where health and metrics are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<SocketAddr>,
    /// Whether no tunnel is offered over TCP.
    pub no_tunnel: bool,
    /// Second address for peers that examine their NAT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stun_alternate: Option<SocketAddr>,
    /// Relays on other machines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub relay: Vec<RemoteRelay>,
    /// What one stranger or all of them together may cost.
    pub limits: Limits,
}

/// A relay on another machine.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteRelay {
    /// Where peers reach it.
    pub address: HostPort,
    /// Where its key is.
    pub key_file: PathBuf,
}

impl Config {
    /// The configuration that `options`, the file they name and the defaults give.
    ///
    /// # Errors
    /// Names the place and the key of the first mistake.
    pub fn resolve(options: &Options) -> anyhow::Result<Self> {
        let file = match &options.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        let limits = change_limits(file.limits, &options.limit)?;
        limits.check()?;
        let config = Config {
            listen: options.listen.or(file.listen).unwrap_or(EVERYWHERE),
            public_addr: options.public_addr.clone().or(file.public_addr),
            data_dir: options.data_dir.clone().or(file.data_dir).map_or_else(default_data_dir, Ok)?,
            log_json: options.log_json.or(file.log_json).unwrap_or(false),
            metrics_listen: options.metrics_listen.or(file.metrics_listen),
            no_tunnel: options.no_tunnel.or(file.no_tunnel).unwrap_or(false),
            stun_alternate: options.stun_alternate.or(file.stun_alternate),
            relay: if options.relay.is_empty() { file.relay } else { remote_relays(&options.relay) },
            limits,
        };
        config.relay_keys()?;
        Ok(config)
    }

    /// Where the key of this rendezvous is.
    pub fn identity_file(&self) -> PathBuf {
        self.data_dir.join("identity.pem")
    }

    /// The relays on other machines with their keys.
    ///
    /// # Errors
    /// When a key file does not serve.
    pub fn relay_keys(&self) -> anyhow::Result<Vec<(HostPort, RelayKey)>> {
        let key = |relay: &RemoteRelay| {
            let key = key_file::load(&relay.key_file).with_context(|| format!("relay {}", relay.address))?;
            Ok((relay.address.clone(), key))
        };
        self.relay.iter().map(key).collect()
    }

    /// The configuration as a file that gives the same again.
    ///
    /// # Errors
    /// When a path is no Unicode.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        toml::to_string(self).context("the configuration cannot be written as TOML")
    }
}

/// What a configuration file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    public_addr: Option<HostPort>,
    data_dir: Option<PathBuf>,
    log_json: Option<bool>,
    metrics_listen: Option<SocketAddr>,
    no_tunnel: Option<bool>,
    stun_alternate: Option<SocketAddr>,
    relay: Vec<RemoteRelay>,
    limits: Limits,
}

impl File {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        toml::from_str(&text).map_err(|error| anyhow!("{}: {error}", path.display()))
    }
}

fn change_limits(limits: Limits, changes: &[LimitOption]) -> anyhow::Result<Limits> {
    let mut table = toml::Table::try_from(limits)?;
    for change in changes {
        let Some(value) = table.get_mut(&change.name) else {
            let known: Vec<&str> = table.keys().map(String::as_str).collect();
            return Err(anyhow!("there is no limit {:?}; there are: {}", change.name, known.join(", ")));
        };
        *value = toml::Value::Integer(change.value.into());
    }
    Ok(table.try_into()?)
}

fn remote_relays(options: &[RelayOption]) -> Vec<RemoteRelay> {
    let remote =
        |option: &RelayOption| RemoteRelay { address: option.address.clone(), key_file: option.key_file.clone() };
    options.iter().map(remote).collect()
}

fn default_data_dir() -> anyhow::Result<PathBuf> {
    let folders = ProjectDirs::from("", "", "meipo").context("this user has no home directory; give --data-dir DIR")?;
    Ok(folders.data_dir().join("rendezvous"))
}

/// All addresses of the machine; a system without IPv6 makes it all of IPv4.
const EVERYWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), DEFAULT_PORT);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use tempfile::NamedTempFile;

    #[test]
    fn without_anything_the_defaults_hold() {
        let config = Config::resolve(&Options::default()).unwrap();
        assert_eq!(config.listen, "[::]:1935".parse().unwrap());
        assert!(config.data_dir.ends_with("meipo/rendezvous"), "{}", config.data_dir.display());
        assert_eq!(config.limits, Limits::default());
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file =
            file("listen = \"0.0.0.0:7000\"\nlog_json = true\nno_tunnel = true\n[limits]\nrooms = 7\npeers = 8\n");
        let options = Options {
            listen: Some("0.0.0.0:8000".parse().unwrap()),
            no_tunnel: Some(false),
            limit: vec!["peers=9".parse().unwrap()],
            ..reading(&file)
        };
        let config = Config::resolve(&options).unwrap();
        assert_eq!(config.listen.port(), 8000);
        assert!(config.log_json && !config.no_tunnel);
        assert_eq!((config.limits.rooms, config.limits.peers), (7, 9));
        assert_eq!(config.limits.peers_per_room, Limits::default().peers_per_room);
    }

    #[test]
    fn a_mistyped_path_is_an_error() {
        let options = Options { config: Some("/no/such/file.toml".into()), ..Options::default() };
        let error = format!("{:#}", Config::resolve(&options).unwrap_err());
        assert!(error.contains("/no/such/file.toml"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        for (text, key) in [("listen = \"[::]:1\"\nlissten = 1\n", "lissten"), ("[limits]\nroom = 1\n", "room")] {
            let error = Config::resolve(&reading(&file(text))).unwrap_err().to_string();
            assert!(error.contains(&format!("unknown field `{key}`")), "{error}");
            assert!(error.contains("line 2"), "{error}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_with_its_line() {
        for text in ["listen = 1935", "[limits]\nrooms = -1", "public_addr = \"a:b\"", "log_json = \"yes\""] {
            let error = Config::resolve(&reading(&file(text))).unwrap_err().to_string();
            assert!(error.contains("line"), "{error}");
        }
    }

    #[test]
    fn a_limit_out_of_bounds_is_refused_from_either_place() {
        let file = file("[limits]\npeers_per_room = 1\n");
        let from_file = reading(&file);
        let from_flag = Options { limit: vec!["peers_per_room=1".parse().unwrap()], ..Options::default() };
        for options in [from_file, from_flag] {
            let error = Config::resolve(&options).unwrap_err().to_string();
            assert!(error.contains("peers_per_room = 1 is out of bounds"), "{error}");
        }
    }

    #[test]
    fn an_unknown_limit_is_answered_with_the_known_ones() {
        let options = Options { limit: vec!["room=1".parse().unwrap()], ..Options::default() };
        let error = Config::resolve(&options).unwrap_err().to_string();
        assert!(error.contains("\"room\"") && error.contains("peers_per_room"), "{error}");
    }

    #[test]
    fn a_relay_without_its_key_is_an_error() {
        let options = Options { relay: vec!["relay.example=/no/such.key".parse().unwrap()], ..Options::default() };
        let error = format!("{:#}", Config::resolve(&options).unwrap_err());
        assert!(error.contains("relay.example:1935") && error.contains("/no/such.key"), "{error}");
    }

    #[test]
    fn what_is_printed_gives_the_same_configuration_again() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("relay.key");
        key_file::load_or_create(&key).unwrap();
        let options = Options {
            public_addr: Some("rv.example:7000".parse().unwrap()),
            metrics_listen: Some("127.0.0.1:9464".parse().unwrap()),
            stun_alternate: Some("192.0.2.2:1936".parse().unwrap()),
            relay: vec![format!("relay.example={}", key.display()).parse().unwrap()],
            limit: vec!["hello_ms=700".parse().unwrap(), "relay_total_kbps=9000".parse().unwrap()],
            ..Options::default()
        };
        let config = Config::resolve(&options).unwrap();
        let again = Config::resolve(&reading(&file(&config.to_toml().unwrap()))).unwrap();
        assert_eq!(again, config);
    }

    fn file(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn reading(file: &NamedTempFile) -> Options {
        Options { config: Some(file.path().to_owned()), ..Options::default() }
    }
}
