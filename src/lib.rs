//! meipo: a peer-to-peer media mesh.

pub mod bucket;
pub mod link;
pub mod media;
pub mod params;
pub mod relay;
pub mod trust;
pub mod units;
pub mod wire;
