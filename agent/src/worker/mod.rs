//! The worker: the agent's own executable again, one for each attempt, in namespaces of its own.
//!
//! The agent starts it ([`handle`]) with an [`order`]; pid 1 of the namespaces ([`init`]) runs the recipe of
//! `build` in a child and ends when that ends or when the agent is gone. What happens is told in [`report`]s on
//! standard output. All that an attempt mounts or starts ends with pid 1.

pub mod handle;
pub mod init;
pub mod order;
pub mod report;

use std::path::Path;
use std::process::ExitCode;

use crate::build;
use order::Order;
use report::{Report, Reporter};

/// What ends a worker before it can report anything.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Someone typed the hidden command.
    #[error("`worker` is started by the agent itself, in namespaces of its own; it is no command for people")]
    NotANamespace,
    /// The order is missing or damaged.
    #[error(transparent)]
    Order(#[from] order::OrderError),
    /// The namespace could not be set up.
    #[error("cannot set up the worker's namespace")]
    Mount(#[from] crate::sys::mount::MountError),
    /// The kernel refused something else.
    #[error("cannot {doing}")]
    System {
        /// What.
        doing: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The child of pid 1: carries out the order. A failed build is a report and still a success of the worker.
pub fn carry_out(order: &Path) -> Result<ExitCode, WorkerError> {
    if rustix::process::getppid().is_none_or(|parent| !parent.is_init()) {
        return Err(WorkerError::NotANamespace);
    }
    let order = Order::read(order)?;
    let reporter = Reporter::new(std::io::stdout());
    match build::run(&order, &reporter) {
        Ok(product) => reporter.send(&Report::Finished(product)),
        Err(failure) => reporter.send(&Report::Failed(failure)),
    }
    Ok(ExitCode::SUCCESS)
}
