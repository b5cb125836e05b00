//! [`StageError`]: why a stage failed, already in the words that the user reads.

use std::error::Error;
use std::io;
use std::path::Path;

use model::stage::Stage;

use crate::pkg::BadName;
use crate::pkg::words::Explanation;
use crate::sys::exec::CmdError;
use crate::sys::mount::MountError;
use crate::sys::probe::ProbeError;
use crate::worker::report::{Blame, Failure};

/// A stage failed.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct StageError {
    /// What went wrong, with the system's reason.
    pub cause: String,
    /// What to do next; may be empty.
    pub hint: String,
    /// Whose fault.
    pub blame: Blame,
}

impl StageError {
    /// The build's own fault: it would fail on any node.
    pub fn build(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { cause: cause.into(), hint: hint.into(), blame: Blame::Build }
    }

    /// The node's fault.
    pub fn node(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { cause: cause.into(), hint: hint.into(), blame: Blame::Node }
    }

    /// For `map_err`: the node could not do something to a file.
    pub fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            let full = source.kind() == io::ErrorKind::StorageFull;
            let hint = if full { "clear the disk, or set `scratch` in agent.toml to a larger one" } else { "" };
            Self::node(format!("cannot {doing} `{}`: {source}", path.display()), hint)
        }
    }

    /// As the agent passes it on.
    pub fn at(self, stage: Stage, last_lines: Vec<String>) -> Failure {
        Failure { stage, cause: self.cause, hint: self.hint, blame: self.blame, last_lines }
    }
}

/// An error with all its reasons.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        text.push_str(": ");
        text.push_str(&reason.to_string());
        source = reason.source();
    }
    text
}

impl From<MountError> for StageError {
    fn from(error: MountError) -> Self {
        Self::node(chain(&error), "the agent must run as root, and in a container with CAP_SYS_ADMIN")
    }
}

impl From<ProbeError> for StageError {
    fn from(error: ProbeError) -> Self {
        Self::node(chain(&error), error.hint())
    }
}

impl From<BadName> for StageError {
    fn from(error: BadName) -> Self {
        Self::build(
            error.to_string(),
            "write one package name a line; options of the package manager can't stand in a list",
        )
    }
}

impl From<Explanation> for StageError {
    fn from(found: Explanation) -> Self {
        let blame = if found.node_at_fault { Blame::Node } else { Blame::Build };
        Self { cause: found.cause, hint: found.hint, blame }
    }
}

impl From<CmdError> for StageError {
    fn from(error: CmdError) -> Self {
        match &error {
            CmdError::Failed { lines, .. } => {
                let last = lines.iter().rev().find(|line| !line.trim().is_empty());
                let last = last.map(|line| format!(": {}", line.trim())).unwrap_or_default();
                Self::build(format!("{error}{last}"), "")
            }
            CmdError::Start { program, .. } => {
                Self::node(chain(&error), format!("install the package that has `{program}` on this node"))
            }
            CmdError::Lost { .. } => Self::node(chain(&error), ""),
        }
    }
}
