//! The harness of the system tests: a whole site of real programs in one folder.
//!
//! Every test has a coordinator, agents and a CLI of its own, as processes with a folder, a port and keys that
//! nothing else uses. What went wrong is shown: each program's log is printed when a test fails.

mod cli;
#[path = "../el9/mod.rs"]
pub mod el9;
mod fixture;
#[path = "../lab/mod.rs"]
pub mod lab;
pub mod packages;
mod process;
mod site;
mod wait;
mod web;

pub use cli::{Cli, Ran, took};
pub use fixture::{arch, debian, mirrors};
pub use process::{Daemon, binary};
pub use site::{AgentOptions, CLEARED, Site, SiteOptions, join, text};
pub use wait::eventually;
pub use web::Web;
