//! meipo: a peer-to-peer media mesh.

pub mod bucket;
pub mod introducer;
pub mod limits;
pub mod link;
pub mod media;
#[cfg(feature = "net")]
pub mod net;
pub mod node;
pub mod params;
pub mod path;
pub mod rate;
pub mod relay;
pub mod trust;
pub mod units;
pub mod wire;
