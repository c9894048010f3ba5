//! What goes over the wire, byte by byte.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on says where")]

mod corpus;
mod golden;
#[path = "../../fuzz/src/wire.rs"]
#[expect(unreachable_pub, reason = "public for the programs of the fuzzer")]
mod targets;
