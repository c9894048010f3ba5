//! Whole calls in virtual time, over a network that a seed makes the same again.

mod links;
mod nat_table;
mod ping;
mod world;
