//! Preflight: whether this node can build, looked at where the work will be done, at start, now and then, and before
//! each attempt.
//!
//! What is found are named conditions ([`conditions`]). The scratch folder is tried by us ([`scratch`]). The install root
//! may lie on a server that is gone, where whoever looks is not answered: so all that touches it is done by a child in
//! a mount namespace of its own ([`child`]), which can be given up. The child decides by looking ([`look`]) at the
//! node's own mount first and at what the agent is to mount itself ([`export`]) after that; [`trial`] is what is tried there.

pub mod child;
pub mod conditions;
pub mod export;
pub mod look;
pub mod scratch;
pub mod trial;

use std::path::PathBuf;

use model::agent::{Condition, InstallView};
use serde::{Deserialize, Serialize};

use crate::config::Install;
use export::Export;

/// What the child is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What the configuration says of the install root.
    pub install: Install,
    /// Where the node may have it mounted.
    pub install_dir: PathBuf,
    /// What is to be mounted where the node has nothing that fits.
    pub export: Option<Export>,
    /// An empty folder of the agent's own to mount it on.
    pub mount_point: PathBuf,
    /// A folder that is to be there and writable, relative to the install root; without one nothing is written.
    pub proof: Option<PathBuf>,
}

/// How a worker gets at the install root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The node has it there.
    There(PathBuf),
    /// The worker mounts it in its own namespace.
    Mount(Export),
}

/// What was found of the install root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// How it is seen.
    pub install: InstallView,
    /// How a worker gets at it; `None`: not at all.
    pub way: Option<Way>,
    /// Whether the folder of the question can be written to.
    pub writable: bool,
    /// What is to be known or mended.
    pub conditions: Vec<Condition>,
}

impl Seen {
    /// Not at all, for these reasons.
    pub fn nothing(conditions: Vec<Condition>) -> Self {
        Self { install: InstallView::None, way: None, writable: false, conditions }
    }
}
