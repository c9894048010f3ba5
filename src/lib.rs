//! meipo: a peer-to-peer media mesh.

pub mod link;
pub mod media;
pub mod params;
pub mod trust;
pub mod units;
pub mod wire;
