//! Drivers for the initrds, and where newer ones come from (XCAT.md 6.7, 6.8).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the initrds are to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drivers {
    /// All of them, those that are asked for in front.
    pub load: Vec<String>,
    /// Those that `netdrivers` names: each must be in both initrds if the kernel has it.
    pub named: Vec<String>,
    /// Driver disks and driver packages, in order.
    pub sources: Vec<DriverSource>,
    /// What is taken from driver packages.
    pub take: Take,
}

/// One driver disk or driver package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverSource {
    /// Which of the two.
    pub kind: SourceKind,
    /// Where it lies on the MN; of packages it may be a folder of them.
    pub path: PathBuf,
}

/// What a driver comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// A driver update disk: an image of one, or a folder with its content.
    Disk,
    /// An rpm with modules and firmware.
    Package,
}

/// What is taken from driver packages. From disks everything is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Take {
    /// Nothing, as `netdrivers` names none.
    #[default]
    Nothing,
    /// The modules that `netdrivers` names.
    Named,
    /// All (`allupdate`).
    All,
}
