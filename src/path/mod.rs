//! From "a peer exists" to "a proven way to it".
//!
//! ```text
//! introduction → candidates ─┐
//!                            ├→ probes → replies → proof → the best proven path carries media
//! requests from elsewhere ───┘                      ↑                    │
//!                                    rebinding, roaming: probe again ← silence
//! ```
//! One [`Agent`] looks for the way to one peer. Probes can promote a path, only silence can demote one, and whatever is
//! acknowledged counts as life. A relay path is there from the introduction on and is kept warm.

mod agent;
pub mod candidate;
pub mod discovery;
pub mod nat;
mod punch;
pub mod reflexive;
mod route;
pub mod synthetic;
pub mod uplink;

pub use agent::{Agent, AgentConfig, AgentEvent, Keys};
pub use route::{PathKind, Policy, Route, SocketIndex};
