//! The subcommands up to their exit status.

use std::path::Path;
use std::process::ExitCode;

use crate::build::failure::chain;
use crate::worker;

/// `imgctl-agent worker`.
pub fn worker(order: &Path, recipe: bool) -> ExitCode {
    let ended = if recipe { worker::carry_out(order) } else { worker::init::run(order) };
    ended.unwrap_or_else(|error| {
        tracing::error!("{}", chain(&error));
        ExitCode::FAILURE
    })
}
