//! Real endpoints and a real rendezvous over the loopback interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod calls;
mod world;
