//! What an agent found in an initrd that it had made.

use serde::{Deserialize, Serialize};

/// One initrd, in few enough words for a build's record; `build.json` has every module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitrdReport {
    /// `initrd-stateless.gz`
    pub name: String,
    /// How many kernel modules are in it.
    pub modules: u32,
    /// Of the drivers that the plan lists, those in it, built into the kernel or as modules.
    pub drivers: Vec<String>,
    /// Of the drivers that the plan lists, those that are not: most often the image's kernel has none of that name.
    pub missing: Vec<String>,
}
