//! Sockets, tasks and the clock: the only layer that touches the world.

pub mod identity;
pub mod relay_server;
pub mod secret_file;
pub mod tls;
pub mod tunnel;
