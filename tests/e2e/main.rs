//! The system, as its users meet it: real daemons, real package managers, the real CLI.

mod architectures;
mod bad_input;
mod definitions;
mod fleet;
mod images;
mod leases;
mod options;
mod remote;
mod resolving;
mod rpm;
mod supervision;
mod trust;
