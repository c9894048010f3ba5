//! Bytes ⇄ messages.

pub mod codec;
pub mod control;
pub mod name;
pub mod packet;
pub mod relay;
pub mod stun;
pub mod track;
