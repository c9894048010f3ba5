//! The life of a frame: cut into packets, put together again, released in time.

pub mod assemble;
mod frame;
pub mod freeze;
pub mod jitter;
pub mod mos;
pub mod packetize;
pub mod parity;
pub mod playout;
pub mod stretch;

pub use frame::Frame;

pub use crate::wire::track::{FrameKind, Track, TrackError, TrackKind, TrackSource};
