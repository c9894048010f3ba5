//! Every tunable constant of the library, with its unit and its reason.

use std::time::Duration;

use crate::units::Bitrate;

// ── Tracks ──────────────────────────────────────────────────────────────────────────────────────

/// Longest codec string in bytes: the longest in the WebCodecs registry, a full AV1 one, has 29.
pub const MAX_CODEC_LEN: usize = 64;

/// Longest codec description in bytes: an `avcC` with several parameter sets stays below 1 KiB.
pub const MAX_DESCRIPTION_LEN: usize = 4096;

/// Longest side of a picture in pixels: 8K, and what a decoder is told to expect at most.
pub const MAX_PICTURE_SIDE: u16 = 8192;

// ── Trust and links ─────────────────────────────────────────────────────────────────────────────

/// Port of a rendezvous, UDP and TCP, when a link names none: the port of RTMP and RTMFP, which firewalls may know.
pub const DEFAULT_PORT: u16 = 1935;

/// Longest name of a room in bytes: a line of text for people.
pub const MAX_ROOM_NAME_LEN: usize = 64;

/// Digits of a safety number: as many as one side of Signal's, 99 bits.
pub const SAFETY_NUMBER_DIGITS: usize = 30;

/// Digits between two spaces of a safety number: what one breath reads aloud.
pub const SAFETY_NUMBER_GROUP: usize = 5;

/// Rounds of hashing behind a safety number: some 15 ms here, and as much for every trial of a forger.
pub const SAFETY_NUMBER_ROUNDS: u32 = 1 << 16;

// ── STUN ────────────────────────────────────────────────────────────────────────────────────────

/// Bytes of every STUN request of ours: as many as the longest response (IPv6, RFC 5780, with a MAC) has.
pub const STUN_REQUEST_LEN: usize = 104;

// ── Relay ───────────────────────────────────────────────────────────────────────────────────────

/// Relay sessions at the same time: 1000 peers of whom each has eight relayed ways.
pub const RELAY_SESSIONS: usize = 4000;

/// What one relay session may carry, both directions together: two pictures at 1.5 Mbit/s, sound and parity.
pub const RELAY_SESSION_RATE: Bitrate = Bitrate::from_kilobits(4_000);

/// What all relay sessions together may carry: half of a gigabit line.
pub const RELAY_TOTAL_RATE: Bitrate = Bitrate::from_kilobits(500_000);

/// How long a session may run above its rate: two key frames.
pub const RELAY_BURST: Duration = Duration::from_millis(250);

/// How long a relay session lives without a packet: four of the peers' 15 s keep-alives.
pub const RELAY_IDLE: Duration = Duration::from_secs(60);

/// How long, at the least, the cookie of a challenge serves: several retransmissions over the slowest line.
pub const RELAY_COOKIE_LIFE: Duration = Duration::from_secs(16);

/// Bytes the kernel may hold for a relay in each direction: 30 ms at a gigabit a second.
pub const RELAY_SOCKET_BUFFER: usize = 4 << 20;

/// Bytes of a batch of datagrams: the most that one UDP message of the kernel holds.
pub const UDP_BATCH_LEN: usize = 65_535;

// ── Identity and TLS ────────────────────────────────────────────────────────────────────────────

/// What both sides of a QUIC connection must speak; the number changes with the wire format.
pub const ALPN: &[u8] = b"meipo/1";

/// What both sides of a tunnel speak: to whoever looks at the handshake it is a web server.
pub const TUNNEL_ALPN: &[u8] = b"http/1.1";

/// Longest certificate in bytes that is even looked at: ours have about 195.
pub const MAX_CERTIFICATE_LEN: usize = 1024;

/// Longest file with a key in bytes that is even looked at: ours have about 120.
pub const MAX_SECRET_FILE_LEN: u64 = 16 * 1024;

// ── Tunnel ──────────────────────────────────────────────────────────────────────────────────────

/// Where on the web server the tunnel is.
pub const TUNNEL_PATH: &str = "/meipo";

/// Longest datagram in a tunnel in bytes: none of ours is longer on Ethernet either.
pub const TUNNEL_DATAGRAM_LEN: usize = 1500;

/// How long a datagram may wait for the tunnel: older sound is not worth playing (ITU-T G.114).
pub const TUNNEL_QUEUE: Duration = Duration::from_millis(150);

/// Bytes that may wait for one tunnel: [`TUNNEL_QUEUE`] at 14 Mbit/s, and a bound on memory.
pub const TUNNEL_QUEUE_LEN: usize = 256 * 1024;

/// Bytes the kernel may hold that are not yet sent: what lies there cannot be dropped any more.
pub const TUNNEL_UNSENT: u32 = 16 * 1024;

/// Bytes of buffer for each direction of a tunnel: ten datagrams; thousands of tunnels must fit into memory.
pub const TUNNEL_BUFFER_LEN: usize = 16 * 1024;

/// How long a tunnel may take from the first TCP packet until it carries datagrams.
pub const TUNNEL_HANDSHAKE: Duration = Duration::from_secs(5);

/// How long a tunnel lives without a datagram from the other side: twice the idle time of the QUIC inside.
pub const TUNNEL_IDLE: Duration = Duration::from_secs(60);

/// Tunnels at the same time: one for each peer of a full rendezvous.
pub const TUNNELS: usize = 1000;

/// Tunnels from one IPv4 address or one IPv6 /56: an office behind one NAT.
pub const TUNNELS_PER_ADDRESS: usize = 8;

/// Received datagrams of all tunnels that may wait for the driver.
pub const TUNNEL_BACKLOG: usize = 256;

/// Longest HTTP request head in bytes: browsers with many cookies stay below.
pub const HTTP_HEAD_LEN: usize = 4096;

// ── Limits of a rendezvous ──────────────────────────────────────────────────────────────────────
// Defaults; an operator may change each of them.

/// Peers at the same time.
pub const PEERS: usize = 1000;

/// Peers from one IPv4 address or one IPv6 /56: a family or a small office behind one NAT.
pub const PEERS_PER_ADDRESS: usize = 8;

/// Peers in one room: with more, forwarding by peers has to come first.
pub const PEERS_PER_ROOM: usize = 32;

/// Rooms at the same time: half as many as peers, since nobody talks alone.
pub const ROOMS: usize = 500;

/// Longest name of a peer in bytes: a line of text for people.
pub const NAME_LEN: usize = 64;

/// Longest control message in bytes: eight tracks with their descriptions.
pub const CONTROL_MESSAGE_LEN: usize = 16 * 1024;

/// Control messages a second from one peer, on average: a person who types, and the machine's own.
pub const MESSAGES_PER_SECOND: u64 = 5;

/// Control messages at once from one peer: everything there is to say after joining.
pub const MESSAGE_BURST: u64 = 20;

/// Handshakes a minute from one IPv4 address or one IPv6 /56: each costs the server 1 ms of CPU.
pub const HANDSHAKES_PER_MINUTE: u64 = 30;

/// Handshakes at the same time before newcomers have to prove their address first (QUIC Retry).
pub const HANDSHAKES_UNPROVEN: usize = 64;

/// Handshakes at the same time before newcomers are ignored.
pub const HANDSHAKES: usize = 1024;

/// Bytes that may wait for one peer, the oldest dropped first.
pub const QUEUE_LEN: usize = 64 * 1024;

/// How long they may wait.
pub const QUEUE: Duration = Duration::from_millis(100);

/// How long a peer may take from the handshake to its first message.
pub const HELLO: Duration = Duration::from_secs(5);

/// How long a peer lives without a packet from it.
pub const IDLE: Duration = Duration::from_secs(30);
