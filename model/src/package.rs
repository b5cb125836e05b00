//! An installed package, whatever installed it.

use serde::{Deserialize, Serialize};

/// One package of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Installed {
    /// Its name, without architecture.
    pub name: String,
    /// Its version: `1:2.3-4` for dpkg, `[epoch:]version-release` for rpm.
    pub version: String,
    /// Its architecture, as the package manager spells it.
    pub arch: String,
}
