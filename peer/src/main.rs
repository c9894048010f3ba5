//! The peer program: one command for each thing a person does in a room.

fn main() {}
