//! Sockets, tasks and the clock: the only layer that touches the world.
//!
//! [`peer_machine`] and [`rendezvous_machine`] join the core's machines to QUIC, still without sockets: whole calls run in
//! them in virtual time. [`endpoint`] and [`server`] give them sockets and a task each.

mod asker;
pub mod clock;
mod congestion;
pub mod doctor;
mod driver;
pub mod endpoint;
pub mod identity;
mod interfaces;
pub mod peer_machine;
pub mod quic;
pub mod quic_config;
pub mod relay_server;
pub mod rendezvous_machine;
pub mod secret_file;
pub mod server;
pub mod socket;
pub mod tls;
pub mod tunnel;

pub use endpoint::{Endpoint, EndpointConfig, Events, JoinError};
