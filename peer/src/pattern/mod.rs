//! Synthetic pictures and sound: what a peer without camera and microphone shows, and what delay is measured with.
//!
//! In go a number, a time and a seed, out come a picture or samples; the same input always gives the same output.

mod canvas;
mod picture;
mod sound;
mod time_code;

pub use picture::TestPicture;
pub use sound::{TestSound, find_onset};
pub use time_code::{TimeCode, read_time_code};
