//! The peer as a library, so that tests and benches reach its parts.

pub mod codec;
pub mod container;
pub mod doctor;
pub mod params;
pub mod pattern;
