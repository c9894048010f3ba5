//! The peer as a library, so that tests and benches reach its parts.
//!
//! ```text
//! args ← wishes; identity, logging,   what the person wants, and who they are
//! stop
//! program, session, room              around, before and during a stay in a room
//! events, output ← table ← board      what is told, and how
//! stats, verdict                      how it goes with each peer, and how good the last second was
//! feed ← schedule, pattern_feed       what we show
//! viewer ← decode                     what we see
//! keeper ← recordings                 what we keep
//! ui ← talk, voice                    the page: what is said, heard, seen
//! call ← talk, voice                  the terminal: what is said and heard
//! join, publish, watch, record,       one command each
//! demo, id, doctor
//! codec, container, pattern           frames of every kind
//! ```

pub mod args;
pub mod board;
pub mod call;
pub mod codec;
pub mod container;
pub mod decode;
pub mod demo;
pub mod doctor;
pub mod events;
mod examples;
pub mod feed;
pub mod id;
pub mod identity;
pub mod join;
pub mod keeper;
pub mod logging;
pub mod output;
pub mod params;
pub mod pattern;
pub mod pattern_feed;
pub mod program;
pub mod publish;
pub mod random;
pub mod record;
pub mod recordings;
pub mod room;
pub mod schedule;
pub mod session;
pub mod stats;
pub mod stop;
pub mod table;
pub mod talk;
pub mod transfer;
pub mod ui;
pub mod verdict;
pub mod viewer;
pub mod voice;
pub mod watch;
pub mod wishes;
pub mod worker;
