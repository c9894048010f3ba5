//! How much may be sent, and when: the queue before the network and the window inside it.

pub mod bulk;
pub mod copies;
pub mod coupling;
mod delay;
pub mod estimate;
pub mod history;
pub mod layers;
mod meter;
mod odds;
pub mod pace;
pub mod probe;
pub mod queue;
pub mod repair;
pub mod repeats;
pub mod reporter;
pub mod timed_queue;
mod weather;
pub mod window;
