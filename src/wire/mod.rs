//! Bytes ⇄ messages.

pub mod relay;
pub mod stun;
pub mod track;
