//! The rendezvous program as a library, so that tests and other programs of this workspace can run one.
//!
//! ```text
//! args      what the command line and the environment say
//! config    one configuration from flags, environment, file and defaults
//! address   HOST:PORT as people write it, and a guess at our own
//! key_file  the keys of relays, each in a file
//! invite    links for people
//! server    runs it all
//! relay     runs a relay alone
//! metrics   health and counters over HTTP
//! logging   what happens, on stderr
//! ```

pub mod address;
pub mod args;
pub mod config;
pub mod invite;
pub mod key_file;
pub mod logging;
pub mod metrics;
pub mod relay;
pub mod server;
pub mod signals;
