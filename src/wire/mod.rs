//! Bytes ⇄ messages.

pub mod stun;
pub mod track;
