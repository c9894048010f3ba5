//! What goes over the wire, byte by byte.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod golden;
