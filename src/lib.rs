//! meipo: a peer-to-peer media mesh.

pub mod media;
pub mod params;
pub mod units;
pub mod wire;
