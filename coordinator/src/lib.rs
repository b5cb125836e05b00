//! The coordinator: the daemon on the management node.
//!
//! A request comes in at [`api`], is resolved ([`submit`], [`osimage`]), queued and dispatched ([`scheduler`], by the
//! rules of [`queue`]) over an agent's [`session`]; what the agent publishes is received ([`receive`]) as a
//! [`generation`] and packed ([`packimage`]). [`store`], [`logs`] and [`plans`] remember.

pub mod api;
pub mod args;
pub mod audit;
pub mod catalogue;
pub mod chain;
pub mod check;
pub mod clock;
pub mod command;
pub mod config;
pub mod download;
pub mod generation;
pub mod init;
pub mod logs;
pub mod offline;
pub mod osimage;
pub mod packimage;
pub mod pki;
pub mod plans;
pub mod proof;
pub mod queue;
pub mod receive;
pub mod room;
#[cfg(test)]
mod samples;
pub mod scheduler;
pub mod serve;
pub mod session;
pub mod staging;
pub mod store;
pub mod submit;
pub mod upload;
pub mod watching;

pub use serve::run;
