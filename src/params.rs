//! Every tunable constant of the library, with its unit and its reason.

use std::time::Duration;

use crate::units::Bitrate;

// ── Tracks ─────────────────────────────────────────────────────────────────────────────────────────

/// Longest codec string in bytes: the longest in the WebCodecs registry, a full AV1 one, has 29.
pub const MAX_CODEC_LEN: usize = 64;

/// Longest codec description in bytes: an `avcC` with several parameter sets stays below 1 KiB.
pub const MAX_DESCRIPTION_LEN: usize = 4096;

/// Longest side of a picture in pixels: 8K, and what a decoder is told to expect at most.
pub const MAX_PICTURE_SIDE: u16 = 8192;

/// Tracks one peer may have: camera, microphone, screen and its sound, each in two sizes, twice over.
pub const MAX_TRACKS: usize = 16;

// ── Control messages ───────────────────────────────────────────────────────────────────────────────

/// What both sides of a QUIC connection must speak; the number changes with the wire format.
pub const ALPN: &[u8] = b"meipo/2";

/// Longest control message in bytes. An introduction with every list full has about 1 KiB.
pub const MAX_MESSAGE_LEN: usize = 16 * 1024;

/// Most that programs say to each other at once, in bytes: a control message with room for its frame.
pub const MAX_SAID_LEN: usize = 12 * 1024;

/// Longest name in bytes: room for 21 Chinese characters.
pub const MAX_NAME_LEN: usize = 64;

/// Most addresses one peer may be said to have: each is probed, so each is work a stranger makes us do.
pub const MAX_CANDIDATES: usize = 8;

/// Most relays offered for one pair of peers.
pub const MAX_RELAYS: usize = 4;

/// People a host may put out of one room: with as many more, a lock is the better way, and rules stay below 4 KiB.
pub const MAX_REMOVED: usize = 64;

/// People who may be in a locked room: all that a host deals with, and the host.
pub const MAX_ADMITTED: usize = MAX_ROOM_MEMBERS + 1;

/// Bytes of control messages that may wait for a peer that does not read them: it is cut off then.
pub const MAX_CONTROL_BACKLOG: usize = 256 * 1024;

// ── Frames and packets ─────────────────────────────────────────────────────────────────────────────

/// Bytes of a frame in one packet: with the packet's 24, the AEAD's and QUIC's about 45 and the relay's 8 bytes it fits in
/// 1200, the least every QUIC path carries (RFC 9000 §14), so a change to a narrower path loses nothing.
pub const PACKET_PAYLOAD: usize = 1100;

/// Bytes of sounds that go in one datagram: as many as a packet of a picture has.
pub const BUNDLE_LEN: usize = PACKET_PAYLOAD;

/// Largest frame in bytes: a 1080p key frame at the best quality a call would use.
pub const MAX_FRAME_LEN: usize = 512 * 1024;

/// Most packets of one frame. With [`MAX_FRAME_LEN`] it bounds what a fragment bomb can take.
pub const MAX_FRAME_PACKETS: usize = 512;

/// Frames of one peer that may be incomplete at a time.
pub const MAX_PARTIAL_FRAMES: usize = 8;

/// How long a partial frame waits for its missing packets: beyond any deadline of a call, within a recorder's patience.
pub const PARTIAL_FRAME_AGE: Duration = Duration::from_millis(500);

/// Frames of one track remembered as done, so that late copies are known: 2.5 s of sound.
pub const REMEMBERED_FRAMES: usize = 128;

/// Media packets in one datagram: a sound and three copies of earlier ones.
pub const MAX_BUNDLE: usize = 4;

// ── Playout ────────────────────────────────────────────────────────────────────────────────────────

/// Whole frames of one track that may wait for their time: 5 s of sound.
pub const MAX_WAITING_FRAMES: usize = 256;

/// Delay of the jitter buffer on an even way: one sound, so that a copy in the next one still comes in time.
pub const PLAYOUT_LEAST: Duration = Duration::from_millis(20);

/// Delay of the jitter buffer never exceeded: beyond it nobody calls it a conversation (ITU-T G.114).
pub const PLAYOUT_MOST: Duration = Duration::from_millis(500);

/// Delay up to which late pictures slow the sound down: a picture's repetition at a usual round trip.
pub const PLAYOUT_PICTURE_MOST: Duration = Duration::from_millis(250);

/// How much earlier than the sound captured with it a picture may be shown: half of what lips and voice may be apart, and far
/// below what people notice where the sound is late (125 ms, ITU-R BT.1359-1).
pub const PLAYOUT_PICTURE_LEAD: Duration = Duration::from_millis(20);

/// How late a picture may be: what is captured, coded and sent in bursts is never quite even, and less than a display's tick of
/// 16 ms is not worth that all others wait as long as the latest.
pub const PLAYOUT_PICTURE_SLACK: Duration = Duration::from_millis(10);

/// Frames of which span say what the way asks for.
pub const PLAYOUT_MEMORY: Duration = Duration::from_secs(7);

/// Percent of these frames the delay does not shrink below.
pub const PLAYOUT_COVERED: usize = 99;

/// How much the delay shrinks in a second when it is nearly what the way asks for: unheard by any ear.
pub const PLAYOUT_SHRINK: Duration = Duration::from_millis(5);

/// The delay shrinks in a second also by one in so many parts of its excess: back within ten seconds from any spike.
pub const PLAYOUT_SHRINK_SHARE: i64 = 4;

/// How often the delay is reviewed.
pub const PLAYOUT_REVIEW: Duration = Duration::from_millis(100);

/// How long after the first frame late pictures are taken for what was sent to catch up.
pub const PLAYOUT_SETTLE: Duration = Duration::from_millis(2000);

/// How long a missing picture is awaited beyond its time when those after it are of no use without it: a repetition takes
/// less than a new key frame, though it may be lost itself once or twice.
pub const PLAYOUT_GRACE: Duration = Duration::from_millis(300);

/// How long it is awaited before a key frame is asked for, too: half of [`PLAYOUT_GRACE`].
pub const KEY_ASKED_AFTER: Duration = Duration::from_millis(150);

/// How long all frames must be later than [`PLAYOUT_REBASE`] before time is counted anew while they flow.
pub const PLAYOUT_REBASE_AFTER: Duration = Duration::from_millis(300);

/// A frame that is due for longer is not played any more: what piled up while we slept.
pub const PLAYOUT_STALE: Duration = Duration::from_millis(500);

/// A frame later than this means that the sender's clock stood still or jumped: time is counted anew from it.
pub const PLAYOUT_REBASE: Duration = Duration::from_secs(1);

/// How long a recorder awaits a missing frame.
pub const RECORDING_PATIENCE: Duration = Duration::from_millis(600);

/// A picture this many times later than usual is a freeze, if it is also later by [`FREEZE_MARGIN`]
/// (`freezeCount` of the WebRTC statistics).
pub const FREEZE_FACTOR: u32 = 3;

/// See [`FREEZE_FACTOR`].
pub const FREEZE_MARGIN: Duration = Duration::from_millis(150);

/// How many pictures say what is usual (libwebrtc's `VideoQualityObserver`).
pub const FREEZE_MEMORY: usize = 30;

/// Before so many distances are known nothing is called a freeze (the same).
pub const FREEZE_LEAST_GAPS: usize = 5;

// ── Trust and links ────────────────────────────────────────────────────────────────────────────────

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

/// Longest certificate in bytes that is even looked at: ours have about 195.
pub const MAX_CERTIFICATE_LEN: usize = 1024;

/// Longest file with a key in bytes that is even looked at: ours have about 120.
pub const MAX_SECRET_FILE_LEN: u64 = 16 * 1024;

// ── STUN ───────────────────────────────────────────────────────────────────────────────────────────

/// Bytes of every STUN request of ours: as many as the longest response (IPv6, RFC 5780, with a MAC) has.
pub const STUN_REQUEST_LEN: usize = 104;

/// Questions about our address to servers that do not answer.
pub const DISCOVERY_ATTEMPTS: u32 = 4;

/// Time between two such questions.
pub const DISCOVERY_INTERVAL: Duration = Duration::from_millis(300);

/// Distance of consecutive ports up to which a NAT is taken to count: others' connections use up some.
pub const MAX_SEQUENTIAL_STEP: u8 = 8;

// ── Relay ──────────────────────────────────────────────────────────────────────────────────────────

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

/// How long a relay token lets its bearer bind an address: as long as the longest call.
pub const RELAY_TOKEN_LIFE_S: u64 = 24 * 3600;

/// Requests to a relay that does not answer.
pub const BIND_ATTEMPTS: u32 = 8;

/// Time between two such requests.
pub const BIND_INTERVAL: Duration = Duration::from_millis(250);

// ── Paths ──────────────────────────────────────────────────────────────────────────────────────────

/// Gaps between the probes of one candidate after there is reason to hope: five in all (a stranger names the address),
/// spread so that both sides' probes overlap even if one heard of the other half a second later.
pub const PROBE_BURST: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(60),
    Duration::from_millis(140),
    Duration::from_millis(300),
    Duration::from_millis(700),
];

/// Probes of one agent at once to addresses that have proven nothing: five for each of eight candidates, and as many again
/// when the network under either side changes. A stranger named those addresses.
pub const PROBES_UNPROVEN: u64 = 80;

/// How many more such probes a second may follow: what a peer that keeps naming addresses can make each other send.
pub const PROBES_UNPROVEN_PER_SECOND: u64 = 2;

/// How long a probe waits that would be one too many.
pub const PROBE_POSTPONED: Duration = Duration::from_millis(500);

/// How often a proven but idle path is probed: half of the 30 s after which careless NATs forget it (RFC 4787 REQ-5 asks
/// for two minutes).
pub const PROBE_IDLE: Duration = Duration::from_secs(15);

/// How long an answer to a probe is awaited.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Probes of one agent that may await an answer at a time.
pub const MAX_PROBES_IN_FLIGHT: usize = 128;

/// Ways to one peer that are remembered: 8 candidates, 4 relays, and what probes from elsewhere reveal.
pub const MAX_PATHS: usize = 24;

/// Questions this close together are remembered as one.
pub const UNANSWERED_GRAIN: Duration = Duration::from_millis(10);

/// Questions without an answer that are remembered: longer than [`DEAD_AFTER`] at that grain.
pub const MAX_UNANSWERED: usize = 128;

/// Silence after which the path in use is suspected: QUIC acknowledges within 25 ms and a round trip.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(250);

/// How often a suspected path is probed.
pub const PROBE_SUSPECT: Duration = Duration::from_millis(100);

/// Silence after which the path in use is given up: four probes unanswered, and still within a second of the last sound.
pub const DEAD_AFTER: Duration = Duration::from_millis(600);

/// Round-trip time assumed of a relay path before its first probe is answered.
pub const RELAY_RTT_GUESS: Duration = Duration::from_millis(300);

/// How long ordinary probes have before guessing begins.
pub const PUNCH_AFTER: Duration = Duration::from_secs(2);

/// Time between two guesses: 125 a second are 130 kbit/s, for eight seconds.
pub const PUNCH_INTERVAL: Duration = Duration::from_millis(8);

/// Ports tried after the last known one of a sequential NAT: the other side's own probes use up some.
pub const PREDICTED_PORTS: usize = 16;

/// Sockets opened behind a symmetric NAT: with [`BIRTHDAY_PORTS`] a hit in 98 of 100 trials.
pub const BIRTHDAY_SOCKETS: u16 = 256;

/// Ports tried at a symmetric NAT.
pub const BIRTHDAY_PORTS: usize = 1024;

/// How often the addresses of our interfaces are looked at.
pub const ADDRESS_INTERVAL: Duration = Duration::from_secs(2);

/// How long further sockets stay open for the other side's guesses: its patience, its 1024 guesses, and a round trip.
pub const PUNCH_LISTEN: Duration = Duration::from_secs(14);

/// Time between two lotteries against one peer: one costs the other side's network a thousand packets.
pub const PUNCH_REST: Duration = Duration::from_secs(60);

/// How often a way that worked once, or an address at which the rendezvous sees the peer, is asked again while there is no
/// direct path: sooner than any NAT forgets that we asked, so that both sides' probes still meet.
pub const PROBE_AGAIN: Duration = Duration::from_secs(10);

// ── The way to the rendezvous ──────────────────────────────────────────────────────────────────────

/// Waiting times before the rendezvous is tried again; the last one is repeated.
pub const RENDEZVOUS_RETRY: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

/// Silence of the rendezvous after which it is asked, each second, whether it is still there.
pub const RENDEZVOUS_QUIET: Duration = Duration::from_secs(4);

/// How often a silent rendezvous is asked.
pub const RENDEZVOUS_ASK: Duration = Duration::from_millis(500);

/// Silence after which the rendezvous is asked by STUN whether UDP passes, and how often.
pub const UPLINK_ASK: Duration = Duration::from_millis(400);

/// Silence after which a tunnel is opened: three questions unanswered.
pub const TUNNEL_AFTER: Duration = Duration::from_millis(1300);

/// Time between two attempts to open a tunnel.
pub const TUNNEL_RETRY: Duration = Duration::from_secs(3);

/// How often UDP is asked again while the tunnel is in use.
pub const UDP_RETRY: Duration = Duration::from_secs(10);

// ── Tunnel ─────────────────────────────────────────────────────────────────────────────────────────

/// What both sides of a tunnel speak: to whoever looks at the handshake it is a web server.
pub const TUNNEL_ALPN: &[u8] = b"http/1.1";

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

/// Received datagrams of all tunnels that may wait for the driver.
pub const TUNNEL_BACKLOG: usize = 256;

/// Longest HTTP request head in bytes: browsers with many cookies stay below.
pub const HTTP_HEAD_LEN: usize = 4096;

// ── QUIC ───────────────────────────────────────────────────────────────────────────────────────────

/// Silence after which a connection is dead: what an address change, a lift or a tunnel on a train takes.
pub const QUIC_IDLE: Duration = Duration::from_secs(30);

/// How often an idle connection speaks.
pub const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Round-trip time assumed of a new connection: lost first packets are repeated after about twice of it.
pub const QUIC_INITIAL_RTT: Duration = Duration::from_millis(150);

/// Largest UDP payload on any path: Ethernet's 1500 less IPv6 and UDP, less the relay's header.
pub const MAX_UDP_PAYLOAD: u16 = 1452 - 8;

/// Packets by which others may overtake one before it counts as lost: a change of path reorders more than QUIC's 3 allow.
pub const PACKET_THRESHOLD: u32 = 10;

/// Packets of a peer that may go without an acknowledgement (draft-ietf-quic-ack-frequency): our own reports tell what
/// arrives, and at one for every other packet acknowledgements of nine megabits fill a way back of 200 kbit/s.
pub const ACK_THRESHOLD: u32 = 60;

/// How long an acknowledgement may wait: as long as the longest of our reports; the library allows a round trip at most.
pub const ACK_DELAY: Duration = Duration::from_millis(100);

/// Datagrams handed to QUIC at a time: enough for one call to the kernel, little enough that what waits inside QUIC, behind
/// the queue with its deadlines, is no queue of its own.
pub const QUIC_DATAGRAM_BATCH: usize = 4;

/// Bytes of datagrams QUIC may hold: a batch, with room to spare.
pub const QUIC_DATAGRAM_BUFFER: usize = 16 * 1024;

/// Bytes of one control stream that may be on their way.
pub const CONTROL_STREAM_WINDOW: u32 = 64 * 1024;

/// Handshakes at the same time between peers: twice the members of a room, as each may begin anew.
pub const PEER_HANDSHAKES: usize = 2 * MAX_ROOM_MEMBERS;

// ── Sending ────────────────────────────────────────────────────────────────────────────────────────

/// Frames of one class that may wait for one peer: five seconds of sound, as long as any deadline.
pub const MAX_QUEUED_FRAMES: usize = 256;

/// How long sound is worth sending: a recorder can still use what a listener cannot.
pub const SOUND_DEADLINE: Duration = Duration::from_millis(400);

/// How long pictures have waited that a key frame takes the place of: six of thirty a second.
pub const SUPERSEDED_AFTER: Duration = Duration::from_millis(200);

/// How long a picture is worth sending: as long as a key frame takes through a slow start at a satellite's round trip.
pub const PICTURE_DEADLINE: Duration = Duration::from_millis(1000);

/// Bytes in flight a new connection starts with: a key frame of 640×480.
pub const WINDOW_INITIAL: u64 = 64 * 1024;

/// Bytes in flight always allowed: a small key frame. At 300 kbit/s it is half a second of queue, no more.
pub const WINDOW_FLOOR: u64 = 16 * 1024;

/// Bytes in flight never exceeded: 16 Mbit/s at half a second.
pub const WINDOW_MAX: u64 = 1024 * 1024;

/// Queueing delay below which the window grows.
pub const QUEUE_DELAY_SHORT: Duration = Duration::from_millis(30);

/// Queueing delay above which it shrinks: half of what a conversation can bear (ITU-T G.114 asks for 150 ms in all).
pub const QUEUE_DELAY_LONG: Duration = Duration::from_millis(80);

/// Percent of bytes lost that is weather, not congestion.
pub const LOSS_TOLERATED: u64 = 10;

/// Extra bytes in flight after a change of path, for what waited while the old one was dead.
pub const SWITCH_BOOST: u64 = 64 * 1024;

/// How long the extra bytes are allowed.
pub const SWITCH_BOOST_TIME: Duration = Duration::from_millis(500);

/// How often a sender answers such requests, however many receivers ask.
pub const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(500);

/// Bytes of frames since the last key frame kept for late joiners: 5 s at 1.6 Mbit/s. Beyond it, who watches a file waits for
/// its next key frame.
pub const CACHE_MAX_BYTES: usize = 1024 * 1024;

/// The pace is this much of the estimate, as numerator and denominator: what waits must catch up.
pub const PACE_FACTOR: (u64, u64) = (3, 2);

/// The same below [`NARROW`]: what catches up there is soon a queue before the sound.
pub const PACE_FACTOR_NARROW: (u64, u64) = (11, 10);

/// Bytes that may go at once on a free way: a picture of a 2 Mbit/s stream.
pub const PACE_BURST: usize = 14 * 1024;

/// Time the way may take for what goes at once: a burst is a queue, and the sound behind it waits.
pub const PACE_BURST_SPAN: Duration = Duration::from_millis(60);

/// Bytes that may go at once when packets wait on the way: two packets.
pub const PACE_BURST_FULL: usize = 2 * 1200;

/// How much one packet changes what share of the packets is taken to be sound.
pub const SOUND_SHARE_PACE: f64 = 0.01;

/// How often one receiver that is too slow may cost all others a key frame.
pub const KEY_FRAME_AFTER_DROP: Duration = Duration::from_secs(2);

// ── Bulk ───────────────────────────────────────────────────────────────────────────────────────────

/// Bytes of bulk to one peer that may wait or be on their way: 20 Mbit/s at 400 ms, and no more than a receiver's program
/// may leave untaken (see [`MAX_UNTAKEN`]).
pub const BULK_WINDOW: usize = 1024 * 1024;

/// Rate of bulk beside the fullest of media: enough to see when the way is free again.
pub const BULK_LEAST: Bitrate = Bitrate::from_kilobits(16);

/// Part of the estimate that bulk and media take together: a queue shows later.
pub const BULK_SHARE: f64 = 0.9;

/// How much faster bulk goes after a second without a queue.
pub const BULK_GROWTH: f64 = 4.0;

/// The same near the rate at which a queue was last seen.
pub const BULK_GROWTH_NEAR: f64 = 1.04;

/// How long that rate is remembered: the way may carry more by then.
pub const BULK_MEMORY: Duration = Duration::from_secs(20);

/// Time since a cut after which a queue says something of the present rate: several round trips.
pub const BULK_TOLD: Duration = Duration::from_secs(1);

/// How long bulk may go at once: what the clock of a busy machine misses.
pub const BULK_BURST: Duration = Duration::from_millis(5);

/// Span of the average that says how much media takes: a few pictures of each layer, so that a key frame is noticed.
pub const BULK_SPAN: Duration = Duration::from_millis(500);

/// Transfers of one peer that may be on their way to us at a time.
pub const MAX_TRANSFERS: usize = 16;

// ── A node ─────────────────────────────────────────────────────────────────────────────────────────

/// Members of one room a peer deals with: what a full mesh, where everybody sends to everybody, can bear and more.
pub const MAX_ROOM_MEMBERS: usize = 32;

/// How long an attempt to reach the rendezvous, or a peer, may go without an answer. An attempt begun while the other side is
/// down would otherwise wait longer and longer between its packets.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(2000);

/// How long it may take in all, the first message of the other side included: on a way that loses much QUIC takes its round
/// trip for so long, and waits twice as long each time, that another attempt is sooner done.
pub const CONNECT_MOST: Duration = Duration::from_millis(4000);

/// How long somebody whom the host has put out may take to go by themselves: long enough to learn why.
pub const PUT_OUT_TIME: Duration = Duration::from_secs(1);

/// Waiting time before a lost peer that is still in the room is connected to again.
pub const PEER_RETRY: Duration = Duration::from_millis(500);

/// How often a receiver asks for a key frame while it lacks one.
pub const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(300);

/// Least span over which rates and loss of a peer are stated: half of what programs ask in, whose clocks tick unevenly.
pub const STATS_LEAST: Duration = Duration::from_millis(500);

/// Span over which servers state their rates.
pub const STATS_INTERVAL: Duration = Duration::from_secs(1);

/// Frames and chunks that may wait for the program that takes them; later ones are dropped until it does.
pub const MAX_UNTAKEN: usize = 1024;

/// How long leaving may take: until what was published is on its way, at most.
pub const LEAVE_TIMEOUT: Duration = Duration::from_millis(1000);

// ── Limits of a rendezvous ─────────────────────────────────────────────────────────────────────────
// An operator may change those that `limits` names.

/// Peers at the same time.
pub const PEERS: usize = 1000;

/// Peers from one IPv4 address or one IPv6 /56: a family or a small office behind one NAT.
pub const PEERS_PER_ADDRESS: usize = 8;

/// Peers in one room: with more, forwarding by peers has to come first.
pub const PEERS_PER_ROOM: usize = 32;

/// Rooms at the same time: half as many as peers, since nobody talks alone.
pub const ROOMS: usize = 500;

/// Rooms that are empty but whose rules are kept, the newest: they take 4 MB at most.
pub const KEPT_RULES: usize = 1000;

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

/// Addresses whose handshakes are counted at a time.
pub const MAX_ADDRESS_BUCKETS: usize = 65_536;

/// How long a peer may take from the handshake to its first message.
pub const HELLO: Duration = Duration::from_secs(5);

/// How long a peer lives without a packet from it.
pub const IDLE: Duration = Duration::from_secs(30);

/// Tunnels at the same time: one for each peer of a full rendezvous.
pub const TUNNELS: usize = 1000;

/// Tunnels from one IPv4 address or one IPv6 /56: an office behind one NAT.
pub const TUNNELS_PER_ADDRESS: usize = 8;

/// How long a rendezvous that was told to stop goes on relaying, so that peers can look for another way.
pub const DRAIN_TIME: Duration = Duration::from_millis(1500);

// ── Sockets ────────────────────────────────────────────────────────────────────────────────────────

/// Bytes asked of the system for what has arrived and is not read yet, and for what is not sent yet.
pub const SOCKET_BUFFER: usize = 2 * 1024 * 1024;

/// Batches taken with one call to the kernel: each can hold 64 KiB of coalesced datagrams.
pub const UDP_BATCH: usize = 8;

// ── The doctor ─────────────────────────────────────────────────────────────────────────────────────

/// Questions of the doctor to a server that does not answer.
pub const DOCTOR_ATTEMPTS: u32 = 4;

/// How long the doctor awaits one answer: a satellite's round trip.
pub const DOCTOR_PATIENCE: Duration = Duration::from_millis(700);

/// How long the doctor waits for the router.
pub const DOCTOR_ROUTER: Duration = Duration::from_secs(4);

// ── Reports ────────────────────────────────────────────────────────────────────────────────────────

/// Reports after which a packet is no longer reported: a burst of losses on the way back takes two or three of them.
pub const FEEDBACK_REACH: usize = 5;

/// Packets one report can be about: two seconds of a 2 Mbit/s picture.
pub const MAX_FEEDBACK_COUNT: usize = 512;

/// Least time between two reports.
pub const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);

/// Longest time a report is put off because it would cost too much: how late a queue may be noticed where only sound flows.
pub const FEEDBACK_INTERVAL_MAX: Duration = Duration::from_millis(500);

/// Bytes a report costs besides its list: its own header. QUIC's packet around it carries acknowledgements, too.
pub const FEEDBACK_COST: usize = 10;

/// A report is at most one in so many bytes of media.
pub const FEEDBACK_SHARE: usize = 50;

/// Packets remembered until their fate is known: two seconds at 8 Mbit/s.
pub const MAX_HISTORY: usize = 2048;

/// How long a packet is remembered.
pub const HISTORY_AGE: Duration = Duration::from_secs(4);

/// Packets by which one may be overtaken before it is taken for lost.
pub const REORDERING: u64 = 2;

/// Where packets that were taken for lost arrived after all, a packet may be overtaken by ones sent this much later still.
pub const REORDERING_MOST: Duration = Duration::from_millis(100);

/// That time is this much longer than what was seen, which is only how far a report had come.
pub const REORDERING_MARGIN: f64 = 1.25;

/// What remains of that time with each report: half of it after seven seconds.
pub const REORDERING_KEPT: f64 = 0.995;

// ── Estimate ───────────────────────────────────────────────────────────────────────────────────────

/// Rate of a path nothing is known of: sound and a small picture.
pub const ESTIMATE_START: Bitrate = Bitrate::from_kilobits(400);

/// Rate below which nobody goes: sound at 16 kbit/s with its headers.
pub const ESTIMATE_FLOOR: Bitrate = Bitrate::from_kilobits(40);

/// Rate above which nobody goes.
pub const ESTIMATE_MAX: Bitrate = Bitrate::from_kilobits(50_000);

/// Span over which a rate is measured: six pictures.
pub const RATE_SPAN: Duration = Duration::from_millis(200);

/// Span of which the least one-way time counts as an empty way: longer than a queue that stands because several fill it. At
/// 200 ppm clocks part by 12 ms in it.
pub const BASE_DELAY_SPAN: Duration = Duration::from_secs(60);

/// A queue that stands for so long without moving, though less and less is sent, is none: the way has become longer. At twice
/// a satellite's round trip a real one has drained by half.
pub const BASE_DELAY_DOUBT: Duration = Duration::from_millis(1500);

/// Span of which the least excess counts as the queue.
pub const QUEUE_SAMPLE: Duration = Duration::from_millis(100);

/// Time without any packet after which those that come then were held up together, whether the way is full or not.
pub const FLOW_GAP: Duration = Duration::from_millis(200);

/// Rest between two cuts: what follows on the first is told of only then.
pub const CUT_REST: Duration = Duration::from_millis(200);

/// Queue up to which the way counts as free.
pub const QUEUE_QUIET: Duration = Duration::from_millis(20);

/// Queue from which the way counts as full.
pub const QUEUE_GROWN: Duration = Duration::from_millis(45);

/// Queue from which it must be drained, not only no longer fed.
pub const QUEUE_DRAIN: Duration = Duration::from_millis(100);

/// Which part of what arrives is sent on where a queue is only no longer to be fed.
pub const CUT_SHARE: f64 = 0.85;

/// Which part of it where a queue is to be drained: one of 100 ms is gone after 250 ms.
pub const CUT_SHARE_DRAIN: f64 = 0.6;

/// Which part of it is sent while losses are tried for what sending less makes of them.
pub const CUT_SHARE_TRIAL: f64 = 0.5;

/// A way that carries less than this part of what is sent, and has a queue to drain, is cut without any rest: it drops sound.
pub const COLLAPSE_SHARE: f64 = 0.5;

/// Below this rate a way is narrow: a single packet takes as long on it as a whole queue may elsewhere.
pub const NARROW: Bitrate = Bitrate::from_kilobits(400);

/// Growth in a second on a new way, on which no limit was met yet: doubling in a tenth of it.
pub const GROWTH_NEW: f64 = 1000.0;

/// Growth in a second while the capacity is unknown: doubling.
pub const GROWTH_FAST: f64 = 2.0;

/// The same below half of [`NARROW`].
pub const GROWTH_NARROW: f64 = 1.35;

/// How long before and after a queue was seen losses are laid to it: it was there before a report could tell.
pub const FULL_MEMORY: Duration = Duration::from_millis(500);

/// Growth in a second where a limit was found lately, on a way below half of [`NARROW`].
pub const GROWTH_SLOW: f64 = 1.15;

/// On a wider way the growth in a second is, where a limit was found, the square root of its product with the rate: 55 kbit/s
/// at 500, 155 at 4000. A way that others fill, too, is equally shared then within half a minute.
pub const GROWTH_SHARED: Bitrate = Bitrate::from_kilobits(6);

/// How long the capacity that was found last is believed.
pub const CAPACITY_MEMORY: Duration = Duration::from_secs(4);

/// From which part of that capacity on growth is slow.
pub const CAPACITY_NEAR: f64 = 0.85;

/// Up to how many times that capacity it is: beyond it, what was found was another's share.
pub const CAPACITY_REACH: f64 = 1.15;

/// Who sends less than this part of what it may hardly causes the queues it sees.
pub const IDLE_SHARE: f64 = 0.6;

/// Growth in a second at least, in bits a second: on a narrow way a share is next to nothing.
pub const GROWTH_STEP: Bitrate = Bitrate::from_kilobits(25);

/// What a way that met its limits once may be thought to carry though nobody sends so much: enough for paused pictures to
/// return.
pub const GROWTH_UNTESTED: Bitrate = Bitrate::from_kilobits(130);

/// How many times what is sent a way may be thought to carry: what is not sent cannot be seen to arrive.
pub const GROWTH_TESTED: f64 = 1.5;

/// The same of a new way, on which the next trial is twice the last.
pub const GROWTH_TESTED_NEW: f64 = 2.0;

/// Growth from one report to the next at most: a slow start's.
pub const GROWTH_AT_ONCE: f64 = 2.0;

/// Time without any report, though something was sent, after which the rate is halved.
pub const FEEDBACK_TIMEOUT: Duration = Duration::from_millis(1000);

/// What one track of sound takes of a rate, headers included.
pub const SOUND_RATE: Bitrate = Bitrate::from_kilobits(48);

// ── Loss: weather or congestion ────────────────────────────────────────────────────────────────────

/// Share of packets lost that is weather only where a trial has shown it: no more is sent than what arrives otherwise.
pub const LOSS_COLLAPSE: f64 = 0.5;

/// Share of packets lost beyond the weather that is taken for congestion.
pub const LOSS_ALARM: f64 = 0.08;

/// How much one packet changes what share is taken to be lost: some 500 are remembered.
pub const LOSS_WEIGHT: f64 = 0.002;

/// How many times the weather's loss, besides [`LOSS_ALARM`], is taken for congestion.
pub const LOSS_WORSE: f64 = 2.0;

/// Loss that falls to this part of it when less is sent came from sending too much.
pub const LOSS_RELIEF: f64 = 0.6;

/// How much less than the weather's loss may be chance.
pub const LOSS_CHANCE: f64 = 0.02;

/// Which part of what lies beyond that is taken off the weather with each report: losses come in bursts.
pub const LOSS_CLEARING: f64 = 0.01;

/// How long much less is sent to see whether loss comes from sending too much.
pub const LOSS_TRIAL: Duration = Duration::from_millis(1200);

/// What was sent before this much of it has passed does not count: a queue must drain first.
pub const LOSS_TRIAL_SETTLE: Duration = Duration::from_millis(400);

/// Packets that must be known before loss is judged.
pub const LOSS_TRIAL_LEAST: usize = 50;

// ── Several ways through one uplink ────────────────────────────────────────────────────────────────

/// How long the last report of a peer tells something of our uplink: that of a peer who gets nothing any more does not.
pub const COUPLED_MEMORY: Duration = Duration::from_secs(1);

/// How long a queue that only one peer's reports show must stand before it is laid to its own way: so far apart come the reports
/// of a near and of a far peer.
pub const COUPLED_PATIENCE: Duration = Duration::from_millis(200);

/// How long a way that has shown a queue of its own is believed at once to have one again.
pub const OWN_QUEUE_MEMORY: Duration = Duration::from_secs(30);

/// How long a new way may take what stood in our uplink when it came for its own length.
pub const COUPLED_PROBATION: Duration = Duration::from_secs(3);

/// The same as [`CAPACITY_MEMORY`] of what the ways to several peers have in common: it is hardly another's share.
pub const COUPLED_CAPACITY_MEMORY: Duration = Duration::from_secs(20);

/// The same as [`CAPACITY_REACH`] of it: what arrived while a queue stood was measured in a moment, and the rate that begins
/// to double beyond it has a quarter of a second in the queue before a report can tell.
pub const COUPLED_CAPACITY_REACH: f64 = 2.0;

/// One of so many ways may see no queue, and it still stands in our uplink.
pub const COUPLED_LIARS: usize = 4;

/// Share of packets that all must lose before it is laid to our uplink.
pub const COUPLED_LOSS: f64 = 0.02;

/// How many times what goes to a peer now it would take before long if it could, as numerator and denominator, besides
/// [`GROWTH_STEP`].
pub const DEMAND_AHEAD: (u64, u64) = (3, 2);

// ── Trains that ask how much a way carries ─────────────────────────────────────────────────────────

/// How long a train of packets that asks how much a way carries lasts: what jitter there is must not matter.
pub const TRAIN_SPAN: Duration = Duration::from_millis(100);

/// Estimate from which trains are sent: below it a train of a few packets stands in the way of sound.
pub const TRAIN_LEAST: Bitrate = Bitrate::from_kilobits(250);

/// A train about which nothing was heard for this long was lost.
pub const TRAIN_TIMEOUT: Duration = Duration::from_millis(1000);

/// Rest between two trains.
pub const TRAIN_REST: Duration = Duration::from_millis(1500);

/// The same after trains were lost again and again.
pub const TRAIN_REST_MOST: Duration = Duration::from_secs(24);

// ── Repair ─────────────────────────────────────────────────────────────────────────────────────────

/// Rate from which pictures carry parity: on a narrower way they are of a packet or two, which parity would double.
pub const PARITY_LEAST: Bitrate = Bitrate::from_kilobits(150);

/// Bytes of repair of pictures at most, besides so many times as many as of the pictures themselves: a key frame.
pub const REPAIR_CREDIT: i64 = 32 * 1024;

/// How many bytes of repair a byte of a picture is worth.
pub const REPAIR_TIMES: i64 = 2;

/// The same on a roomy way, where nobody misses them.
pub const REPAIR_TIMES_ROOMY: i64 = 3;

/// Loss below which nothing is added: a packet in two hundred.
pub const REPAIR_CLEAN: f64 = 0.005;

/// Share of sounds that may stay lost after repair: one in a thousand.
pub const REPAIR_RESIDUAL: f64 = 0.001;

/// Loss from which sounds go twice where that fits: of those and of one copy each, one in a thousand is lost.
pub const ECHO_LEAST: f64 = 0.03;

/// Which part of the rate sound may take with its copies where pictures go, too: one of so many.
pub const COPY_PARTS: u64 = 2;

/// Which part of it when all that goes twice: it saves a moment, and on a narrow way pictures need it more.
pub const ECHO_PARTS: u64 = 3;

/// How much later a sound goes for the second time: half of the usual 20 ms later, so that a burst hardly takes it and the one
/// after it, too.
pub const ECHO_AFTER: Duration = Duration::from_millis(10);

/// Loss from which pictures carry parity though a repetition comes in time: one in twenty of those is lost, too.
pub const PARITY_WORTH: f64 = 0.05;

/// Share of frames that may stay incomplete in spite of their parity.
pub const PARITY_RESIDUAL: f64 = 0.01;

/// The same where a repetition comes in time: what it makes good need not be made good at once.
pub const PARITY_RESIDUAL_REPEATED: f64 = 0.03;

/// Packets of a usual picture, by which the cost of parity is told: one of 1.3 Mbit/s.
pub const USUAL_FRAME: usize = 5;

/// Which part of the bytes of pictures others need, and so carries parity where there is no room for more.
pub const BASE_LAYER_SHARE: f64 = 0.6;

/// Time a picture's repetition has, from its loss until it is due.
pub const REPAIR_BUDGET: Duration = Duration::from_millis(200);

/// What a repetition takes besides half a round trip.
pub const REPAIR_WORTH: Duration = Duration::from_millis(10);

/// A way is roomy if it carries so many times what the pictures take: parity for each of them fits, and as much again is left.
pub const ROOMY: u64 = 3;

/// Loss up to which room is turned into parity: with more, frames of a few packets cannot be spared their repetitions.
pub const ROOMY_SHARE_MOST: f64 = 0.32;

/// Packets lost in a row, on average, up to which it is: longer runs take whole pictures with all that would make them good.
pub const ROOMY_RUN_MOST: f64 = 12.0;

/// Share of frames that may stay incomplete where there is room: one in half a minute. Each holds up all that follow for a
/// repetition.
pub const ROOMY_RESIDUAL: f64 = 0.001;

/// How many times as long as by pure chance runs of losses may be that are still taken for single losses.
pub const SINGLE_RUN_MOST: f64 = 1.35;

/// Time over which the parity of a frame is spread where losses come in runs: long enough to see the end of nearly all of them,
/// and less than a repetition takes.
pub const PARITY_SPREAD: Duration = Duration::from_millis(80);

/// Share of frames that may stay incomplete then: one every five minutes. Each holds up all that follow for a repetition, and
/// runs are less even than the model of them.
pub const SPREAD_RESIDUAL: f64 = 0.0001;

/// How much of what is known of runs is left after one more loss: that of some fifty.
pub const RUNS_KEPT: f64 = 0.98;

/// Parity packets of one frame at most.
pub const MAX_PARITY: usize = 24;

/// How long after it was sent a packet may be sent again: what the jitter buffer of the other side may come to.
pub const REPEAT_DEADLINE: Duration = Duration::from_millis(350);

/// A packet that is sent again goes once more this much later: losses come in bursts.
pub const REPEAT_TWICE: Duration = Duration::from_millis(30);

/// How far back the sounds lie at most that a sound carries copies of: what is made good later than after 240 ms is hardly of use.
pub const COPY_REACH: usize = 12;

// ── Layers ─────────────────────────────────────────────────────────────────────────────────────────

/// How much of the estimate encoders are told, sound included, as numerator and denominator: they miss their rate a little.
pub const PICTURE_SHARE: (u64, u64) = (19, 20);

/// The same below [`NARROW`]: headers, reports and acknowledgements are a large part of what a narrow way carries.
pub const PICTURE_SHARE_NARROW: (u64, u64) = (4, 5);

/// Span over which the rates of layers are measured.
pub const LAYER_RATE_SPAN: Duration = Duration::from_secs(1);

/// How long a way must carry too little before less is sent: an encoder that follows is given [`LAYER_RATE_SPAN`] to show it.
pub const SHARE_DOWN_AFTER: Duration = Duration::from_secs(2);

/// Rate that encoders of pictures are told at least; with less there is no use in them.
pub const PICTURES_LEAST: Bitrate = Bitrate::from_kilobits(30);

/// How long a way must carry more before more is sent.
pub const SHARE_UP_AFTER: Duration = Duration::from_secs(2);

/// The same after more was tried in vain again and again.
pub const SHARE_UP_AFTER_MOST: Duration = Duration::from_secs(16);

/// Who falls back this soon tried in vain.
pub const SHARE_RELAPSE: Duration = Duration::from_secs(10);

/// Rate from which a smaller size is worth sending: a dozen small pictures a second.
pub const SMALLER_LEAST: Bitrate = Bitrate::from_kilobits(50);

/// Rate at most for a smaller size: a quarter of the pixels need no more.
pub const SMALLER_MOST: Bitrate = Bitrate::from_kilobits(350);
