//! Bytes ⇄ messages.

pub mod track;
