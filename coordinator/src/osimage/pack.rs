//! What packimage needs of an osimage (XCAT.md 7). Method and compression are its caller's choice.

use model::exlist::Rule;
use model::synclist::{CopyLine, NodeLine};
use serde::{Deserialize, Serialize};

/// What the resolver hands to packimage: read on the management node, never sent to an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackPlan {
    /// What the archive leaves out, the built-in patterns last.
    pub excludes: Vec<Rule>,
    /// What it takes all the same.
    pub includes: Vec<Rule>,
    /// What is copied into the archive, in order.
    pub copies: Vec<CopyLine>,
    /// Lines of synclists that take effect only on a node.
    pub on_node: Vec<NodeLine>,
}
