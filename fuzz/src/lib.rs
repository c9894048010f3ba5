//! What the fuzzer calls, and what ordinary tests call with the kept inputs: bytes go in, nothing may panic.

pub mod peer;
pub mod wire;
