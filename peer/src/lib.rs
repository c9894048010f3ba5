//! The peer as a library, so that tests and benches reach its parts.
//!
//! ```text
//! args, identity, logging, stop       what the person wants, and who they are
//! program, session, room              around, before and during a stay in a room
//! events, output ← table ← board      what is told, and how
//! feed ← schedule, pattern_feed       what we show
//! viewer ← decode                     what we see
//! keeper ← recordings                 what we keep
//! publish, watch, record, demo,       one command each
//! id, doctor
//! codec, container, pattern           frames of every kind
//! ```

pub mod args;
pub mod board;
pub mod codec;
pub mod container;
pub mod decode;
pub mod demo;
pub mod doctor;
pub mod events;
pub mod feed;
pub mod id;
pub mod identity;
pub mod keeper;
pub mod logging;
pub mod output;
pub mod params;
pub mod pattern;
pub mod pattern_feed;
pub mod program;
pub mod publish;
pub mod record;
pub mod recordings;
pub mod room;
pub mod schedule;
pub mod session;
pub mod stop;
pub mod table;
pub mod viewer;
pub mod watch;
pub mod worker;
