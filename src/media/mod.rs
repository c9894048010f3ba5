//! The life of a frame: cut into packets, put together again, released in time.

mod frame;

pub use frame::{Frame, FrameKind};

pub use crate::wire::track::{Track, TrackKind, TrackSource};
