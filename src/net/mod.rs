//! Sockets, tasks and the clock: the only layer that touches the world.

pub mod clock;
mod congestion;
pub mod peer_machine;
pub mod quic;
pub mod quic_config;
pub mod identity;
pub mod rendezvous_machine;
pub mod secret_file;
pub mod tls;
pub mod tunnel;
