//! Links for people: a new room each time, at this rendezvous.

use std::net::IpAddr;

use anyhow::Context;
use meipo::link::Link;
use meipo::net::identity::Identity;
use meipo::trust::RoomSecret;
use meipo::trust::host::HostKey;

use crate::address::{HostPort, guess_own_ip};
use crate::config::Config;

/// A link, and where its address comes from.
#[derive(Debug)]
pub struct Invitation {
    /// The link; the host's own if the room has a host.
    pub link: Link,
    /// The address in it, if it was guessed rather than configured.
    pub guessed: Option<IpAddr>,
}

impl Invitation {
    /// A link to a new room, with or without a host. Makes the identity of the rendezvous if there is none yet.
    ///
    /// # Errors
    /// When the identity cannot be read or made, or the room's name cannot stand in a link.
    pub fn new(config: &Config, room: &str, has_host: bool) -> anyhow::Result<Self> {
        let identity = Identity::load_or_create(&config.identity_file())?;
        let guessed = config.public_addr.is_none().then(|| guess(config));
        let address = match (&config.public_addr, guessed) {
            (Some(address), _) => address.clone(),
            (None, ip) => HostPort::of(ip.unwrap_or(config.listen.ip()), config.listen.port()),
        };
        let secret = RoomSecret::from_bytes(random()?);
        let link = Link::new(address.host, address.port, room, identity.id(), secret)?;
        let link = if has_host { link.with_host_key(HostKey::from_bytes(random()?)) } else { link };
        Ok(Invitation { link, guessed })
    }

    /// The link, or both: the host's and the one that guests get.
    pub fn links(&self) -> String {
        match self.link.host_key() {
            Some(_) => format!("host   {}\nguests {}", self.link.to_host_text(), self.link),
            None => self.link.to_string(),
        }
    }

    /// What a person should know about the link.
    pub fn hints(&self) -> String {
        let mut hints = match self.link.host_key() {
            Some(_) => format!(
                "Whoever has the guests' link can join {:?}. Send it where only they read it, and keep the host's to yourself: \
                 whoever has that can mute everyone, lock the room and remove people.",
                self.link.room()
            ),
            None => format!("Whoever has this link can join {:?}. Send it where only they read it.", self.link.room()),
        };
        if let Some(ip) = self.guessed {
            let reach = if is_local(ip) { "people on this network only" } else { "people who can reach that address" };
            hints += &format!(
                "\nThe address {ip} is a guess and serves {reach}. \
                 Set it with --public-addr HOST:PORT or MEIPO_PUBLIC_ADDR."
            );
        }
        hints
    }

    /// The invitation for programs.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "link": self.link.to_string(),
            "host_link": self.link.host_key().map(|_| self.link.to_host_text()),
            "room": self.link.room(),
            "server": self.link.server().to_string(),
            "guessed_address": self.guessed,
        })
    }
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system gives no randomness")?;
    Ok(bytes)
}

/// The address it listens on if that is a particular one, otherwise that of the way to the Internet.
fn guess(config: &Config) -> IpAddr {
    let ip = config.listen.ip();
    if ip.is_unspecified() { guess_own_ip() } else { ip }
}

/// Whether only the same machine or network reaches this address.
fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Options;

    #[test]
    fn a_link_leads_to_the_configured_address_and_this_identity() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder, Some("rv.example:7000"));
        let invitation = Invitation::new(&config, "tea room", false).unwrap();
        let link: Link = invitation.link.to_string().parse().unwrap();
        assert_eq!((link.host().to_string(), link.port()), ("rv.example".to_owned(), 7000));
        assert_eq!(link.server(), Identity::load(&config.identity_file()).unwrap().id());
        assert!(!invitation.hints().contains("guess"));
    }

    #[test]
    fn each_invitation_is_to_another_room() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder, Some("rv.example"));
        let [one, other] = [(), ()].map(|()| Invitation::new(&config, "tea", false).unwrap().link);
        assert_ne!(one.claim().room_id(), other.claim().room_id());
        assert_eq!(one.server(), other.server());
    }

    #[test]
    fn a_host_gets_a_link_of_its_own_to_the_room_of_its_guests() {
        let folder = tempfile::tempdir().unwrap();
        let invitation = Invitation::new(&config(&folder, Some("rv.example")), "tea", true).unwrap();
        let links = invitation.links();
        let [host, guests] = ["host   ", "guests "].map(|label| {
            let line = links.lines().find_map(|line| line.strip_prefix(label)).unwrap();
            line.parse::<Link>().unwrap()
        });
        assert!(host.host_key().is_some() && guests.host_key().is_none());
        assert_eq!(host.claim(), guests.claim());
        let json = invitation.to_json();
        assert_eq!(json["link"], guests.to_string());
        assert_eq!(json["host_link"], host.to_host_text());
        assert!(!invitation.hints().contains(&host.host_key().unwrap().to_base32()));
    }

    #[test]
    fn a_guessed_address_is_owned_up_to() {
        let folder = tempfile::tempdir().unwrap();
        let invitation = Invitation::new(&config(&folder, None), "tea", false).unwrap();
        let hints = invitation.hints();
        assert!(hints.contains("is a guess") && hints.contains("--public-addr"), "{hints}");
    }

    #[test]
    fn no_hint_tells_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let invitation = Invitation::new(&config(&folder, None), "tea", false).unwrap();
        assert!(!invitation.hints().contains(&invitation.link.secret().to_base32()));
    }

    #[test]
    fn a_room_that_cannot_be_named_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Invitation::new(&config(&folder, None), "", false).is_err());
    }

    fn config(folder: &tempfile::TempDir, public_addr: Option<&str>) -> Config {
        let options = Options {
            data_dir: Some(folder.path().join("data")),
            public_addr: public_addr.map(|text| text.parse().unwrap()),
            ..Options::default()
        };
        Config::resolve(&options).unwrap()
    }
}
