//! Hands on the system: the only place that starts programs, mounts, and asks the kernel things.

pub mod exec;
pub mod lines;
pub mod mount;
pub mod probe;
pub mod process;
mod stream;
pub mod unshare;
