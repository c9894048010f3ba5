//! Real endpoints and a real rendezvous over the loopback interface.

#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that cannot go on says where")]

mod calls;
mod relays;
mod world;
