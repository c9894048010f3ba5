//! Bytes ⇄ messages: the whole protocol on one page, for whoever writes a second implementation.
//!
//! # One port
//!
//! Everything goes through one UDP port; the first byte of a datagram tells what it is. All numbers are big-endian.
//!
//! | first byte | what | where |
//! |---|---|---|
//! | `00`–`03` | STUN, if the cookie and the length fit | [`stun`] |
//! | `10`–`13` | relay: DATA, BIND, CHALLENGE, ANSWER | [`relay`] |
//! | `40`–`7f`, `c0`–`ff` | QUIC version 1 (RFC 9000), so the QUIC bit must not be greased | |
//! | others | dropped | |
//!
//! Where UDP does not pass, the same datagrams travel one by one in binary WebSocket messages (`/meipo`) over TLS 1.3 on
//! the same TCP port, between a peer and the rendezvous only.
//!
//! # Who is who
//!
//! Everybody has an Ed25519 key in a self-signed certificate. An identity is the SHA-256 of the certificate's
//! SubjectPublicKeyInfo, written as 52 characters of base32. QUIC and tunnel speak TLS 1.3 only, without tickets, early
//! data or SNI; both sides of QUIC present a certificate; its signature is verified, its issuer means nothing. ALPN is
//! [`crate::params::ALPN`].
//!
//! A link `meipo://HOST:PORT/ROOM#SERVER_ID.ROOM_SECRET[.HOST_ID[.HOST_KEY]]` names the rendezvous, pins its identity and
//! carries the 16-byte room secret. From the secret come (HKDF-SHA-256; see [`crate::trust`]): the room id that the rendezvous sees; the membership tag, an HMAC over room id and identity, by which members know each
//! other; and, together with the pair secret of an introduction, the key of the probes between two peers. The room id is the
//! SHA-256 of a word, a key derived from the secret, and the 32 bytes of the host's id if the link has one; Hello carries the
//! latter two, so the rendezvous computes it.
//!
//! # Rules
//!
//! A room with a host has rules ([`crate::trust::rules`]), signed with the host's Ed25519 key over all their fields. Anybody hands
//! them on: members to each other and to the rendezvous, at the start of a connection and when they are new; it does the same.
//! The highest number holds (of equal ones, the greater signature); others and what is wrongly signed are dropped. Whom they
//! exclude is told them and has a second to go before the connection is closed with code 7 or 8. A peer that holds the key shows
//! so with a signature over room and identity in its Hello, and is never excluded.
//!
//! # Control streams
//!
//! Each side of a QUIC connection opens one unidirectional stream. It begins with `meipo `, then the version as two bytes
//! ([`codec::VERSION`]); another version is answered by closing the connection with code 1 and a reason that names both.
//! Then follow messages: two bytes of length, at most 16384, and a body in bincode 2 (standard configuration: little
//! endian, variable-length integers, enum variants by number in the order of [`control`]).
//!
//! ```text
//! peer                                rendezvous                               peer that was there first
//!  │ ── QUIC handshake ────────────────→ │                                       │
//!  │ ── Hello (room, tag, name, …) ────→ │                                       │
//!  │ ←─ Welcome (where we see you) ───── │                                       │
//!  │ ←─ Introduction (Accepts) ───────── │ ── Introduction (Opens) ────────────→ │
//!  │ ←───────────── QUIC handshake, through the relay or straight ─────────────  │
//!  │ ←──── ToPeer::Hello, Track, and media datagrams with the last flight ─────  │
//!  │ ←───────────────── STUN probes on all candidates, both ways ─────────────→  │
//! ```
//! The rendezvous closes a connection that has not said Hello within 5 s. Close codes are those of [`crate::wire::control::Close`],
//! reasons are UTF-8 for people.
//!
//! # Paths
//!
//! Probes are STUN Binding requests of 104 bytes with USERNAME (16 hexadecimal digits, the first 8 bytes of
//! HMAC(probe key, "username" ‖ sender's identity)), PADDING, and MESSAGE-INTEGRITY-SHA256 under the hexadecimal text of
//! the probe key, as last attribute; responses carry XOR-MAPPED-ADDRESS and the MAC. A request from an address not heard
//! of before is answered and probed back. QUIC packets count as the peer's when they come from an address, or a relay
//! session, that such a message has come from; the QUIC connection itself never learns of addresses.
//!
//! Relayed packets have 8 bytes before them: `10`, flags 0, epoch 0 (two bytes), session (four bytes). The relay sends them
//! to the session's other side as they came. See [`relay`] for BIND, CHALLENGE and ANSWER.
//!
//! # Media
//!
//! One part of one frame in each QUIC datagram (RFC 9221), with a 24-byte header: see [`packet`]. A track is announced in
//! WebCodecs words ([`track`]) before or after its first packets; a receiver that cannot go on asks with `KeyFrameRequest`.
//!
//! # Bulk
//!
//! What is in no hurry goes in chunks ([`chunk`]), one in each QUIC datagram, behind all media. They share the media's hop
//! sequence and reports; what no report says has arrived is sent again. A receiver drops what its program did not ask for.
//!
//! # What programs say
//!
//! `Said` carries up to 12288 bytes between the programs of two peers, on their control stream: chat, who is muted, and the
//! like. The library does not look into it.

pub mod chunk;
pub mod codec;
pub mod control;
pub mod feedback;
pub mod name;
pub mod packet;
pub mod relay;
pub mod repair;
pub mod stun;
pub mod track;
