//! How much may be sent, and when: the queue before the network and the window inside it.

pub mod queue;
pub mod window;
