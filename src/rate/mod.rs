//! How much may be sent, and when: the queue before the network and the window inside it.

pub mod estimate;
pub mod history;
pub mod pace;
pub mod queue;
pub mod repair;
pub mod reporter;
pub mod window;
