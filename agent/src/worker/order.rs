//! What the agent tells a worker: one JSON file beside the plan.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use model::agent::Condition;
use model::id::AttemptId;
use serde::{Deserialize, Serialize};

use crate::inspect::Facts;
use crate::preflight::export::Export;

/// One attempt, as its worker needs to know it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The plan's file.
    pub plan: PathBuf,
    /// The attempt's own folder; the agent makes it and clears it away.
    pub scratch: PathBuf,
    /// Where the archive goes.
    pub archive: PathBuf,
    /// The tree that the image has already, as tar.zst, where only initrds are to be made for it (`--onlyinitrd`).
    #[serde(default)]
    pub tree: Option<PathBuf>,
    /// Where the MN's install root is seen, if it is.
    pub install: Option<PathBuf>,
    /// What the worker mounts there first, in its own namespace; `None`: the node has it there.
    #[serde(default)]
    pub mount: Option<Export>,
    /// What the preflight of this attempt found of it.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Bytes that must be free before anything is installed.
    pub min_scratch_free: u64,
    /// Proxies for package managers, as variables. Not among the facts, which are recorded in the image: passwords may
    /// be in them.
    #[serde(default)]
    pub proxies: BTreeMap<String, String>,
    /// About this node, for the record in the image.
    pub facts: Facts,
}

/// An order can't be passed on.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} the order `{path}`", path = path.display())]
pub struct OrderError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl Order {
    /// Reads what [`Order::write`] wrote.
    pub fn read(path: &Path) -> Result<Self, OrderError> {
        let error = |source| OrderError { doing: "read", path: path.to_owned(), source };
        serde_json::from_slice(&fs::read(path).map_err(error)?).map_err(|source| error(source.into()))
    }

    /// Writes the order to `path`.
    pub fn write(&self, path: &Path) -> Result<(), OrderError> {
        let error = |source| OrderError { doing: "write", path: path.to_owned(), source };
        fs::write(path, serde_json::to_vec(self).map_err(|source| error(source.into()))?).map_err(error)
    }
}
