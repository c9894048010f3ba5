//! Whole calls in virtual time, over a network that a seed makes the same again.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on says where")]

mod bulk;
mod call;
mod churn;
mod group;
mod hostile;
mod latecomers;
mod links;
mod meeting;
mod nat_table;
mod outages;
mod ping;
mod quality;
mod rebinding;
mod rules;
mod switching;
mod traps;
mod uplink;
mod weather;
mod world;
