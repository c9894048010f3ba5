//! The rendezvous program: introduces peers to each other and steps aside.

fn main() {}
