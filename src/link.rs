//! The link a person pastes: where the rendezvous is, who it is, which room, and the secret of that room.
//!
//! `meipo://HOST:PORT/ROOM#SERVER_ID.ROOM_SECRET[.HOST_ID[.HOST_KEY]]` goes in, a checked [`Link`] comes out, and back.
//! What stands behind `#` stays with the people who hold the link: it is in no error, no `Debug` output and no request.
//! The host's key stays with the host: a link is written without it wherever that is not asked for by name.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

pub use url::Host;

use crate::params::{DEFAULT_PORT, MAX_ROOM_NAME_LEN};
use crate::trust::host::{HostId, HostKey};
use crate::trust::{RoomClaim, RoomSecret};
use crate::units::{ParseIdError, PeerId};

/// Everything needed to join a room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    host: Host,
    port: u16,
    room: String,
    server: PeerId,
    secret: RoomSecret,
    rights: Rights,
}

/// Who may make rules for the room, and whether that is whoever holds the link.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Rights {
    Nobody,
    Guest(HostId),
    Host(HostKey),
}

impl Link {
    /// A link to `room`, which has no host, at the rendezvous `server`.
    ///
    /// # Errors
    /// When the port is 0, or the room's name cannot stand in a link or on a screen.
    pub fn new(host: Host, port: u16, room: &str, server: PeerId, secret: RoomSecret) -> Result<Self, LinkError> {
        if port == 0 {
            return Err(LinkError::Port);
        }
        check_room(room)?;
        Ok(Link { host, port, room: room.to_owned(), server, secret, rights: Rights::Nobody })
    }

    /// The link of the host, to the room that has this host.
    #[must_use]
    pub fn with_host_key(self, key: HostKey) -> Self {
        Link { rights: Rights::Host(key), ..self }
    }

    /// The link that guests get.
    #[must_use]
    pub fn without_host_key(self) -> Self {
        let rights = self.host_id().map_or(Rights::Nobody, Rights::Guest);
        Link { rights, ..self }
    }

    /// Name or address of the rendezvous.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Port of the rendezvous, UDP and TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What people call the room. Only a label: the secret is what decides which room it is.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// Who the rendezvous must prove to be.
    pub fn server(&self) -> PeerId {
        self.server
    }

    /// What the members of the room share.
    pub fn secret(&self) -> &RoomSecret {
        &self.secret
    }

    /// Which room it is.
    pub fn claim(&self) -> RoomClaim {
        self.secret.claim(self.host_id())
    }

    /// Who may make rules for the room, if anybody may.
    pub fn host_id(&self) -> Option<HostId> {
        match &self.rights {
            Rights::Nobody => None,
            Rights::Guest(id) => Some(*id),
            Rights::Host(key) => Some(key.id()),
        }
    }

    /// What makes us the host, if the link is the host's.
    pub fn host_key(&self) -> Option<&HostKey> {
        match &self.rights {
            Rights::Host(key) => Some(key),
            Rights::Nobody | Rights::Guest(_) => None,
        }
    }

    /// The whole link, the host's key included: for the host alone.
    pub fn to_host_text(&self) -> String {
        let key = self.host_key().map_or(String::new(), |key| format!(".{}", key.to_base32()));
        format!("{self}{key}")
    }
}

impl fmt::Display for Link {
    /// Writes the link as people send it to each other: with the room's secret, without the host's key. Never log it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room = utf8_percent_encode(&self.room, NON_ALPHANUMERIC);
        write!(f, "{SCHEME}://{}:{}/{room}", self.host, self.port)?;
        write!(f, "#{}.{}", self.server, self.secret.to_base32())?;
        self.host_id().map_or(Ok(()), |host| write!(f, ".{host}"))
    }
}

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let url = Url::parse(text.trim()).map_err(LinkError::Url)?;
        if url.scheme() != SCHEME {
            return Err(LinkError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LinkError::UserName);
        }
        if url.query().is_some() {
            return Err(LinkError::Query);
        }
        let host = Host::parse(url.host_str().ok_or(LinkError::NoHost)?).map_err(LinkError::Url)?;
        let room = decode_room(url.path())?;
        let (server, secret, rights) = decode_fragment(url.fragment().ok_or(LinkError::NoFragment)?)?;
        let link = Link::new(host, url.port().unwrap_or(DEFAULT_PORT), &room, server, secret)?;
        Ok(Link { rights, ..link })
    }
}

/// Why a text is no link. The secret is never part of it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Not even a URL, or its host is none.
    #[error("this is no link ({0}); a link looks like {EXAMPLE}")]
    Url(url::ParseError),
    /// A URL of another kind.
    #[error("a link starts with {SCHEME}://, this one with {0}:")]
    Scheme(String),
    /// Something before an `@`.
    #[error("a link has no user name or password before its host")]
    UserName,
    /// No host.
    #[error("the link names no host after {SCHEME}://")]
    NoHost,
    /// Port 0.
    #[error("port 0 after the host cannot be reached; leave it out for {DEFAULT_PORT}")]
    Port,
    /// Something behind a `?`.
    #[error("a link has no ? between the room and the #; was it copied from elsewhere?")]
    Query,
    /// No room, or only dots, which a URL reads as a folder.
    #[error("the link names no room after its host; a room is called anything but . or ..")]
    NoRoom,
    /// The room's name is too long.
    #[error("the room's name has {0} bytes; at most {MAX_ROOM_NAME_LEN} are allowed")]
    RoomTooLong(usize),
    /// The room's name is not UTF-8.
    #[error("the room's name is not UTF-8 from byte {0} on, once percent-decoded")]
    RoomNotText(usize),
    /// The room's name holds a line break or another control character.
    #[error("the room's name holds the control character U+{0:04X}")]
    RoomControl(u32),
    /// More than one `/` after the host.
    #[error("the room's name holds a /; in a link it is written %2F")]
    RoomPath,
    /// The part behind `#` is missing: a program cut it off.
    #[error("the link ends before its #; was it copied whole?")]
    NoFragment,
    /// The part behind `#` has no dot.
    #[error("behind the # a link has a server id, a dot and a room secret; the dot is missing. Was it copied whole?")]
    NoDot,
    /// The server's id does not decode.
    #[error("the server id between the # and the dot is wrong: {0}")]
    Server(ParseIdError),
    /// The room's secret does not decode.
    #[error("the room secret behind the dot is wrong: {0}")]
    Secret(ParseIdError),
    /// The host's id does not decode.
    #[error("the host id behind the room secret is wrong: {0}")]
    HostId(ParseIdError),
    /// The host's key does not decode.
    #[error("the host key at the end of the link is wrong: {0}")]
    HostKey(ParseIdError),
    /// The key is not that of the host the link names.
    #[error("the host key at the end of the link is not that of the host before it; was it put together by hand?")]
    OtherHost,
    /// More follows the host's key.
    #[error("the link goes on behind the host key; was something else copied with it?")]
    TooManyDots,
}

fn decode_room(path: &str) -> Result<String, LinkError> {
    let encoded = path.strip_prefix('/').unwrap_or(path);
    if encoded.contains('/') {
        return Err(LinkError::RoomPath);
    }
    let room =
        percent_decode_str(encoded).decode_utf8().map_err(|error| LinkError::RoomNotText(error.valid_up_to()))?;
    Ok(room.into_owned())
}

fn check_room(room: &str) -> Result<(), LinkError> {
    if matches!(room, "" | "." | "..") {
        return Err(LinkError::NoRoom);
    }
    if room.len() > MAX_ROOM_NAME_LEN {
        return Err(LinkError::RoomTooLong(room.len()));
    }
    match room.chars().find(|char| char.is_control()) {
        Some(control) => Err(LinkError::RoomControl(u32::from(control))),
        None => Ok(()),
    }
}

fn decode_fragment(fragment: &str) -> Result<(PeerId, RoomSecret, Rights), LinkError> {
    let mut parts = fragment.split('.');
    let (Some(server), Some(secret)) = (parts.next(), parts.next()) else { return Err(LinkError::NoDot) };
    let server = server.parse().map_err(LinkError::Server)?;
    let secret = RoomSecret::from_base32(secret).map_err(LinkError::Secret)?;
    let rights = decode_rights(parts.next(), parts.next())?;
    if parts.next().is_some() {
        return Err(LinkError::TooManyDots);
    }
    Ok((server, secret, rights))
}

fn decode_rights(id: Option<&str>, key: Option<&str>) -> Result<Rights, LinkError> {
    let Some(id) = id else { return Ok(Rights::Nobody) };
    let id: HostId = id.parse().map_err(LinkError::HostId)?;
    let Some(key) = key else { return Ok(Rights::Guest(id)) };
    let key = HostKey::from_base32(key).map_err(LinkError::HostKey)?;
    if key.id() == id { Ok(Rights::Host(key)) } else { Err(LinkError::OtherHost) }
}

const SCHEME: &str = "meipo";
const EXAMPLE: &str = "meipo://example.org:1935/room#SERVER_ID.ROOM_SECRET";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_link_is_written_as_people_see_it() {
        assert_eq!(link("our room").to_string(), format!("meipo://example.org:1935/our%20room#{ID}.{SECRET}"));
    }

    #[test]
    fn a_link_without_a_port_means_the_default_one() {
        assert_eq!(format!("meipo://example.org/tea#{ID}.{SECRET}").parse(), Ok(link("tea")));
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let text = format!("meipo://[2001:db8::1]:7000/tea#{ID}.{SECRET}");
        let link: Link = text.parse().unwrap();
        assert_eq!(link.host(), &Host::<String>::Ipv6("2001:db8::1".parse().unwrap()));
        assert_eq!(link.to_string(), text);
    }

    #[test]
    fn an_ipv4_address_is_no_name() {
        let link: Link = format!("meipo://192.0.2.7/tea#{ID}.{SECRET}").parse().unwrap();
        assert_eq!(link.host(), &Host::<String>::Ipv4("192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn a_room_in_any_script_may_be_pasted_encoded_or_not() {
        assert_eq!(format!("meipo://example.org/茶室#{ID}.{SECRET}").parse(), Ok(link("茶室")));
        assert_eq!(link("茶室").to_string().parse(), Ok(link("茶室")));
    }

    #[test]
    fn a_host_gives_guests_a_link_to_the_same_room_without_the_key() {
        let key = HostKey::from_bytes([7; 32]);
        let host = link("tea").with_host_key(key.clone());
        let guest: Link = host.to_string().parse().unwrap();
        assert_eq!((guest.host_id(), guest.host_key()), (Some(key.id()), None));
        assert_eq!((guest.claim(), guest.clone()), (host.claim(), host.clone().without_host_key()));
        assert_ne!(guest.claim().room_id(), link("tea").claim().room_id(), "a room with a host is another room");
        assert_eq!(host.to_host_text().parse(), Ok(host.clone()));
        for shown in [host.to_string(), format!("{host:?}")] {
            assert!(!shown.contains(&key.to_base32()), "{shown}");
        }
        assert_eq!(guest.to_host_text(), guest.to_string());
    }

    #[test]
    fn spaces_around_a_pasted_link_do_no_harm() {
        assert_eq!(format!("  {}\n", link("tea")).parse(), Ok(link("tea")));
    }

    #[test]
    fn each_mistake_is_named() {
        let tail = format!("#{ID}.{SECRET}");
        let long = "a".repeat(65);
        let cases = [
            ("tea".to_owned(), "no link"),
            (format!("https://example.org/tea{tail}"), "starts with meipo://, this one with https:"),
            (format!("meipo://me:pw@example.org/tea{tail}"), "no user name"),
            (format!("meipo:///tea{tail}"), "names no host"),
            (format!("meipo:tea{tail}"), "names no host"),
            (format!("meipo://example.org:0/tea{tail}"), "port 0"),
            (format!("meipo://example.org:99999/tea{tail}"), "invalid port"),
            (format!("meipo://example.org/tea?x=1{tail}"), "no ?"),
            (format!("meipo://example.org{tail}"), "names no room"),
            (format!("meipo://example.org/..{tail}"), "names no room"),
            (format!("meipo://example.org/{long}{tail}"), "65 bytes"),
            (format!("meipo://example.org/a%ffb{tail}"), "from byte 1 on"),
            (format!("meipo://example.org/a%0ab{tail}"), "U+000A"),
            (format!("meipo://example.org/a/b{tail}"), "%2F"),
            ("meipo://example.org/tea".to_owned(), "before its #"),
            (format!("meipo://example.org/tea#{ID}"), "dot is missing"),
            (format!("meipo://example.org/tea#abc.{SECRET}"), "server id between the # and the dot"),
            (format!("meipo://example.org/tea#{ID}.abc"), "room secret behind the dot"),
            (format!("meipo://example.org/tea{tail}.abc"), "host id behind the room secret"),
            (format!("meipo://example.org/tea{tail}."), "host id behind the room secret"),
            (format!("meipo://example.org/tea{tail}.{ID}.abc"), "host key at the end"),
            (format!("meipo://example.org/tea{tail}.{ID}.{ID}"), "not that of the host"),
            (format!("{}.", link("tea").with_host_key(HostKey::from_bytes([7; 32])).to_host_text()), "goes on behind"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Link>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn no_error_quotes_the_secret() {
        let secret = "notthesecretitself1";
        for parts in [format!("{ID}.{secret}"), format!("{ID}.{SECRET}.{ID}.{secret}")] {
            let error = format!("meipo://example.org/tea#{parts}").parse::<Link>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains(secret));
        }
    }

    #[test]
    fn debug_output_hides_the_secret() {
        assert!(!format!("{:?}", link("tea")).contains(SECRET));
    }

    proptest! {
        #[test]
        fn every_link_survives_its_text(
            host in any_host(),
            port in 1_u16..,
            room in "\\PC{1,16}",
            server: [u8; 32],
            secret: [u8; 16],
            key: [u8; 32],
        ) {
            prop_assume!(check_room(&room).is_ok());
            let link = Link::new(host, port, &room, PeerId::from_bytes(server), RoomSecret::from_bytes(secret)).unwrap();
            prop_assert_eq!(link.to_string().parse(), Ok(link.clone()));
            let hosted = link.with_host_key(HostKey::from_bytes(key));
            prop_assert_eq!(hosted.to_host_text().parse(), Ok(hosted));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(meipo://)?\\PC{0,80}") {
            let _ = text.parse::<Link>();
        }
    }

    fn any_host() -> impl Strategy<Value = Host> {
        prop_oneof![
            "[a-z][a-z0-9]{0,9}(\\.[a-z][a-z0-9]{1,9}){0,2}".prop_map(Host::Domain),
            any::<[u8; 4]>().prop_map(|octets| Host::Ipv4(octets.into())),
            any::<[u8; 16]>().prop_map(|octets| Host::Ipv6(octets.into())),
        ]
    }

    fn link(room: &str) -> Link {
        let server = ID.parse().unwrap();
        let secret = RoomSecret::from_base32(SECRET).unwrap();
        Link::new(Host::Domain("example.org".to_owned()), DEFAULT_PORT, room, server, secret).unwrap()
    }

    const ID: &str = "ueuwc2lbmfqwcylbmfqwcylbmfqwcylbmfqwcylbmfqwcylbmfqq";
    const SECRET: &str = "aebagbafaydqqcikbmga2dqpca";
}
