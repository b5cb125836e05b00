//! The agent: builds root images on the node that it runs on, for a coordinator that it connects to.
//!
//! The session with the coordinator and the attempts in hand belong to the daemon; the work of an attempt is done
//! by a [`worker`] in namespaces of its own, following the recipe of [`build`] over [`pkg`] and [`sys`].

pub mod args;
pub mod build;
pub mod commands;
pub mod config;
pub mod inspect;
pub mod pkg;
pub mod sys;
pub mod worker;
