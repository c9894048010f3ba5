//! meipo: a peer-to-peer media mesh.
//!
//! A rendezvous introduces peers and steps aside; peers send each other frames over QUIC datagrams, straight where their
//! NATs allow it and through a relay that can read nothing where they do not. A program needs [`net::Endpoint`] and little
//! else; its documentation begins with a whole watcher in ten lines. Whoever writes another implementation reads [`wire`].
//!
//! # The layers
//!
//! ```text
//! units, params ← wire ← { path | relay | media | rate } ← { node | introducer } ← net ← { peer | rendezvous }
//! ```
//! An arrow never points back, and siblings in braces never import each other. Everything left of `net` is machines
//! without sockets, tasks, clocks or randomness of their own: bytes and the time come in, bytes and events go out, so that
//! a call between many peers runs in one thread in virtual time (`tests/mesh`).
//!
//! | layer | what it is for |
//! |---|---|
//! | [`units`], [`params`], [`bucket`], [`limits`] | what must not be mixed; every constant with its reason; budgets |
//! | [`trust`], [`link`] | what is derived from a room's secret; the link that carries it |
//! | [`wire`] | bytes ⇄ messages: the whole protocol on one page |
//! | [`path`] | from "a peer exists" to "a proven way to it" |
//! | [`relay`] | the relay: who may have what forwarded where |
//! | [`media`] | the life of a frame: cut, protected, put together, released in time |
//! | [`rate`] | how much may be sent and when, and how losses are made good |
//! | [`node`] | one peer: roster, paths, what it publishes, what it watches |
//! | [`introducer`] | the rendezvous: rooms, introductions, relay sessions |
//! | `net` | QUIC, TLS, sockets, tunnel, clock; only with the feature of that name |
//!
//! # A frame's way
//!
//! ```text
//! capture, encode      a camera's program, or peer/src/pattern_feed, peer/src/container
//!   │ Frame            net/endpoint   Endpoint::send: a command to the one task of this peer
//!   │                  net/driver     takes the command
//!   │                  node/talk      Node::send_frame: to everybody who wants the track
//!   │                  node/publish   keeps it for late joiners
//!   │                  media/packetize   cut into packets of one size
//!   │ Packet           node/sender    one queue for each peer
//!   │                  rate/queue     sound first; what cannot arrive before its deadline is dropped
//!   │                  rate/pace ← rate/estimate ← reports      as fast as the way carries it
//!   │                  rate/repair, media/parity   copies of sound, parity, repetitions, as losses ask for them
//!   │ Bytes            net/peer_machine   refill: hands QUIC what it has room for
//!   │                  net/quic       QUIC DATAGRAM to the peer's synthetic address
//!   │ datagram         net/peer_machine/outgoing ← path/agent   the best proven way: direct, relay header, tunnel
//!   ↓                  net/socket     whole batches in one call (GSO)
//! network              relay: 8 bytes are looked at, the rest is forwarded as it came
//!   │ datagram         net/socket     whole batches (GRO)
//!   │                  net/peer_machine/incoming   whose is it? what belongs to nobody is dropped
//!   │ Bytes            net/quic       decrypted, in no order
//!   │                  node/talk      to the watch of the peer it comes from
//!   │ Packet           node/watch     packet, bundle or parity
//!   │                  rate/reporter → a report to the sender
//!   │                  media/assemble, media/parity   whole again
//!   │ Frame            media/jitter ← media/playout   released evenly, in order, each once
//!   │                  net/driver     Event::Frame, which Events::next gives
//!   ↓
//! decode, show         peer/src/viewer, peer/src/decode; or peer/src/keeper, peer/src/recordings
//! ```

pub mod bucket;
pub mod introducer;
pub mod limits;
pub mod link;
pub mod media;
#[cfg(feature = "net")]
pub mod net;
pub mod node;
pub mod params;
pub mod path;
pub mod rate;
pub mod relay;
pub mod trust;
pub mod units;
pub mod wire;
