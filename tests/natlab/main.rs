//! The programs behind real NATs: network namespaces of the kernel, which need root.

#![expect(clippy::disallowed_types, reason = "real programs run in real time")]

mod calls;
mod lab;
mod matrix;
mod process;
mod programs;
mod rules;
